"""What sinks share: following, second tries, the end, new configurations, outlets that break."""

from __future__ import annotations

from contextlib import asynccontextmanager

import attrs
import numpy as np
import pytest
import structlog
import trio

from tinyobs.abc import ConfigSection, Logged, LogPosition
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError, PluginError
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.sinks.chosen import Chosen
from tinyobs.sinks.group import Outlet, SinkGroup, TryAgain
from tinyobs.sinks.settings import SinkSettings
from tinyobs.testing.check_sink import check_sink
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.services import FakeServices

SECTION = "list_sinks"


def config(text):
    return parse(
        f"tinyobs: {{{SECTION}: [{text}]}}", "t.yml", sections=[ConfigSection(SECTION, tuple[SinkSettings, ...])]
    )


class ListOutlet(Outlet):
    """Hands on to a list of the test."""

    def __init__(self, scene, settings, counts):
        self.scene, self.settings, self.counts = scene, settings, counts
        self.chosen = Chosen(scene.services.registry, settings.match)
        self.waiting = []
        self.gather_seconds = scene.gather_seconds

    async def begin(self, first):
        self.scene.begun.append((first.end, first.in_doubt))

    async def take(self, records):
        if self.scene.break_with is not None:
            error, self.scene.break_with = self.scene.break_with, None
            raise error
        for logged in records:
            batch = self.chosen.of(logged.batch)
            labels = [dict(self.scene.services.registry.labels(r)) for r in batch.refs.tolist()]
            self.waiting += zip(labels, batch.values.tolist(), strict=True)
        return len(self.waiting) >= self.scene.due

    async def flush(self):
        self.scene.tries.append(trio.current_time())
        if self.scene.refusal is not None:
            raise self.scene.refusal
        self.scene.out += self.waiting
        self.counts.samples += len(self.waiting)
        self.waiting = []

    async def aclose(self):
        self.scene.closed += 1


class Scene:
    """A log, a group of list sinks, and what came out."""

    def __init__(self, text="{name: a}"):
        self.services = FakeServices(config(text))
        self.out, self.begun, self.tries = [], [], []
        self.gather_seconds, self.due, self.closed = 0.0, 10_000, 0
        self.refusal = self.break_with = None

    def group(self, services=None):
        return SinkGroup(
            services or self.services, SECTION, lambda _, settings, counts: ListOutlet(self, settings, counts)
        )

    def commit(self, name, value):
        ref = self.services.registry.intern(from_mapping({"__name__": name}))
        self.services.commit(Batch(np.array([ref], np.uint32), np.array([1], np.int64), np.array([value])))

    @property
    def values(self):
        return [v for _, v in self.out]

    @asynccontextmanager
    async def running(self):
        self.services.restart()
        group = self.group()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.services.followers.run)
            await nursery.start(lambda task_status: group.run(task_status=task_status))
            yield group
            nursery.cancel_scope.cancel()

    async def drain(self):
        self.services.followers.drain()
        await self.services.followers.wait_closed()


@pytest.fixture(autouse=True)
def _inline():
    """Let threads be none, for the sake of the virtual clock."""
    with inline_threads():
        yield


async def test_a_group_keeps_the_contract_of_sinks(autojump_clock):
    """Nothing is lost over refusals, ends and restarts."""
    scene = Scene()

    def refuse(yes):
        scene.refusal = TryAgain("not now") if yes else None

    def delivered():
        return [(int(labels["n"]), value) for labels, value in scene.out]

    def make(services):
        return scene.group(services)

    await check_sink(make, delivered, refuse, scene.services)


async def test_selectors_choose(autojump_clock):
    """Each sink has its own; any of them is enough."""
    scene = Scene("{name: a, match: ['x', '{__name__=~\"y.\"}']}")
    async with scene.running():
        for name in ("x", "y", "y1", "z", "x"):
            scene.commit(name, 1.0)
        await scene.drain()
    assert [labels["__name__"] for labels, _ in scene.out] == ["x", "y1", "x"]


async def test_records_are_gathered(autojump_clock):
    """Until it is time, or enough; the place moves on only then."""
    scene = Scene()
    scene.gather_seconds, scene.due = 100.0, 3
    async with scene.running():
        scene.commit("x", 1.0)
        await trio.sleep(99)
        assert scene.values == []
        assert scene.services.log.places == {f"{SECTION}/a": LogPosition(1, 0)}
        await trio.sleep(2)
        assert scene.values == [1]
        for value in (2.0, 3.0):
            scene.commit("x", value)
        await trio.sleep(50)
        assert scene.values == [1]
        scene.commit("x", 4.0)
        await trio.sleep(2)
        assert scene.values == [1, 2, 3, 4]
        scene.commit("x", 5.0)
        await scene.drain()
    assert scene.values == [1, 2, 3, 4, 5]
    assert scene.services.log.places == {f"{SECTION}/a": scene.services.log.end()}


async def test_pauses_grow_or_are_what_the_other_end_says(autojump_clock):
    """From half a second to a minute."""
    scene = Scene()
    scene.refusal = TryAgain("full")
    with structlog.testing.capture_logs() as logged:
        async with scene.running() as group:
            scene.commit("x", 1.0)
            await trio.sleep(600)
            pauses = np.diff(scene.tries)
            assert pauses[:4].round(2).tolist() == [0.5, 1, 2, 4]
            assert pauses.max().round(2) == 60
            scene.refusal = TryAgain("later", 7.0)
            await trio.sleep(200)
            assert np.diff(scene.tries)[-2:].round(2).tolist() == [7, 7]
            scene.refusal = None
            await trio.sleep(10)
            assert scene.values == [1]
            assert group.statistics().failures_total["a"] == len(scene.tries) - 1
    assert [line["event"] for line in logged] == ["a sink cannot hand on; it tries again"] * 2 + [
        "a sink hands on again"
    ]


async def test_the_end_does_not_wait_for_who_refuses(autojump_clock):
    """It is tried once more; the next process reads it again, and knows that it is in doubt."""
    scene = Scene()
    scene.refusal = TryAgain("full", 1000.0)
    async with scene.running():
        scene.commit("x", 1.0)
        await trio.sleep(1)
        begin = trio.current_time()
        await scene.drain()
        assert trio.current_time() - begin < 3
        assert len(scene.tries) == 2
    scene.refusal = None
    async with scene.running():
        await trio.sleep(2)
    assert scene.values == [1]
    assert scene.begun == [(LogPosition(1, 100), False), (LogPosition(1, 100), True)]


async def test_an_outlet_that_breaks_is_made_anew(autojump_clock):
    """It reads again from its place; the others go on."""
    scene = Scene("{name: a}, {name: b}")
    with structlog.testing.capture_logs() as logged:
        async with scene.running() as group:
            scene.break_with = ZeroDivisionError("ours")
            scene.commit("x", 1.0)
            await trio.sleep(5)
            assert scene.values == [1, 1]
            assert sorted(group.statistics().failures_total.values()) == [0, 1]
    assert "a sink failed and begins anew" in [line["event"] for line in logged]
    assert scene.closed == 3


async def test_a_new_configuration_starts_and_stops_sinks(autojump_clock):
    """Those that stay as they are go on undisturbed."""
    scene = Scene("{name: a}, {name: b}")
    async with scene.running() as group:
        scene.commit("x", 1.0)
        await trio.sleep(1)
        await group.reconfigure(config("{name: b}, {name: c, start: oldest, match: ['y']}"))
        assert scene.closed == 1
        scene.commit("y", 2.0)
        await trio.sleep(1)
        assert sorted(scene.values) == [1, 1, 2, 2]
        with pytest.raises(PluginError, match="list_sinks: two sinks are called 'b'"):
            await group.reconfigure(config("{name: b}, {name: b, match: ['x']}"))
        statistics = group.statistics()
    assert statistics.samples_total == {"a": 1, "b": 2, "c": 1}
    assert statistics.behind_bytes == {"a": 0, "b": 0, "c": 0}
    assert set(attrs.asdict(statistics)["lost_samples_total"]) == {"a", "b", "c"}


def test_two_sinks_of_one_name_are_refused():
    """At the start."""
    with pytest.raises(PluginError, match="two sinks are called 'a'"):
        Scene("{name: a}, {name: a, match: ['x']}").group()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "missing key 'name'"),
        ("{name: ''}", "a name has 1 to 60 printable characters"),
        ("{name: a, match: ['x{']}", "'x{' is not a series selector"),
        ("{name: a, start: soon}", "start: now, oldest or an age, not 'soon'"),
    ],
)
def test_faults_have_a_message(text, message):
    """Each names what is wrong."""
    with pytest.raises(ConfigError) as e:
        config(text)
    assert message in str(e.value)


@pytest.mark.parametrize(("start", "age"), [("now", 0), ("oldest", None), ("1d", 86_400_000)])
def test_where_a_sink_begins(start, age):
    """At what comes, at what there is, or between."""
    (settings,) = config(f"{{name: a, start: {start}}}").tinyobs.section(SECTION)
    assert settings.cursor_start().age_ms == age


def test_choices_are_remembered_for_many_series():
    """However many come later."""
    services = FakeServices()
    chosen = Chosen(services.registry, ["x"])
    for count in (10, 5000):
        refs = services.registry.intern_many(
            [from_mapping({"__name__": "x" if n % 2 else "y", "n": str(n)}) for n in range(count)]
        )
        batch = Batch(refs, np.zeros(count, np.int64), np.arange(count, dtype=np.float64))
        for _ in range(2):
            assert (chosen.of(batch).values % 2 == 1).all()
            assert len(chosen.of(batch)) == count // 2
    everything = Chosen(services.registry, [])
    assert everything.of(batch) is batch
    assert len(chosen.of(batch.take(np.empty(0, np.int64)))) == 0
    assert Logged(batch, LogPosition(1, 1)).in_doubt is False
