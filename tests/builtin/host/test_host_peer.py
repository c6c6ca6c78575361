"""The same machine seen by node_exporter: names, types, label names and slow values must agree."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from peers import free_port
from prometheus_client.parser import text_string_to_metric_families

from tinyobs.builtin.host import HostSettings
from tinyobs.builtin.host.collectors import NAMES
from tinyobs.builtin.host.exporter import HostExporter

pytestmark = pytest.mark.peer

ABSENT = {
    "node_exporter_build_info": "its labels tell of Go",
}
"""Families of upstream that are left out or differ, and why."""

NOT_BUILT = frozenset(
    [
        "bcache",
        "btrfs",
        "fibrechannel",
        "infiniband",
        "ipvs",
        "nfs",
        "nfsd",
        "systemd",
        "tapestats",
        "xfs",
        "zfs",
    ]
)
"""Default collectors of upstream that TinyObs has not."""

MORE_LABELS = {"node_disk_info": {"rotational"}, "node_network_info": {"adminstate"}}
"""Labels that later releases of upstream added."""

STEADY = [
    "node_boot_time_seconds",
    "node_filesystem_size_bytes",
    "node_filesystem_files",
    "node_memory_MemTotal_bytes",
    "node_network_mtu_bytes",
    "node_network_up",
    "node_network_speed_bytes",
    "node_network_flags",
    "node_filefd_maximum",
    "node_entropy_pool_size_bits",
    "node_os_version",
    "node_os_info",
    "node_uname_info",
    "node_timex_tick_seconds",
    "node_timex_status",
    "node_selinux_enabled",
    "node_nf_conntrack_entries_limit",
    "node_time_clocksource_current_info",
    "node_time_zone_offset_seconds",
    "node_netstat_Ip_Forwarding",
    "node_memory_Hugepagesize_bytes",
    "node_filesystem_readonly",
]
"""Families whose values cannot change between the two readings."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """Families of a real node_exporter: name -> (type, {labels -> value})."""
    program = shutil.which("prometheus-node-exporter")
    if program is None:
        pytest.skip("prometheus-node-exporter is not installed")
    port = free_port()
    log = (tmp_path_factory.mktemp("peer") / "log").open("wb")
    defaults = HostSettings()
    command = [
        program,
        f"--web.listen-address=127.0.0.1:{port}",
        # Debian's defaults are its own; these are upstream's.
        f"--collector.filesystem.mount-points-exclude={defaults.filesystem_mount_points_exclude}",
        f"--collector.filesystem.fs-types-exclude={defaults.filesystem_fs_types_exclude}",
        "--collector.netdev.device-exclude=^$",
        f"--collector.netstat.fields={defaults.netstat_fields}",
        f"--collector.diskstats.device-exclude={defaults.diskstats_device_exclude}",
    ]
    process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | {"GOMAXPROCS": "1"})
    try:
        text = read_when_up(f"http://127.0.0.1:{port}/metrics", process)
    finally:
        process.terminate()
        process.wait(60)
        log.close()
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("node_"):
            for sample in family.samples:
                labels = tuple(sorted((k, v) for k, v in sample.labels.items() if v))
                found.setdefault(sample.name, (family.type, {}))[1][labels] = sample.value
    return found


def read_when_up(url, process):
    """Return the body of the first answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            return opener.open(url, timeout=60).read().decode()
        except urllib.error.URLError:
            if process.poll() is not None:
                pytest.skip("node_exporter ended at once")
            # Let the other process run; there is no event to wait for.
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)


@pytest.fixture(scope="module")
def ours():
    """Our families of the same machine: name -> (type, {labels -> value})."""
    return {
        f.name: (str(f.type), {p.labels: p.value for p in f.points}) for f in HostExporter(HostSettings()).collect()
    }


def test_every_upstream_family_is_there(upstream, ours):
    """Nothing that dashboards may ask for is missing on this machine."""
    assert sorted(set(upstream) - set(ours) - set(ABSENT)) == []


def test_types_are_the_same(upstream, ours):
    """Counters, gauges and unknown ones agree; upstream's conntrack counters are gauges and so are ours."""
    both = (set(upstream) & set(ours)) - set(ABSENT)
    different = {n: (upstream[n][0], ours[n][0]) for n in both if upstream[n][0] != ours[n][0]}
    assert different == {}


def test_label_names_are_the_same(upstream, ours):
    """Series of a family are told apart by the same labels."""
    different = {}
    for name in (set(upstream) & set(ours)) - set(ABSENT):
        theirs = {k for labels in upstream[name][1] for k, _ in labels}
        mine = {k for labels in ours[name][1] for k, _ in labels} - MORE_LABELS.get(name, set())
        if theirs != mine:
            different[name] = (theirs, mine)
    assert different == {}


def test_series_are_the_same(upstream, ours):
    """Devices, modes, mount points: each series upstream has is there, where the machine holds still."""
    moving = {"node_scrape_collector_success", "node_scrape_collector_duration_seconds", "node_arp_entries"}
    for name in (set(upstream) & set(ours)) - set(ABSENT) - set(MORE_LABELS) - moving:
        assert set(ours[name][1]) == set(upstream[name][1]), name


def test_steady_values_are_equal(upstream, ours):
    """Units and factors are right: what cannot change between the two readings is equal."""
    compared = 0
    for name in STEADY:
        if name in upstream:
            mine = ours[name][1]
            for labels, value in upstream[name][1].items():
                assert mine[labels] == value, (name, labels)
                compared += 1
    assert compared >= 10


def test_growing_counters_have_the_same_scale(upstream, ours):
    """Ours are read within seconds of theirs: CPU time, disk bytes and faults are within a tenth or 20 units."""
    for name in ("node_cpu_seconds_total", "node_disk_read_bytes_total", "node_vmstat_pgfault", "node_intr_total"):
        mine, theirs = sum(ours[name][1].values()), sum(upstream[name][1].values())
        assert mine == pytest.approx(theirs, rel=0.2, abs=20), name


def test_the_same_collectors_work(upstream, ours):
    """A collector of ours succeeds where upstream's does, and fails where the machine lacks the thing."""
    theirs = {dict(labels)["collector"]: v for labels, v in upstream["node_scrape_collector_success"][1].items()}
    mine = {dict(labels)["collector"]: v for labels, v in ours["node_scrape_collector_success"][1].items()}
    assert set(theirs) - set(mine) <= NOT_BUILT
    assert set(mine) <= NAMES
    assert {n: (theirs[n], mine[n]) for n in set(theirs) & set(mine) if theirs[n] != mine[n]} == {}
