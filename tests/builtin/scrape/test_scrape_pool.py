"""Pools and the manager under a virtual clock: discovery changes, removal, reload, limits, crashes of discovery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace

import attrs
import pytest
import structlog
import trio
from attrs import field, frozen

from tinyobs.abc import Discoverer, DiscovererKind, TargetGroup
from tinyobs.builtin.scrape import ScrapeManager, discoveries
from tinyobs.builtin.scrape import loop as loop_module
from tinyobs.builtin.scrape import pool as pool_module
from tinyobs.builtin.scrape.discovery_statistics import unite
from tinyobs.builtin.scrape.pool import SYNC_EVERY_SECONDS
from tinyobs.builtin.static_sd import StaticDiscoverer
from tinyobs.config.discovery import STATIC, StaticConfig
from tinyobs.config.loader import parse
from tinyobs.model.families import MetricFamily, Point
from tinyobs.model.metadata import MetricType
from tinyobs.model.staleness import is_stale_value
from tinyobs.testing.services import FakeServices
from tinyobs.testing.targets import TEXT

KIND = "fake_sd_configs"
ONE = "global: {{scrape_interval: 15s}}\nscrape_configs: [{{job_name: j, {KIND}: [{{name: a}}]{more}}}]"


class Client:
    """Answers each target with `x 1`, or as the test has set."""

    bodies: Mapping[str, bytes] = {}

    def __init__(self, shared, unix_socket):
        pass

    @asynccontextmanager
    async def stream(self, method, url, headers):
        async def pieces():
            yield self.bodies.get(url, b"x 1\n")

        yield SimpleNamespace(status=200, reason="OK", headers={"content-type": TEXT}, pieces=pieces)

    async def aclose(self):
        pass


@frozen
class Entry:
    """The configuration of a fake discovery."""

    name: str = ""


@frozen
class Statistics:
    """What a fake discovery counts."""

    publishings_total: int = 0
    now: int = 0
    of: Mapping[str, int] = field(factory=dict)


class Fake(Discoverer):
    """Publishes what the test gives it, by the entry's name; crashes when told."""

    made: list[Fake]

    def __init__(self, entry, context):
        self.entry = entry
        self.published = 0
        self.made.append(self)
        self.send, self.receive = trio.open_memory_channel(9)

    async def run(self, publish, *, task_status):
        async for groups in self.receive:
            if groups is None:
                raise RuntimeError("discovery is broken")
            await publish(groups)
            self.published += 1
            if self.published == 1:
                task_status.started()

    def statistics(self):
        return Statistics(self.published, 1, {self.entry.name: 1})


@pytest.fixture
def services(monkeypatch):
    """Return services with the fake discovery, whose pools never open a socket."""
    monkeypatch.setattr(pool_module, "Client", Client)
    # The default renderer takes seconds for a traceback through trio.
    plain = structlog.wrap_logger(structlog.PrintLogger(), [structlog.processors.KeyValueRenderer()])
    monkeypatch.setattr(pool_module, "log", plain)
    monkeypatch.setattr(discoveries, "log", plain)
    monkeypatch.setattr(loop_module, "log", plain)
    Fake.made = []
    found = FakeServices()
    found.kinds = {
        KIND: DiscovererKind(KIND, Entry, Fake),
        STATIC: DiscovererKind(STATIC, StaticConfig, StaticDiscoverer),
    }
    return found


def configure(services, text):
    """Make a text the running configuration."""
    services.config = parse(text, "f.yml", discoverers=list(services.kinds.values()))
    return services.config


@asynccontextmanager
async def managing(services, text=ONE, more=""):
    """Run a manager on a configuration."""
    configure(services, text.format(KIND=KIND, more=more))
    async with trio.open_nursery() as nursery:
        manager = ScrapeManager(services)
        await nursery.start(manager.run)
        yield manager
        nursery.cancel_scope.cancel()


def group(*addresses, source="s", **labels):
    return TargetGroup(source, tuple({"__address__": a} for a in addresses), labels)


def addresses(manager, job="j"):
    return sorted(dict(loop.target.labels)["instance"] for loop in manager.pools[job].loops)


def last(services, name, instance, job="j"):
    found = services.values(__name__=name, instance=instance, job=job)
    return float(found[-1]) if len(found) else None


async def until(condition):
    """Let virtual time pass until a worker thread has done its part."""
    with trio.fail_after(20_000):
        while not condition():
            await trio.sleep(1)
            await trio.to_thread.run_sync(condition)


async def test_targets_follow_discovery(services, autojump_clock):
    """New targets are scraped, those that are gone end with markers; changes are gathered for five seconds."""
    async with managing(services) as manager:
        (fake,) = Fake.made
        await fake.send.send([group("a:1", "b:1")])
        await trio.sleep(0.1)
        assert addresses(manager) == ["a:1", "b:1"]
        await fake.send.send([group("b:1", "c:1")])
        await trio.sleep(1)
        assert addresses(manager) == ["a:1", "b:1"]
        await trio.sleep(SYNC_EVERY_SECONDS)
        assert addresses(manager) == ["b:1", "c:1"]
        await trio.sleep(30)
        assert last(services, "x", "b:1") == 1
        await fake.send.send([group("c:1")])
        await trio.sleep(SYNC_EVERY_SECONDS + 1)
        assert is_stale_value(last(services, "x", "b:1"))
        assert is_stale_value(last(services, "up", "b:1"))
        assert last(services, "x", "c:1") == 1
        statistics = manager.statistics()
        assert statistics.discovered == {("scrape", "j"): 1}
        assert statistics.received_updates == {("scrape", "j"): 3}


async def test_a_group_without_targets_is_gone(services, autojump_clock):
    """An empty group takes its targets with it; other groups stay."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("a:1", source="1"), group("b:1", source="2")])
        await Fake.made[0].send.send([group(source="1")])
        await trio.sleep(SYNC_EVERY_SECONDS + 1)
        assert addresses(manager) == ["b:1"]


async def test_the_first_sync_waits_for_all_discoveries(services, autojump_clock):
    """Static targets wait for the other discovery, but no longer than the interval between syncs."""
    async with managing(services, more=", static_configs: [{targets: ['s:1']}]") as manager:
        await trio.sleep(1)
        assert addresses(manager) == []
        await trio.sleep(SYNC_EVERY_SECONDS)
        assert addresses(manager) == ["s:1"]


async def test_a_changed_pool_goes_on_with_its_targets(services, autojump_clock):
    """After a reload with other settings the series are not new, and a target that is gone ends with markers."""
    async with managing(services, more=", static_configs: [{targets: ['s:1']}]") as manager:
        await Fake.made[0].send.send([group("a:1", "b:1")])
        await trio.sleep(40)
        before = manager.pools["j"]
        config = configure(
            services, ONE.format(KIND=KIND, more=", sample_limit: 9, static_configs: [{targets: ['s:1']}]")
        )
        await manager.reconfigure(config)
        assert manager.pools["j"] is not before
        await trio.sleep(SYNC_EVERY_SECONDS + 1)
        assert not is_stale_value(last(services, "x", "a:1"))
        await Fake.made[0].send.send([group("a:1")])
        await trio.sleep(30)
        assert is_stale_value(last(services, "x", "b:1"))
        for instance in ("a:1", "s:1"):
            assert last(services, "x", instance) == 1
            assert services.values(__name__="scrape_series_added", instance=instance, job="j").sum() == 1
            assert not any(is_stale_value(v) for v in services.values(__name__="x", instance=instance, job="j"))


def two(services, first, second, more=""):
    """Make a pool with two entries of discovery the running configuration."""
    entries = f"[{{name: {first}}}, {{name: {second}}}]"
    return configure(services, ONE.format(KIND=KIND, more=more).replace("[{name: a}]", entries))


async def test_discoveries_outlive_a_changed_pool(services, autojump_clock):
    """A discovery whose entry stays goes on with what it found, at any place; one that is gone takes its targets along."""
    two(services, "a", "b")
    async with trio.open_nursery() as nursery:
        manager = ScrapeManager(services)
        await nursery.start(manager.run)
        await Fake.made[0].send.send([group("a:1", source="s1"), group("a:2", source="s2")])
        await Fake.made[1].send.send([group("b:1", source="s1")])
        await trio.sleep(20)
        await manager.reconfigure(two(services, "b", "c", ", sample_limit: 9"))
        await trio.sleep(0.1)
        assert len(Fake.made) == 3
        assert manager.statistics().discovered == {("scrape", "j"): 1}
        await Fake.made[2].send.send([group("c:1", source="s1")])
        await Fake.made[1].send.send([group("b:2", source="s2")])
        await trio.sleep(SYNC_EVERY_SECONDS + 1)
        assert addresses(manager) == ["b:1", "b:2", "c:1"]
        assert [dict(s.of) for s in manager.statistics().discovery] == [{"b": 1, "c": 1}]
        assert manager.statistics().discovery[0].publishings_total == 4
        nursery.cancel_scope.cancel()


async def test_targets_stay_while_their_source_is_silent(services, autojump_clock):
    """After a reload the first sync has them, though the discovery tells nothing more."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("a:1")])
        await trio.sleep(20)
        await manager.reconfigure(configure(services, ONE.format(KIND=KIND, more=", sample_limit: 9")))
        await trio.sleep(0.1)
        assert addresses(manager) == ["a:1"]
        await trio.sleep(100)
        assert addresses(manager) == ["a:1"]
        assert not is_stale_value(last(services, "x", "a:1"))
        assert manager.statistics().sent_updates["scrape"] >= 2


async def test_a_discovery_that_cannot_be_made_is_counted(services, autojump_clock):
    """It is tried again, and counts as failed until it runs."""
    broken = [True]

    def make(entry, context):
        if broken:
            raise ValueError("no such thing")
        return Fake(entry, context)

    services.kinds[KIND] = DiscovererKind(KIND, Entry, make)
    async with managing(services) as manager:
        await trio.sleep(5)
        assert manager.statistics().failed_discoveries == {"scrape": 1}
        broken.clear()
        await trio.sleep(60)
        assert manager.statistics().failed_discoveries == {"scrape": 0}


async def test_an_unchanged_pool_is_left_alone(services, autojump_clock):
    """A reload keeps the loops of a pool whose configuration is the same, and starts a new one beside it."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("a:1")])
        await trio.sleep(1)
        before = manager.pools["j"], manager.pools["j"].loops
        text = ONE.format(KIND=KIND, more="") + "\n"
        text = text.replace("}]}]", "}]}, {job_name: k, static_configs: [{targets: ['k:1']}]}]")
        await manager.reconfigure(configure(services, text))
        await trio.sleep(1)
        assert (manager.pools["j"], manager.pools["j"].loops) == before
        assert addresses(manager, "k") == ["k:1"]


async def test_a_removed_pool_ends_its_series_and_keeps_its_counters(services, autojump_clock):
    """All series get markers; what its discovery counted is not lost, what it showed is."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("a:1")])
        await trio.sleep(20)
        assert manager.statistics().discovery == [Statistics(1, 1, {"a": 1})]
        await manager.reconfigure(configure(services, ""))
        assert is_stale_value(last(services, "x", "a:1"))
        assert is_stale_value(last(services, "up", "a:1"))
        assert manager.pools == {}
        assert manager.statistics().discovery == [Statistics(1, 0, {})]


async def test_too_many_targets_fail_all_of_them(services, autojump_clock):
    """Beyond `target_limit` every target of the pool shows the error, and none is asked; it ends with the excess."""
    async with managing(services, more=", target_limit: 1") as manager:
        await Fake.made[0].send.send([group("a:1", "b:1")])
        await trio.sleep(20)
        for loop in manager.pools["j"].loops:
            assert loop.health.last_error == "target_limit exceeded (number of targets: 2, limit: 1)"
        assert (last(services, "up", "a:1"), last(services, "x", "a:1")) == (0, None)
        assert manager.statistics().target_limit == 1
        await Fake.made[0].send.send([group("a:1")])
        await trio.sleep(25)
        assert (last(services, "up", "a:1"), last(services, "x", "a:1")) == (1, 1)


async def test_a_crashed_discovery_starts_again_and_its_targets_stay(services, autojump_clock):
    """The last good targets are scraped meanwhile; the crash is counted; a fresh discoverer takes over."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("a:1")])
        await trio.sleep(1)
        await Fake.made[0].send.send(None)
        await trio.sleep(20)
        assert len(Fake.made) == 2
        assert last(services, "x", "a:1") == 1
        assert manager.statistics().refresh_failures == {(KIND.removesuffix("_sd_configs"), "j"): 1}
        assert manager.statistics().discovery == [Statistics(1, 1, {"a": 1})]
        await Fake.made[1].send.send([group("b:1")])
        await trio.sleep(SYNC_EVERY_SECONDS + 1)
        assert addresses(manager) == ["a:1", "b:1"] or addresses(manager) == ["b:1"]


async def test_targets_that_cannot_be_scraped_are_counted(services, autojump_clock):
    """The others of the pool are scraped."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("http://x/", "a:1")])
        await trio.sleep(1)
        assert addresses(manager) == ["a:1"]
        assert manager.statistics().sync_failures == {"j": 1}


async def test_a_fault_of_ours_ends_one_scrape_only(services, autojump_clock, monkeypatch):
    """An unexpected exception shows as the error of its target; the others, and the next scrapes, go on."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("a:1", "b:1")])
        await trio.sleep(1)
        one, other = manager.pools["j"].loops
        monkeypatch.setattr(one._series, "refs", lambda *given: 1 / 0)
        await trio.sleep(20)
        assert one.health.last_error == "internal error: ZeroDivisionError: division by zero"
        assert other.health.up
        monkeypatch.undo()
        monkeypatch.setattr(pool_module, "Client", Client)
        await trio.sleep(20)
        assert one.health.up


async def test_intervals_and_syncs_are_timed(services, autojump_clock):
    """The intervals between scrapes and the times of syncs show as summaries, by interval and by job."""
    async with managing(services) as manager:
        await Fake.made[0].send.send([group("a:1")])
        await trio.sleep(61)
        intervals, syncs = manager.statistics().timings
    points = {(p.labels, p.suffix): p.value for p in intervals.points}
    assert points[(("interval", "15s"),), "_count"] == 3
    assert points[(("interval", "15s"),), "_sum"] == pytest.approx(45)
    assert [p.labels for p in syncs.points] == [(("scrape_job", "j"),)] * 2


async def test_failures_are_logged_to_a_file(services, autojump_clock, tmp_path):
    """Each failed scrape is a line of JSON; after a reload the file is opened again; an error of the file is counted."""
    file = tmp_path / "failures.json"
    more = f", scrape_failure_log_file: {file}, static_configs: [{{targets: ['a:1']}}], sample_limit: 1"
    Client.bodies = {"http://a:1/metrics": b"x 1\ny 1\n"}
    try:
        async with managing(services, more=more) as manager:
            await until(lambda: file.exists() and file.read_bytes().count(b"\n") >= 2)
            first = json.loads(file.read_text().splitlines()[0])
            assert first.pop("time").startswith("2023-11-14T22:")
            assert first == {
                "level": "ERROR",
                "msg": "sample limit exceeded",
                "job_name": "j",
                "target": "http://a:1/metrics",
            }
            file.rename(tmp_path / "rotated")
            await manager.reconfigure(services.config)
            await until(file.exists)
            file.unlink()
            tmp_path.joinpath("failures.json").mkdir()
            await manager.reconfigure(services.config)
            await until(lambda: manager.statistics().failure_lines_lost_total)
    finally:
        Client.bodies = {}


def test_statistics_of_many_discoveries_are_united():
    """Numbers add up, mappings unite; of those that have ended only counters remain; classes stay apart."""
    other = attrs.make_class("Other", ["n_total"], frozen=True)
    running = [Statistics(1, 2, {"a": 1}), Statistics(2, 3, {"b": 2}), other(5)]
    found = unite(running, [Statistics(10, 20, {"c": 3})])
    assert found == [Statistics(13, 5, {"a": 1, "b": 2}), other(5)]


def test_statistics_by_key_add_up_where_they_count():
    """Counters and summaries of several discoveries are one; a gauge by key stays that of its discovery."""
    cls = attrs.make_class("ByKey", ["calls_total", "took_total", "sizes"], frozen=True)

    def took(count, seconds):
        points = (Point(seconds, (("a", "b"),), "_sum"), Point(count, (("a", "b"),), "_count"))
        return MetricFamily("took", MetricType.SUMMARY, "help", points)

    found = unite([cls({"x": 1}, took(1, 0.5), {"f": 7})], [cls({"x": 2, "y": 1}, took(2, 1.0), {"f": 9})])
    assert found == [cls({"x": 3, "y": 1}, took(3, 1.5), {"f": 7})]
