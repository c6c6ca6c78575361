"""Crash safety, exhaustively: after every change on the disk and with every kind of loss, reopen and check."""

from __future__ import annotations

import attrs
import pytest
from engine_cases import (
    BLOCK_MS,
    OPTIONS,
    START_MS,
    Clock,
    append,
    contents,
    exemplars_of,
    float_histogram,
    histogram,
    labels,
    maintain_all,
    open_engine,
)

from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.storage.options import SyncMode
from tinyobs.testing.mem_disk import Loss, MemDisk

SERIES = [labels("m", i=str(i)) for i in range(6)]
HISTOGRAMS = [labels("h", i=str(i)) for i in range(2)]
STEP_MS = 15_000


@attrs.frozen
class Acknowledged:
    """What one append stored, and the number of changes on the disk at its return."""

    at: int
    samples: list
    exemplars: list
    metadata: dict


def workload(engine, clock, acknowledged, disk, steps=12):
    """Append and maintain; note in `acknowledged` what was stored by which change, after every append."""
    for step in range(steps):
        clock.now_ms = now = START_MS + step * STEP_MS
        samples = [(s, now + i, float(step * 10 + i), 0) for i, s in enumerate(SERIES[: 3 + step // 8])]
        if step % 5 == 4:
            samples.append((SERIES[0], now - 20_000, -1.0 * step, 0))  # out of order
        if step % 7 == 3:
            samples.append((labels("late", step=str(step)), now - 1_000_000, 1.0, 0))  # old, a new series
        if step % 3:
            samples.append((HISTOGRAMS[0], now, histogram(step), START_MS - 500))
            samples.append((HISTOGRAMS[1], now, float_histogram(step, custom=bool(step % 2)), 0))
        if step % 4 == 1:  # the same series holds floats as well
            samples.append((HISTOGRAMS[0], now - 5000, float(step), START_MS - 500))
        exemplars = [(HISTOGRAMS[0], (("trace", str(step)),), 0.5, now, True)] if step % 2 else []
        metadata = (
            {f"family_{step}": MetricMetadata(MetricType.HISTOGRAM, f"Step {step}.", "s")} if step % 4 == 2 else {}
        )
        result = append(engine, samples, exemplars, metadata=metadata)
        assert result.stored == len(samples)
        assert result.exemplars_stored == len(exemplars)
        acknowledged.append(Acknowledged(len(disk.changes), samples, exemplars, metadata))
        if step % 2:
            maintain_all(engine, now)


def crash_points(changes):
    """Every number of changes; within the writing of one unlisted segment only every tenth."""
    for count in range(len(changes) + 1):
        around = changes[max(0, count - 1) : count + 1]
        inside = len({(c.method, c.name) for c in around}) == 1 and around[0].name.startswith("segments/")
        if not inside or count % 10 == 0:
            yield count


@pytest.fixture(scope="module")
def recorded():
    disk, clock, acknowledged = MemDisk(), Clock(), []
    engine = open_engine(disk, clock=clock)
    workload(engine, clock, acknowledged, disk)
    statistics = engine.statistics()
    assert statistics.cuts_total >= 2
    assert statistics.compactions_total >= 1
    assert statistics.maintenance_failures_total == 0
    engine.close()
    return disk, clock.now_ms, acknowledged


@pytest.mark.parametrize("loss", list(Loss))
def test_every_crash_keeps_all_that_was_acknowledged(recorded, loss):
    """All acknowledged is there, nothing is invented, opening twice is the same, appending and upkeep go on."""
    disk, now_ms, acknowledged = recorded
    submitted = {(s, t): (v, since) for a in acknowledged for s, t, v, since in a.samples}
    for count in crash_points(disk.changes):
        found = disk.after_crash(count, loss, seed=count)
        engine = open_engine(found, clock=Clock(now_ms))
        got = contents(engine, starts=True)
        flat = {(s, t): (v, since) for s, samples in got.items() for t, v, since in samples}
        for a in acknowledged:
            if a.at <= count:
                kept = all(flat.get((s, t)) == (v, since) for s, t, v, since in a.samples)
                assert kept, f"lost after change {count}"
        assert all(submitted.get(key) == v for key, v in flat.items()), f"invented after change {count}"
        check_beside(engine, acknowledged, count)
        beside = exemplars_of(engine), engine.metadata()
        engine.close()
        engine = open_engine(found, clock=Clock(now_ms))
        assert contents(engine, starts=True) == got, f"opening twice differs after change {count}"
        assert (exemplars_of(engine), engine.metadata()) == beside, f"opening twice differs after change {count}"
        fresh = (SERIES[0], now_ms + BLOCK_MS * 3, 5.5, 0)
        other = (HISTOGRAMS[1], now_ms + BLOCK_MS * 3, histogram(99), START_MS)
        assert append(engine, [fresh, other]).stored == 2
        if count % 10 == 0:
            maintain_all(engine, now_ms + BLOCK_MS * 4)
            assert engine.statistics().maintenance_failures_total == 0
        after = contents(engine, starts=True)
        assert after.pop(SERIES[0])[-1] == fresh[1:]
        assert after.pop(HISTOGRAMS[1])[-1] == other[1:]
        assert after == {s: v for s, v in got.items() if s not in (SERIES[0], HISTOGRAMS[1])}
        engine.close()


def check_beside(engine, acknowledged, count):
    """Exemplars and metadata: all that was acknowledged, nothing that was not sent."""
    exemplars, metadata = {s: set(e) for s, e in exemplars_of(engine).items()}, engine.metadata()
    sent = {e[1:] for a in acknowledged for e in a.exemplars}
    for a in acknowledged:
        if a.at <= count:
            assert all(e[1:] in exemplars.get(e[0], ()) for e in a.exemplars), f"exemplars lost after change {count}"
            assert all(metadata.get(k) == v for k, v in a.metadata.items()), f"metadata lost after change {count}"
    assert set().union(*exemplars.values()) <= sent, f"exemplars invented after change {count}"


def test_a_crash_during_recovery_loses_nothing(recorded):
    """A recovery that is itself interrupted anywhere can be repeated."""
    disk, now_ms, _ = recorded
    for count in range(5, len(disk.changes), 23):
        torn = disk.after_crash(count, Loss.TORN_WRITE)
        engine = open_engine(torn, clock=Clock(now_ms))
        expected = contents(engine)
        engine.close()
        for again in range(len(torn.changes) + 1):
            engine = open_engine(torn.after_crash(again, Loss.DATA_AND_NAMES), clock=Clock(now_ms))
            assert contents(engine) == expected
            engine.close()


@pytest.mark.parametrize("loss", list(Loss))
def test_without_sync_only_the_end_is_lost(loss):
    """In the mode that never syncs, a crash loses batches from the end, whole ones, and is never called corruption."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, attrs.evolve(OPTIONS, sync=SyncMode.NEVER), clock)
    states = [contents(engine)]
    for step in range(24):
        clock.now_ms = START_MS + step * STEP_MS // 5
        append(engine, [(s, clock.now_ms, float(step)) for s in SERIES[: 2 + step % 3]])
        states.append(contents(engine))
        if step == 18:
            clock.now_ms += 4 * BLOCK_MS
            append(engine, [(SERIES[0], clock.now_ms, 0.0)])
            states.append(contents(engine))
            maintain_all(engine, clock.now_ms)
            assert engine.statistics().cuts_total == 1
    for count in range(len(disk.changes) + 1):
        engine = open_engine(disk.after_crash(count, loss, seed=count), clock=clock)
        assert contents(engine) in states
        engine.close()


def test_a_crash_while_dropping_old_segments():
    """Wherever a retention drop is interrupted, the next start goes on with what was kept and drops the rest."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    for step in range(40):
        clock.now_ms = START_MS + step * STEP_MS
        append(engine, [(SERIES[0], clock.now_ms, float(step))])
        maintain_all(engine, clock.now_ms)
    everything = contents(engine)[SERIES[0]]
    begin = len(disk.changes)
    clock.now_ms += 3_600_000 - 300_000
    append(engine, [(SERIES[1], clock.now_ms, 1.0)])  # age counts from the newest sample
    maintain_all(engine, clock.now_ms)
    rest = contents(engine)[SERIES[0]]
    assert 0 < len(rest) < len(everything)
    assert engine.statistics().segments_dropped_total > 0
    engine.close()
    for count in range(begin, len(disk.changes) + 1):
        for loss in Loss:
            engine = open_engine(disk.after_crash(count, loss, seed=count), clock=clock)
            assert contents(engine)[SERIES[0]] in (everything, rest)
            append(engine, [(SERIES[1], clock.now_ms, 1.0)])
            maintain_all(engine, clock.now_ms)
            assert contents(engine)[SERIES[0]] == rest
            engine.close()
