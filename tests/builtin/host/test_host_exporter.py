"""The exporter: which collectors run, what failure costs, and what the plugin declares."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from tinyobs.builtin import host as plugin
from tinyobs.builtin.host import HostSettings, portable, schedstat
from tinyobs.builtin.host.collectors import NAMES, OFF_BY_DEFAULT, linux_collectors
from tinyobs.builtin.host.exporter import HostExporter
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError


def by_name(families):
    """Return families by their name."""
    return {f.name: f for f in families}


def value(families, name, label=None):
    """Return the one value of a family, or that of one collector."""
    points = by_name(families)[name].points
    (found,) = [p.value for p in points if label is None or ("collector", label) in p.labels]
    return found


def test_the_default_set_runs_on_this_machine():
    """Every default collector reports its success and duration, and every family has help and points."""
    families = HostExporter(HostSettings()).collect()
    success = by_name(families)["node_scrape_collector_success"].points
    assert {p.labels[0][1] for p in success} == NAMES - OFF_BY_DEFAULT
    assert all(f.help and f.points for f in families)
    assert [f.name for f in families] == sorted({f.name for f in families})
    assert value(families, "node_exporter_build_info") == 1
    assert value(families, "node_scrape_collector_duration_seconds", "cpu") >= 0


def test_all_collectors_run_together(tree):
    """On an empty host nothing works but what asks the running kernel, and nothing breaks."""
    exporter = HostExporter(tree.settings(), linux_collectors())
    with capture_logs() as logs:
        families = exporter.collect()
    working = {p.labels[0][1] for p in by_name(families)["node_scrape_collector_success"].points if p.value}
    assert working <= {"edac", "selinux", "textfile", "time", "timex", "uname"}
    assert all(entry["log_level"] == "debug" for entry in logs)


def test_a_failing_collector_costs_only_itself(tree):
    """Its half-made families are dropped, success is 0, the failure is logged once until it changes."""

    def half(host, out):
        out.gauge("node_half", "Half.", 1)
        raise reason

    def good(host, out):
        out.gauge("node_good", "Good.", 1)

    exporter = HostExporter(tree.settings(), {"half": half, "good": good})
    with capture_logs() as logs:
        for reason in (ValueError("line 3"), ValueError("line 3"), ZeroDivisionError("x")):  # noqa: B007
            families = exporter.collect()
    assert "node_half" not in by_name(families)
    assert value(families, "node_good") == 1
    assert value(families, "node_scrape_collector_success", "half") == 0
    assert value(families, "node_scrape_collector_success", "good") == 1
    assert [entry["log_level"] for entry in logs] == ["warning", "warning"]
    assert logs[0]["reason"] == "ValueError: line 3"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"collectors": ["loadavg", "processes"]}, {"loadavg", "processes"}),
        ({"collectors": ["loadavg", "cpu"], "exclude_collectors": ["cpu"]}, {"loadavg"}),
        ({"exclude_collectors": sorted(NAMES - {"uname"})}, {"uname"}),
    ],
)
def test_collectors_can_be_chosen(tree, settings, expected):
    """Naming collectors replaces the default set; exclusion wins."""
    families = HostExporter(tree.settings(**settings), linux_collectors()).collect()
    assert {p.labels[0][1] for p in by_name(families)["node_scrape_collector_success"].points} == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"netdev_device_exclude": "a("}, "netdev_device_exclude: error parsing regexp: missing"),
        ({"filesystem_mount_timeout": 0}, "filesystem_mount_timeout: must be above 0"),
        ({"collectors": ["lodavg"]}, "collectors: there is no collector 'lodavg'; did you mean 'loadavg'?"),
        ({"exclude_collectors": ["zzz"]}, "exclude_collectors: there is no collector 'zzz'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    """The message names the setting."""
    with pytest.raises(ValueError) as e:
        HostSettings(**settings)
    assert message in str(e.value)
    assert e.value.key == next(iter(settings))


def test_the_plugin_declares_section_and_exporter():
    """The section is called `host`; `enabled: false` leaves no exporter."""
    (section,) = plugin.tinyobs_config_sections()
    assert (section.name, section.schema) == ("host", HostSettings)
    for enabled in (True, False):
        settings = HostSettings(enabled=enabled)
        tinyobs = SimpleNamespace(section={"host": settings}.__getitem__)
        exporters = plugin.tinyobs_exporters(SimpleNamespace(config=SimpleNamespace(tinyobs=tinyobs)))
        assert [e.name for e in exporters] == (["node"] if enabled else [])


def test_metrics_through_psutil(tree):
    """Systems without /proc get CPU, memory, disks, network, load and boot time under the same names."""
    families = HostExporter(tree.settings(), portable.COLLECTORS).collect()
    names = by_name(families)
    assert all(p.value == 1 for p in names["node_scrape_collector_success"].points)
    for name in ("node_cpu_seconds_total", "node_memory_total_bytes", "node_load1", "node_boot_time_seconds"):
        assert names[name].points


def test_settings_are_read_from_a_file():
    """Keys are the fields' names, durations have units, and a fault has its position."""
    text = "interval: 1m\ncollectors: [cpu, meminfo]\npath_procfs: /host/proc/\nfilesystem_mount_timeout: 500ms\n"
    settings = decode_text(HostSettings, text, "x.yml")
    assert (settings.interval, settings.filesystem_mount_timeout) == (60_000, 500)
    assert settings.collectors == ("cpu", "meminfo")
    assert settings.files().procfs == "/host/proc"
    assert HostExporter(settings).interval_ms == 60_000
    with pytest.raises(ConfigError) as e:
        decode_text(HostSettings, "interval: 1m\nnetdev_device_exclude: 'a('\n", "x.yml")
    assert [p.line for p in e.value.problems] == [2]


def test_an_empty_label_is_an_absent_one(tree):
    """A CPU without a number, in a damaged table, does not make a malformed series."""
    tree.write("proc/schedstat", "cpu 0 0 0 0 0 0 1 2 9\n")
    assert tree.series(schedstat.collect)["node_schedstat_timeslices_total"] == 9
