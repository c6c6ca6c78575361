"""The configuration section `host`.

The patterns are RE2 and match anywhere in the name, as the flags of node_exporter do; anchor them where that matters.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any, Final

from attrs import Attribute, field, frozen

from ...model.durations import DurationMs
from ...model.regex import compile_re2
from .files import HostFiles

MOUNT_POINTS_EXCLUDE: Final = (
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
"""The default of node_exporter's `--collector.filesystem.mount-points-exclude`."""
FS_TYPES_EXCLUDE: Final = (
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|erofs|fusectl|hugetlbfs|iso9660|mqueue|nsfs"
    r"|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$"
)
"""The default of node_exporter's `--collector.filesystem.fs-types-exclude`."""
DISK_EXCLUDE: Final = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"
"""The default of node_exporter's `--collector.diskstats.device-exclude`: memory, loops and partitions."""
NETSTAT_FIELDS: Final = (
    r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    r"|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)
"""The default of node_exporter's `--collector.netstat.fields`."""
VMSTAT_FIELDS: Final = r"^(oom_kill|pgpg|pswp|pg.*fault).*"
"""The default of node_exporter's `--collector.vmstat.fields`."""

COLLECTOR_NAMES: Final = frozenset(
    [
        "arp",
        "bonding",
        "boottime",
        "conntrack",
        "cpu",
        "cpufreq",
        "diskstats",
        "dmi",
        "edac",
        "entropy",
        "filefd",
        "filesystem",
        "hwmon",
        "loadavg",
        "mdadm",
        "meminfo",
        "netclass",
        "netdev",
        "netstat",
        "nvme",
        "os",
        "powersupplyclass",
        "pressure",
        "processes",
        "rapl",
        "schedstat",
        "selinux",
        "sockstat",
        "softnet",
        "stat",
        "textfile",
        "thermal_zone",
        "time",
        "timex",
        "udp_queues",
        "uname",
        "vmstat",
    ]
)
"""The collectors that can be named, whatever this system has; `collectors.py` says what they are."""
DECISIONS_MAX: Final = 8192
"""Remembered decisions of patterns over names: a host has some 600 fields and devices."""


class SettingError(ValueError):
    """A setting that cannot be; `key` names it, so that its position in the file can be shown."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(f"{key}: {reason}")


def _is_pattern(_: Any, attribute: Attribute[str], value: str) -> None:
    try:
        compile_re2(value)
    except ValueError as e:
        raise SettingError(attribute.name, str(e)) from None


def _is_positive(_: Any, attribute: Attribute[DurationMs], value: DurationMs) -> None:
    if value <= 0:
        raise SettingError(attribute.name, "must be above 0")


def _are_collectors(_: Any, attribute: Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for name in value:
        if name not in COLLECTOR_NAMES:
            near = difflib.get_close_matches(name, COLLECTOR_NAMES, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingError(attribute.name, f"there is no collector {name!r}{hint}")


def _without_slash(path: str) -> str:
    return path.rstrip("/")


def _pattern(default: str) -> Any:
    return field(default=default, validator=_is_pattern)


@frozen(kw_only=True)
class HostSettings:
    """What is collected, how often, and from where."""

    enabled: bool = False
    """Whether host metrics are collected; a daemon without a configuration file collects them in any case."""
    interval: DurationMs = field(default=DurationMs(15_000), validator=_is_positive)
    """Time between two collections."""
    collectors: tuple[str, ...] = field(default=(), converter=tuple, validator=_are_collectors)
    """Names of the collectors to run; none means the default set."""
    exclude_collectors: tuple[str, ...] = field(default=(), converter=tuple, validator=_are_collectors)
    """Names of collectors to leave out."""
    path_procfs: str = field(default="/proc", converter=_without_slash)
    """Where the host's /proc is mounted."""
    path_sysfs: str = field(default="/sys", converter=_without_slash)
    """Where the host's /sys is mounted."""
    path_rootfs: str = field(default="/", converter=_without_slash)
    """Where the host's root file system is mounted; stripped from mount points."""
    filesystem_mount_points_exclude: str = _pattern(MOUNT_POINTS_EXCLUDE)
    """Mount points without metrics."""
    filesystem_fs_types_exclude: str = _pattern(FS_TYPES_EXCLUDE)
    """File system types without metrics."""
    filesystem_mount_timeout: DurationMs = field(default=DurationMs(1_000), validator=_is_positive)
    """Time after which a mount point counts as hanging; it is asked again only when the old answer has come."""
    diskstats_device_exclude: str = _pattern(DISK_EXCLUDE)
    """Block devices without metrics."""
    netdev_device_exclude: str = _pattern("^$")
    """Network devices without traffic metrics."""
    netclass_ignored_devices: str = _pattern("^$")
    """Network devices without property metrics."""
    netstat_fields: str = _pattern(NETSTAT_FIELDS)
    """Fields of the network statistics that become metrics, as `<protocol>_<field>`."""
    vmstat_fields: str = _pattern(VMSTAT_FIELDS)
    """Fields of /proc/vmstat that become metrics."""

    textfile_directory: str = ""
    """A directory whose `*.prom` files are exposed as well; empty for none."""

    def files(self) -> HostFiles:
        """Return the trees to read."""
        return HostFiles(self.path_procfs, self.path_sysfs, self.path_rootfs)


@frozen
class Host:
    """What a collector is given: where to read, and the settings."""

    files: HostFiles
    settings: HostSettings


@lru_cache(maxsize=DECISIONS_MAX)
def found(pattern: str, text: str) -> bool:
    """Tell whether an RE2 pattern matches anywhere in a text; remembered, since a host's names hardly change."""
    return compile_re2(pattern).search(text) is not None
