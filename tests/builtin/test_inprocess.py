"""In-process exporters are collected like scrape targets, and reloads disturb only what changed."""

from __future__ import annotations

import threading

import pytest
import trio

from tinyobs.abc import Exporter
from tinyobs.builtin.inprocess import ExporterLoop, InProcess
from tinyobs.config import loader
from tinyobs.errors import Unavailable
from tinyobs.model.families import gauge
from tinyobs.model.staleness import is_stale_value
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.services import FakeServices


class Fake(Exporter):
    """Yields what the test sets."""

    instance = "i"
    interval_ms = 10_000

    def __init__(self, name="job", families=(), error=None):
        self.name, self.families, self.error = name, list(families), error

    def collect(self):
        if self.error:
            raise self.error
        return self.families


@pytest.fixture
def patient_clock(autojump_clock):
    """A clock that does not jump while an exporter is collected, however long that takes."""
    with inline_threads():
        yield autojump_clock


@pytest.fixture
def services():
    return FakeServices()


def newest(services, series):
    return {name: samples[-1][1] for name, samples in services.samples().items()}[series]


async def test_points_become_samples_with_job_and_instance(services):
    """Metadata is sent once; the synthetic series stand beside the samples."""
    loop = ExporterLoop(Fake(families=[gauge("x", "Help.", 5, a="b")]), services)
    await loop.collect(1000)
    await loop.collect(2000)
    assert services.samples("x") == {'x{a="b", instance="i", job="job"}': [(1000, 5.0), (2000, 5.0)]}
    assert newest(services, 'up{instance="i", job="job"}') == 1
    assert newest(services, 'scrape_samples_scraped{instance="i", job="job"}') == 1
    assert [len(b.metadata) for b in services.batches] == [1, 0]


async def test_what_an_exporter_no_longer_yields_gets_a_marker(services):
    """A failing exporter ends all of its series and is down."""
    exporter = Fake(families=[gauge("x", "", 1), gauge("y", "", 2)])
    loop = ExporterLoop(exporter, services)
    await loop.collect(1000)
    exporter.families.pop()
    await loop.collect(2000)
    assert is_stale_value(newest(services, 'y{instance="i", job="job"}'))
    exporter.error = RuntimeError("broken")
    await loop.collect(3000)
    assert is_stale_value(newest(services, 'x{instance="i", job="job"}'))
    assert newest(services, 'up{instance="i", job="job"}') == 0


async def test_a_storage_that_cannot_take_it_does_not_end_the_loop(services):
    """The samples are lost with a line in the log; the next tick comes."""
    loop = ExporterLoop(Fake(families=[gauge("x", "", 1)]), services)
    services.fail_with = Unavailable("full")
    await loop.collect(1000)
    services.fail_with = None
    await loop.collect(2000)
    assert newest(services, 'up{instance="i", job="job"}') == 1


async def test_it_collects_at_once_and_then_on_the_grid(services, patient_clock):
    """The first look is not put off by an interval."""
    services.in_process = [Fake(families=[gauge("x", "", 1)])]
    with trio.move_on_after(35):
        await InProcess(services).run(task_status=trio.TASK_STATUS_IGNORED)
    times = [at for at, _ in services.samples("x")['x{instance="i", job="job"}']]
    assert len(times) in (4, 5)
    assert {at % 10_000 for at in times[1:]} == {times[1] % 10_000}


async def test_a_reload_starts_and_ends_exporters(services, patient_clock):
    """An exporter that stays keeps its series; one that goes leaves markers; the same configuration changes nothing."""
    source = InProcess(services)
    services.in_process = [Fake("stays", [gauge("x", "", 1)]), Fake("goes", [gauge("y", "", 1)])]
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: source.run(task_status=task_status))
        await trio.sleep(1)
        count = len(services.batches)
        await source.reconfigure(services.config)
        assert len(services.batches) == count
        services.in_process = [Fake("stays", [gauge("x", "", 2)]), Fake("comes", [gauge("z", "", 1)])]
        services.config = loader.parse("global: {scrape_interval: 30s}", "test.yml")
        await source.reconfigure(services.config)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert is_stale_value(newest(services, 'y{instance="i", job="goes"}'))
    assert is_stale_value(newest(services, 'up{instance="i", job="goes"}'))
    stays = [v for _, v in services.samples("x")['x{instance="i", job="stays"}']]
    assert (stays[0], stays[-1]) == (1.0, 2.0)
    assert newest(services, 'z{instance="i", job="comes"}') == 1


async def test_an_exporter_that_yields_nonsense_is_down(services):
    """It fails alone: the others of the component go on."""
    exporter = Fake(families=[gauge("x", "", 1)])
    loop = ExporterLoop(exporter, services)
    await loop.collect(1000)
    for nonsense in (None, [None], [gauge("x", "", 1, a=7)]):
        exporter.families = nonsense
        await loop.collect(2000)
        assert newest(services, 'up{instance="i", job="job"}') == 0


async def test_an_exporter_that_hangs_does_not_hold_up_the_end(services):
    """Its thread is left behind."""
    hung, begun = threading.Event(), threading.Event()

    class Hung(Fake):
        def collect(self):
            begun.set()
            hung.wait(100)
            return []

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ExporterLoop(Hung(), services).collect, 1000)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
    hung.set()


async def test_a_reload_whose_exporters_cannot_be_made_leaves_the_running_ones(services, patient_clock, monkeypatch):
    """The same configuration can be tried again."""
    services.in_process = [Fake(families=[gauge("x", "", 1)])]
    source = InProcess(services)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        await trio.sleep(1)
        changed = loader.parse("global: {scrape_interval: 20s}", "test.yml")
        with monkeypatch.context() as broken:
            broken.setattr(services, "exporters", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await source.reconfigure(changed)
        count = len(services.batches)
        await trio.sleep(30)
        assert len(services.batches) > count
        services.in_process = []
        await source.reconfigure(changed)
        assert is_stale_value(newest(services, 'x{instance="i", job="job"}'))
        nursery.cancel_scope.cancel()
