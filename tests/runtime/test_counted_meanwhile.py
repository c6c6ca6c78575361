"""Metrics of the agent are gathered in worker threads: what is counted changes while they go over it."""

from __future__ import annotations

from types import SimpleNamespace

from tinyobs.builtin.pushgateway.gateway import Counts
from tinyobs.builtin.pushgateway.groups import Groups
from tinyobs.builtin.pushgateway.source import Pushgateway
from tinyobs.builtin.remote_write.counters import Counters, Gauges, families_of
from tinyobs.builtin.remote_write.destination import Destination
from tinyobs.builtin.remote_write.sink import RemoteWrite
from tinyobs.builtin.replicas import processor as replicas_module
from tinyobs.builtin.replicas.processor import Replicas
from tinyobs.builtin.replicas.settings import ReplicaSettings
from tinyobs.builtin.scrape.discoveries import Discovery
from tinyobs.builtin.scrape.manager import ScrapeManager
from tinyobs.builtin.scrape.pool import ScrapePool
from tinyobs.discovery.call_durations import Durations
from tinyobs.model.registry import SeriesRegistry
from tinyobs.receiving.datagrams import DatagramListener
from tinyobs.runtime.agent import Agent
from tinyobs.runtime.component import Status
from tinyobs.runtime.settings import AgentSettings
from tinyobs.sinks.group import SinkGroup
from tinyobs.testing.services import FakeServices
from tinyobs.web.request_statistics import RequestStatistics

NOTHING_WAITS = Gauges(dict.fromkeys(("samples", "histograms", "exemplars", "metadata"), 0), *[0] * 9)


class Changing:
    """Something that is counted; whoever looks at one of its attributes is overtaken by another thread, which changes others."""

    def __init__(self, change, **attributes):
        self._change, self._attributes = change, attributes

    def __getattr__(self, name):
        self._change()
        return self._attributes[name]


def gone_after_a_look(cls, name, value):
    """A subclass in which another thread takes away the value of an attribute when somebody has looked at it."""
    values = iter([value])
    return type(cls.__name__, (cls,), {name: property(lambda self: next(values, None))})


def test_components_that_start():
    """All that were there are told of; a component that begins meanwhile is there the next time."""
    agent = Agent(AgentSettings(storage_url="memory://", listen=()))
    states = agent.supervisor.states

    def begin():
        states.setdefault("late", SimpleNamespace(name="late", status=Status.STARTING, crashes=0))

    for name in ("a", "b"):
        states[name] = Changing(begin, name=name, status=Status.RUNNING, crashes=0)
    families = {f.name: f for f in agent.gather()}
    assert len(families["tinyobs_component_running"].points) == 2


def test_requests_that_are_answered():
    """A handler that answers for the first time while the requests are counted does not end the counting."""
    statistics = RequestStatistics()

    class Code(int):
        def __str__(self):
            statistics.observe("/late", 200, 0.1, 10)
            return "200"

    def another(handler):
        statistics.observe(f"{handler}/later", 200, 0.1, 10)
        return []

    statistics.observe("/a", Code(200), 0.1, 10)
    statistics.observe("/b", 200, 0.1, 10)
    statistics._seconds["/a"] = statistics._bytes["/a"] = SimpleNamespace(points=another)
    counts, seconds, sizes = statistics.families()
    assert len(counts.points) == 2
    assert {dict(p.labels)["handler"] for f in (seconds, sizes) for p in f.points} >= {"/b"}


def test_calls_that_end():
    """Durations of another kind of call may come while they are shown."""
    durations = Durations()
    durations.observe("a", 1.0)
    durations.observe("b", 1.0)

    def labels_of(key):
        durations.observe(key + key, 1.0)
        return {"call": key}

    assert len(durations.family("x", "", labels_of).points) == 4


def test_sinks_that_start():
    """An entry that a reload brings does not take away the counts of the others."""
    group = SinkGroup.__new__(SinkGroup)
    numbers = dict.fromkeys(("samples", "refused", "sends", "bytes", "duplicates", "failures", "lost", "behind"), 1)
    group._counts = {}
    for name in ("a", "b"):
        group._counts[name] = Changing(lambda: group._counts.setdefault(f"more {len(group._counts)}", None), **numbers)
    assert group.statistics().samples_total == {"a": 1, "b": 1}


def destination(sink, name):
    """One that ends, and is removed, as soon as somebody asks how it is."""
    memory = SimpleNamespace(counters=Counters())
    sink._memories[name] = memory

    def end():
        sink._running.pop(name, None)
        sink._memories.pop(name, None)

    plan, aggregation = SimpleNamespace(url="http://h"), None
    return Changing(end, plan=plan, memory=memory, gauges=NOTHING_WAITS, aggregation=aggregation)


def test_destinations_that_end():
    """Those that a reload removes are told of for a last time."""
    sink = RemoteWrite(FakeServices())
    for name in ("a", "b"):
        sink._running[name] = destination(sink, name)
    statistics = sink.statistics()
    assert statistics.destinations == 2
    assert not sink._running


def test_a_follower_that_is_closed():
    """How far a destination is behind may be asked for while it ends."""
    made = gone_after_a_look(Destination, "_follower", SimpleNamespace(bytes_behind=lambda: 7))
    one = made.__new__(made)
    assert one._bytes_behind() == 7
    assert one._bytes_behind() == 0


def test_groups_that_are_pushed():
    """A group that somebody pushes for the first time is counted the next time."""
    source = Pushgateway.__new__(Pushgateway)
    groups = Groups(SeriesRegistry(), 10, 1000)
    source.gateway = SimpleNamespace(groups=groups, counts=Counts(), journal=None)
    for key in ("a", "b"):
        groups.by_key[key] = Changing(
            lambda: groups.by_key.setdefault(len(groups.by_key), None), state=SimpleNamespace(refs=[1, 2])
        )
    statistics = source.statistics()
    assert (statistics.groups, statistics.series) == (2, 4)


def pool(manager):
    """A pool beside which a reload starts another."""
    return Changing(
        lambda: manager._pools.setdefault(f"late {len(manager._pools)}", None),
        discoveries=[],
        loops=[],
        found=SimpleNamespace(elsewhere_count=0),
        config=SimpleNamespace(target_limit=3),
        discovered_count=0,
    )


def test_pools_that_start():
    """Each pool that was there is told of in all metrics of pools."""
    manager = ScrapeManager(FakeServices())
    manager._pools.update({name: pool(manager) for name in ("a", "b")})
    statistics = manager.statistics()
    assert statistics.pools == 2
    assert statistics.pool_target_limits == {"a": 3, "b": 3}


def test_targets_that_are_found():
    """A pool may have more loops when somebody has gone over them."""
    one = ScrapePool.__new__(ScrapePool)
    one._running = {}
    for key in ("a", "b"):
        one._running[key] = Changing(lambda: one._running.setdefault(len(one._running), None), loop=key)
    assert one.loops == ["a", "b"]


def test_a_discovery_that_is_over():
    """One that crashes while it is asked has been asked."""
    made = gone_after_a_look(Discovery, "_discoverer", SimpleNamespace(statistics=lambda: "numbers"))
    one = made.__new__(made)
    assert [one.statistics(), one.statistics()] == ["numbers", None]


def test_a_listener_that_is_closed():
    """What the kernel dropped is asked of the socket that was there, even if it is closed by then."""

    class Socket:
        def getsockopt(self, *args):
            raise OSError("closed")

    made = gone_after_a_look(DatagramListener, "_sock", Socket())
    one = made.__new__(made)
    one._read = one._dropped = one._waiting_bytes = one._kernel_dropped = one._granted = 0
    assert one.statistics().kernel_dropped_total == 0
    assert one.statistics().kernel_dropped_total == 0


def test_elections_under_other_settings(monkeypatch):
    """Whoever is elected stays so, also for those who look while settings change."""
    services = FakeServices()
    replicas = Replicas(services)
    replicas._elections.hear("c", "r", 0)
    seen = []

    class Elections(replicas_module.Elections):
        def __setattr__(self, name, value):
            seen.append(replicas.statistics().clusters)
            super().__setattr__(name, value)

    monkeypatch.setattr(replicas_module, "Elections", Elections)
    replicas._take_over(ReplicaSettings(enabled=True))
    assert set(seen) == {1}
    assert replicas.statistics().clusters == 1


def test_reasons_that_are_new():
    """A reason for not sending may occur for the first time while the reasons are listed."""
    counters = Counters()

    class Kind(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            counters.dropped.setdefault(("exemplars", f"new {len(counters.dropped)}"), 1)
            return str.__eq__(self, other)

    counters.dropped.update({(Kind("samples"), "a"): 1, (Kind("samples"), "b"): 1})
    families = {f.name: f for f in families_of("far", "http://h", counters, NOTHING_WAITS)}
    points = families["prometheus_remote_storage_samples_dropped_total"].points
    assert {dict(p.labels)["reason"] for p in points} >= {"a", "b"}
