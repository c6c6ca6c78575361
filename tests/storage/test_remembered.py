"""What queries remember is exactly what they would find anew."""

from __future__ import annotations

import gc
import weakref

import attrs
import numpy as np
import pytest
from engine_cases import BLOCK_MS, OPTIONS, START_MS, Clock, append, contents, labels, maintain_all, open_engine

from tinyobs.model.matchers import Matcher, MatchType, equal
from tinyobs.storage import chunk_memory, head_view, selection, series_sets
from tinyobs.storage.head_chunk import compress_runs
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.runs import Runs
from tinyobs.testing.mem_disk import MemDisk

STEP_MS = 1000
FORGETFUL = attrs.evolve(OPTIONS, page_cache_bytes_max=0)
QUESTIONS = ([equal("__name__", "m")], [equal("host", "b")], [Matcher(MatchType.NOT_EQUAL, "host", "a")], ())


def pair(clock):
    """Two engines to be filled alike: one that remembers and one that does not."""
    return [open_engine(MemDisk(), options, clock) for options in (OPTIONS, FORGETFUL)]


def fill(engines, first, last, hosts="abc", value=0.0):
    """Store a sample of each host at each step, two metrics a host."""
    for engine in engines:
        for step in range(first, last):
            time = START_MS + step * STEP_MS
            append(engine, [(labels(n, host=h), time, value + step) for h in hosts for n in "mn"])


def answers(engine, low=0, high=10_000):
    """Everything that the questions give in a range of steps."""
    mint, maxt = START_MS + low * STEP_MS, START_MS + high * STEP_MS
    out = []
    for matchers in QUESTIONS:
        with engine.querier(mint, maxt) as q:
            out.append((q.label_names(matchers), q.label_values("host", matchers), list(q.series(matchers))))
        out.append(contents(engine, matchers, mint, maxt))
    return out


def same(engines, *ranges):
    for low, high in ranges or ((0, 10_000), (5, 30), (28, 33), (40, 90)):
        first, second = (answers(e, low, high) for e in engines)
        assert first == second
        assert answers(engines[0], low, high) == second, "asked again"


@pytest.fixture
def engines(monkeypatch):
    monkeypatch.setattr("tinyobs.storage.head.STAGED_ROWS", 6)
    return pair(Clock(START_MS + 50 * BLOCK_MS))


def test_new_samples_and_new_chunks_are_seen(engines):
    """An answer that was given before has what came since, in rows and in chunks."""
    for step in range(0, 60, 5):
        fill(engines, step, step + 5)
        same(engines)
    assert len(engines[0].head.chunks) > 3


def test_series_born_later_are_seen(engines):
    """A series belongs to an answer as soon as it is there, and changes the union with segments."""
    fill(engines, 0, 30)
    same(engines)
    fill(engines, 30, 40, hosts="abcd")
    same(engines)
    for engine in engines:
        maintain_all(engine, START_MS + 40 * BLOCK_MS)
    same(engines)
    fill(engines, 40, 50, hosts="0be")
    same(engines)


def test_many_births_at_once_keep_what_did_not_change(engines, monkeypatch):
    """Beyond what is searched one by one the index is asked; the set stays one object when it is the same."""
    monkeypatch.setattr(series_sets, "TAIL_MAX", 2)
    fill(engines, 0, 5)
    engine = engines[0]
    known = series_sets.HeadSeries(engine.registry, engine.index, engine.segments.cache)
    before = known.matched([equal("host", "a")])
    fill(engines, 5, 6, hosts="abcxyz")
    assert known.matched([equal("host", "a")]) is before
    assert len(known.matched([equal("__name__", "m")]).numbers) == 6
    same(engines)


def test_series_that_ended_are_left_out(engines):
    """A series is in the answer only while its newest sample is in reach."""
    fill(engines, 0, 20, hosts="ab")
    fill(engines, 20, 40, hosts="b")
    same(engines, (0, 40), (19, 40), (20, 40), (21, 40), (0, 40))


def test_freezing_cutting_and_uniting_are_followed(engines):
    """Chunks that went to a segment, or were united, are not read twice and not missed."""
    for first in range(0, 150, 30):
        fill(engines, first, first + 30)
        same(engines, (0, 10_000), (first, first + 10), (100, 140))
        for engine in engines:
            engine.maintain(START_MS + first * STEP_MS)
            same(engines, (0, 10_000), (first, first + 30))
    for engine in engines:
        maintain_all(engine, START_MS + 40 * BLOCK_MS)
    assert engines[0].segments.readers
    same(engines)


def test_late_samples_are_put_between(engines):
    """Samples that come late stand in order although later ones were remembered already."""
    fill(engines, 0, 10)
    fill(engines, 20, 40)
    same(engines)
    fill(engines, 10, 20)
    same(engines)


@pytest.mark.parametrize("bound", ["samples", "segment", "series", "labels"])
def test_large_selections_are_read_without_being_kept(engines, monkeypatch, bound):
    """Beyond the limits nothing is kept decoded, and nothing is missing."""
    if bound == "samples":
        monkeypatch.setattr(chunk_memory, "KEPT_SAMPLES_MAX", 30)
    elif bound == "segment":
        monkeypatch.setattr(selection, "SEGMENT_SAMPLES_MAX", 0)
    elif bound == "labels":
        monkeypatch.setattr(series_sets, "SHARE_MAX", 1 << 17)
    else:
        monkeypatch.setattr(head_view, "REMEMBERED_SERIES_MAX", 1)
    fill(engines, 0, 70)
    same(engines)
    for engine in engines:
        maintain_all(engine, START_MS + 40 * BLOCK_MS)
    fill(engines, 70, 90)
    same(engines, (60, 80), (0, 10), (0, 100))


def test_what_is_remembered_cannot_be_changed(engines):
    """Whoever reads samples cannot write into those of the next query."""
    fill(engines, 0, 30)
    with engines[0].querier(START_MS, START_MS + 24 * STEP_MS) as q:
        selection = q.select([equal("host", "a")], q.mint_ms, q.maxt_ms)
        columns = selection.read(0, len(selection.labels))
        again = selection.read(0, len(selection.labels))
    kept = columns.values.base is not None and not columns.values.flags.writeable
    assert kept or not np.shares_memory(columns.values, again.values)
    same(engines)


def test_remembering_keeps_no_chunk_alive():
    """A chunk that the head gave up is freed although a selection remembers its samples."""
    times = np.arange(6, dtype=np.int64)
    chunks = compress_runs(np.array([0, 1], np.uint32), Runs(np.array([0, 3, 6]), times, times.astype(np.float64)))
    series = series_sets.NamedSeries(np.array([1], np.uint32), [labels("m")])
    cache = PageCache()
    reading = chunk_memory.Reading(cache)
    runs = chunk_memory.read_chunks(series, tuple(chunks), 0, 10, reading)
    assert runs.times_ms.tolist() == [3, 4, 5]
    cache.forget(chunks[0])
    seen = weakref.ref(chunks.pop())
    gc.collect()
    assert seen() is None
    assert chunk_memory.read_chunks(series, (), 0, 10, reading) == []


def test_put_replaces_and_stays_within_the_budget():
    """A value takes the place of the one before; the bytes are those of what is held."""
    cache = PageCache(100)
    cache.put(("a",), 1, 40)
    cache.put(("a",), 2, 60)
    cache.put(("b",), 3, 30)
    assert (cache.peek(("a",)), cache.peek(("b",)), cache.statistics().bytes) == (2, 3, 90)
    cache.put(("c",), 4, 20)
    assert cache.peek(("a",)) is None
    assert cache.statistics().bytes == 50
    cache.put(("b",), 5, 101)
    assert cache.peek(("b",)) is None
    assert cache.statistics().bytes == 20


def test_reading_is_stopped_between_chunks(engines):
    """What a query calls to be stopped is called before each chunk or page, also when answers are remembered."""
    fill(engines, 0, 60)

    class Stop(Exception):
        pass

    def after(calls):
        left = iter(range(calls))

        def check():
            if next(left, None) is None:
                raise Stop

        return check

    for engine in engines:
        for segments in (False, True):
            if segments:
                maintain_all(engine, START_MS + 40 * BLOCK_MS)
            with engine.querier(START_MS, START_MS + 60 * STEP_MS) as q:
                for calls in range(1, 4):
                    with pytest.raises(Stop):
                        q.select((), q.mint_ms, q.maxt_ms, after(calls)).read(0, 6)
    same(engines)
