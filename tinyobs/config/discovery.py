"""Where targets come from, as configured: `static_configs`, `file_sd_configs`, and the names of all other kinds.

A kind of discovery is a key with a list below.  `BUILT_IN` has those of this distribution, plugins bring more
(`tinyobs.abc.DiscovererKind`), and the kinds of Prometheus that nobody brings are refused by name.  Schemas are here
and in the modules `tinyobs.config.<kind>_sd`; how targets are found is in `tinyobs.builtin.<kind>_sd`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from ..model.durations import DurationMs
from .consul_sd import CONSUL, ConsulSdConfig
from .dns_sd import DNS, DnsSdConfig
from .docker_sd import DOCKER, SWARM, DockerSdConfig, DockerSwarmSdConfig
from .fields import Fault, FilePath, setting
from .http_sd import HTTP, HttpSdConfig
from .kubernetes_sd import KUBERNETES, KubernetesSdConfig
from .nomad_sd import NOMAD, NomadSdConfig

STATIC: Final = "static_configs"
FILE: Final = "file_sd_configs"
REFRESH_MS_DEFAULT: Final = 5 * 60_000

_FILE_NAME: Final = re.compile(r"[^*]*(?:\*[^/]*)?\.(?:json|yml|yaml|JSON|YML|YAML)\Z")

FOREIGN_KINDS: Final = frozenset(
    f"{name}_sd_configs"
    for name in """aws azure digitalocean ec2 elasticache eureka gce hetzner ionos
    kuma lightsail linode marathon msk nerve oci openstack outscale ovhcloud puppetdb rds scaleway
    serverset stackit triton uyuni vultr xds ecs""".split()
)
"""Kinds of Prometheus that this version knows by name only."""

CLOUD_KINDS: Final = frozenset(
    f"{name}_sd_configs"
    for name in """aws azure digitalocean ec2 ecs elasticache gce hetzner ionos lightsail linode msk openstack outscale
    ovhcloud rds scaleway stackit vultr""".split()
)
"""Those of them that the distribution `tinyobs-cloud-sd` brings."""
NEEDS_CLOUD_SD: Final = "needs the plugin cloud-sd: pip install tinyobs-cloud-sd"


@frozen(kw_only=True)
class StaticConfig:
    """Targets written into the configuration, with labels for all of them."""

    targets: tuple[str, ...] = setting(default=(), always=True)
    labels: tuple[tuple[str, str], ...] = setting(default=())

    def faults(self) -> Iterator[Fault]:
        """Yield names that cannot be labels."""
        if any(not name for name, _ in self.labels):
            yield Fault('"" is not a valid label name', "labels")


@frozen(kw_only=True)
class FileSdConfig:
    """Files with target groups; the last part of a path may hold `*`."""

    files: tuple[FilePath, ...] = setting(default=(), always=True)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(REFRESH_MS_DEFAULT), low=1000)
    """How often the files are read even when nothing seems changed, in ms; default 5 min, at least 1 s."""

    def faults(self) -> Iterator[Fault]:
        """Yield what upstream refuses."""
        if not self.files:
            yield Fault("file service discovery config must contain at least one path name")
        for i, name in enumerate(self.files):
            if not _FILE_NAME.match(name):
                yield Fault(f'path name "{name}" is not valid for file discovery', f"files[{i}]")


BUILT_IN: Final[Mapping[str, type]] = {
    STATIC: StaticConfig,
    FILE: FileSdConfig,
    HTTP: HttpSdConfig,
    DNS: DnsSdConfig,
    DOCKER: DockerSdConfig,
    SWARM: DockerSwarmSdConfig,
    CONSUL: ConsulSdConfig,
    NOMAD: NomadSdConfig,
    KUBERNETES: KubernetesSdConfig,
}
"""Key -> schema of the kinds that come with TinyObs."""


def discovery_group(kinds: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Return key -> type of value for all kinds there are; a text instead of a type says why one is refused.

    kinds: key -> schema, as plugins offer them; None means those that are built in.
    """
    known: dict[str, type | str] = dict.fromkeys(FOREIGN_KINDS, "is not supported yet by this version")
    known.update(dict.fromkeys(CLOUD_KINDS, NEEDS_CLOUD_SD))
    known.update(dict.fromkeys(BUILT_IN, "needs a plugin that is switched off"))
    known.update(BUILT_IN if kinds is None else kinds)
    # The built-in kinds come last in print, as with Prometheus.
    order = sorted(known, key=lambda k: (k == STATIC, k == FILE, k))
    types = {k: known[k] for k in order}
    return {k: v if isinstance(v, str) else tuple[v, ...] for k, v in types.items()}  # type: ignore[valid-type]


def url_faults(discovery: tuple[tuple[str, Any], ...]) -> Iterator[Fault]:
    """Yield static targets that look like URLs; asked where no relabelling could turn them into addresses."""
    for name, configs in discovery:
        if name != STATIC:
            continue
        for i, config in enumerate(configs):
            for j, target in enumerate(config.targets):
                if "/" in target:
                    yield Fault(f'"{target}" is not a valid hostname', f"{STATIC}[{i}].targets[{j}]")
