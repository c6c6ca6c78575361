"""The native source: schedule, labels, staleness, and storage that cannot take samples."""

from __future__ import annotations

import numpy as np
import pluggy
import pytest
import trio
from probe_servers import silent
from tinyobs import hookspecs
from tinyobs.errors import Unavailable
from tinyobs.model.batch import AppendResult
from tinyobs.model.families import gauge
from tinyobs.model.labels import get
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import is_stale

import tinyobs_probe
from tinyobs_probe.series import TargetSeries
from tinyobs_probe.settings import Module, Prober, ProbeSettings, Targets
from tinyobs_probe.source import targets_of


class Agent:
    """The services of an agent whose clock is trio's."""

    def __init__(self, settings=None):
        self.registry = SeriesRegistry()
        self.clock = self
        self.batches = []
        self.refuse = False
        self.config = self
        self.tinyobs = self
        self.settings = settings

    def now_ms(self):
        """Return trio's time as if it began at a round moment."""
        return 1_700_000_000_000 + round(trio.current_time() * 1000) % 10**9

    def section(self, name):
        """Return the section of the plugin."""
        assert name == "probe"
        return self.settings

    async def append(self, batch):
        """Keep the batch."""
        if self.refuse:
            raise Unavailable("full")
        self.batches.append(batch)
        return AppendResult(len(batch))

    def series(self, batch):
        """Return metric name -> (labels, value) of a batch."""
        found = {}
        for ref, v in zip(batch.refs, batch.values, strict=True):
            labels = self.registry.labels(int(ref))
            found[get(labels, "__name__")] = (dict(labels), float(v))
        return found


def settings_for(*targets, **changes):
    """Return settings that probe targets over TCP each minute."""
    group = Targets(module="tcp_connect", job="ports", targets=targets, labels=(("team", "a"),))
    return ProbeSettings(targets=(group,), **changes)


async def run_for(seconds, source):
    """Run a source for some time."""
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            await trio.sleep_forever()


async def test_targets_are_probed_on_their_schedule(listen, autojump_clock):
    """Each has its own phase, the same at each interval, and its own series."""
    ports = [await listen(silent) for _ in range(3)]
    agent = Agent(settings_for(*(f"127.0.0.1:{p}" for p in ports), "127.0.0.1:1"))
    (source,) = tinyobs_probe.tinyobs_sources(agent)
    await run_for(180, source)
    statistics = source.statistics()
    assert statistics.targets == 4
    assert statistics.probes_total == 12
    assert statistics.failures_total == 3
    assert statistics.skipped_total == statistics.lost_total == 0
    by_instance = {}
    for batch in agent.batches:
        labels, success = agent.series(batch)["probe_success"]
        assert (labels["job"], labels["team"]) == ("ports", "a")
        by_instance.setdefault(labels["instance"], []).append((int(batch.timestamps_ms[0]), success))
    assert len(by_instance) == 4
    for instance, probes in by_instance.items():
        times = [t for t, _ in probes]
        assert np.diff(times) == pytest.approx(60_000, abs=5)
        assert {v for _, v in probes} == {0.0 if instance == "127.0.0.1:1" else 1.0}
    phases = {probes[0][0] % 60_000 // 1000 for probes in by_instance.values()}
    assert len(phases) > 1


async def test_metadata_comes_once(listen, autojump_clock):
    """Type and help go with the first batch of a target only."""
    agent = Agent(settings_for(f"127.0.0.1:{await listen(silent)}"))
    await run_for(120, tinyobs_probe.tinyobs_sources(agent)[0])
    first, second = agent.batches
    assert "probe_success" in first.metadata
    assert not second.metadata
    assert first.origin == "probe"


async def test_storage_that_is_full_costs_the_samples_only(autojump_clock):
    """The loss is counted and probing goes on."""
    agent = Agent(settings_for("127.0.0.1:1"))
    agent.refuse = True
    (source,) = tinyobs_probe.tinyobs_sources(agent)
    await run_for(120, source)
    assert source.statistics().lost_total == 2


async def test_probes_wait_for_their_turn(listen, autojump_clock):
    """No more run at a time than allowed; ticks that pass meanwhile are counted."""
    running = most = 0

    async def slow(stream):
        nonlocal running, most
        running += 1
        most = max(most, running)
        while await stream.receive_some(100):
            pass
        running -= 1

    ports = [await listen(slow) for _ in range(4)]
    module = Module(prober=Prober.DNS, timeout=9_000, dns=_silent_dns())
    group = Targets(module="slow", targets=tuple(f"127.0.0.1:{p}" for p in ports), interval=10_000)
    settings = ProbeSettings(modules=(("slow", module),), targets=(group,), concurrency_max=2)
    agent = Agent(settings)
    (source,) = tinyobs_probe.tinyobs_sources(agent)
    await run_for(100, source)
    assert most <= 2
    assert source.statistics().skipped_total > 0
    assert source.statistics().probes_total >= 18


def _silent_dns():
    from tinyobs_probe.settings import DnsProbe, IpProtocol, Transport

    return DnsProbe(query_name="x", transport_protocol=Transport.TCP, preferred_ip_protocol=IpProtocol.IP4)


async def test_a_new_configuration_disturbs_only_what_it_changes(listen, autojump_clock):
    """A target that stays keeps its schedule, one that leaves ends with markers, a new one starts."""
    stays, leaves, comes = [f"127.0.0.1:{await listen(silent)}" for _ in range(3)]
    agent = Agent(settings_for(stays, leaves))
    (source,) = tinyobs_probe.tinyobs_sources(agent)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        await trio.sleep(90)
        agent.settings = settings_for(stays, comes)
        await source.reconfigure(agent)
        await trio.sleep(90)
        nursery.cancel_scope.cancel()
    times, ended = {}, []
    for batch in agent.batches:
        labels = dict(agent.registry.labels(int(batch.refs[0])))
        if is_stale(batch.values).all():
            ended.append(labels["instance"])
        else:
            times.setdefault(labels["instance"], []).append(int(batch.timestamps_ms[0]))
    assert ended == [leaves]
    assert np.diff(times[stays]) == pytest.approx(60_000, abs=5)
    assert len(times[stays]) == 3
    assert comes in times
    assert source.statistics().targets == 2
    assert source.restart().statistics().probes_total == source.statistics().probes_total


def test_series_that_vanish_get_a_marker():
    """A gauge that the last probe had and this one has not ends there; target labels win over the probe's."""
    registry = SeriesRegistry()
    series = TargetSeries(registry, {"job": "j", "instance": "i"})
    one, two = gauge("a", "A.", 1, job="other"), gauge("b", "B.", 2)
    first = series.batch([one, two], 1000)
    assert registry.labels(int(first.refs[0])) == (("__name__", "a"), ("instance", "i"), ("job", "j"))
    second = series.batch([one], 2000)
    assert list(is_stale(second.values)) == [False, True]
    assert second.refs[1] == first.refs[1]
    assert list(second.timestamps_ms) == [2000, 2000]
    assert len(series.batch([one], 3000)) == 1


def test_what_the_plugin_declares():
    """One source, one route, one section; every hook is one that TinyObs has."""
    manager = pluggy.PluginManager("tinyobs")
    manager.add_hookspecs(hookspecs)
    manager.register(tinyobs_probe)
    manager.check_pending()
    agent = Agent(ProbeSettings())
    assert [s.name for s in tinyobs_probe.tinyobs_sources(agent)] == ["probe"]
    assert [r.path for r in tinyobs_probe.tinyobs_routes(agent)] == ["/probe"]
    assert [s.name for s in tinyobs_probe.tinyobs_config_sections()] == ["probe"]


def test_a_target_named_twice_is_probed_once():
    """Job, address and module make a target; another module is another target."""
    a = Targets(targets=("x", "x"))
    b = Targets(targets=("x",), module="tcp_connect", interval=5_000)
    found = targets_of(ProbeSettings(targets=(a, b), timeout=30_000))
    assert [(t.address, t.module_name, t.interval_ms, t.timeout_ms) for t in found] == [
        ("x", "http_2xx", 60_000, 30_000),
        ("x", "tcp_connect", 5_000, 5_000),
    ]
