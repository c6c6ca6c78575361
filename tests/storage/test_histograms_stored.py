"""Native histograms and start times through the engine: admission, head, cut, merge, queries, restarts."""

from __future__ import annotations

import gc

import attrs
import numpy as np
import pytest
from engine_cases import (
    BLOCK_MS,
    OPTIONS,
    START_MS,
    Clock,
    append,
    batch,
    contents,
    float_histogram,
    histogram,
    labels,
    maintain_all,
    open_engine,
)

from tinyobs.errors import LimitExceeded
from tinyobs.model.batch import Batch, Refused
from tinyobs.model.histograms import (
    HANDLE_PREFIX,
    Histograms,
    ResetHint,
    handles,
    histograms_of,
    is_handle,
    stale_histogram,
)
from tinyobs.promql.engine import PromqlEngine
from tinyobs.storage import head as head_module
from tinyobs.storage import intake, segment_format, segment_writer
from tinyobs.storage.head_rows import SLOTS
from tinyobs.storage.runs import Runs
from tinyobs.storage.wal_format import encode_file_header
from tinyobs.testing.mem_disk import MemDisk

H, M = labels("h"), labels("m")
NOW = START_MS
HANDLE = np.array([HANDLE_PREFIX << 48], np.uint64).view(np.float64)[0]


def test_duplicates_are_told_by_all_fields():
    """The same histogram again is stored already; any other, or a float, at its time is refused."""
    disk = MemDisk()
    engine = open_engine(disk)
    for stage in range(3):
        now = NOW + stage * 1000
        assert append(engine, [(H, now, histogram(1)), (M, now, 1.0)]).stored == 2
        if stage == 1:
            engine.close()
            engine = open_engine(disk)
        for value in (
            histogram(2),
            histogram(1, ResetHint.NO),
            float_histogram(1),
            stale_histogram(),
            1.0,
            float("nan"),
        ):
            result = append(engine, [(H, now, value), (M, now, histogram(1))])
            assert dict(result.refused) == {Refused.DUPLICATE: 2}
        assert append(engine, [(H, now, histogram(1)), (M, now, 1.0)]).stored == 2
    maintain_all(engine, NOW + 10 * BLOCK_MS)
    assert append(engine, [(H, NOW, histogram(1)), (H, NOW + 1000, histogram(1))]).stored == 2
    assert append(engine, [(H, NOW, histogram(2))]).refused == {Refused.DUPLICATE: 1}
    assert contents(engine) == {s: [(NOW + i * 1000, v) for i in range(3)] for s, v in ((H, histogram(1)), (M, 1.0))}


def test_duplicates_within_a_batch_and_a_group():
    """Samples of one batch and of batches written together are compared as if they came one by one."""
    engine = open_engine(MemDisk())
    result = append(engine, [(H, NOW, histogram(1)), (H, NOW, histogram(1)), (H, NOW, histogram(2)), (H, NOW, 1.0)])
    assert (result.stored, dict(result.refused)) == (2, {Refused.DUPLICATE: 2})
    first, second = (batch(engine, [(H, NOW + 1, histogram(i)), (H, NOW + 2, histogram(3))]) for i in (1, 2))
    results = engine.append([first, second])
    assert [r.stored for r in results] == [2, 1]
    assert results[1].example == {Refused.DUPLICATE: 0}
    assert contents(engine) == {H: [(NOW, histogram(1)), (NOW + 1, histogram(1)), (NOW + 2, histogram(3))]}


def test_last_write_wins_between_floats_and_histograms():
    """With that option a later sample of the other kind replaces the stored one."""
    engine = open_engine(MemDisk(), attrs.evolve(OPTIONS, last_write_wins=True))
    for value in (histogram(1), 2.0, float_histogram(3)):
        assert append(engine, [(H, NOW, value)]).stored == 1
        assert contents(engine) == {H: [(NOW, value)]}


def test_a_float_is_never_taken_for_a_histogram():
    """Bits of a handle in a batch without histograms are stored as the ordinary NaN."""
    disk = MemDisk()
    engine = open_engine(disk)
    refs = engine.registry.intern_many([M])
    assert engine.append([Batch(refs, np.array([NOW]), np.array([HANDLE]))])[0].stored == 1
    for _ in range(2):
        ((_, value),) = contents(engine)[M]
        assert np.isnan(value)
        engine.close()
        engine = open_engine(disk)


def broken(*blobs):
    """A table of histograms of which some are inconsistent."""
    sound = histograms_of([histogram(1), float_histogram(2)])
    words = sound.words.copy()
    for i in blobs:
        words[sound.offsets[i]] ^= np.uint64(1 << 16)  # another number of spans
    return Histograms(sound.offsets, words)


@pytest.mark.parametrize(
    ("table", "values", "stored"),
    [
        (broken(0), handles(0, 2), 1),
        (broken(0, 1), handles(0, 2), 0),
        (broken(), handles(1, 3), 1),
        (broken(), handles(7, 9), 0),
        (Histograms(np.array([0, 3, 5]), np.zeros(5, np.uint64)), handles(0, 2), 0),
        (Histograms(np.array([0, 5, 900]), np.zeros(5, np.uint64)), handles(0, 2), 1),
    ],
)
def test_an_inconsistent_histogram_is_refused_alone(table, values, stored):
    """It is counted as invalid, and everything else of the batch is stored."""
    disk = MemDisk()
    engine = open_engine(disk)
    refs = engine.registry.intern_many([M, H, labels("h", i="2")])
    values = np.concatenate((np.array([4.0]), values))
    result = engine.append([Batch(refs, np.full(3, NOW), values, histograms=table)])[0]
    assert (result.stored, dict(result.refused)) == (1 + stored, {Refused.INVALID: 2 - stored})
    engine.close()
    engine = open_engine(disk)
    assert contents(engine)[M] == [(NOW, 4.0)]
    assert len(contents(engine)) == 1 + stored


def test_a_batch_with_too_many_words_is_refused_whole(monkeypatch):
    """A batch is one record; nothing of the group is stored."""
    monkeypatch.setattr(intake, "BATCH_WORDS_MAX", 9)
    engine = open_engine(MemDisk())
    with pytest.raises(LimitExceeded, match="words of native histograms"):
        append(engine, [(H, NOW, histogram(1)), (M, NOW, 1.0)])
    assert contents(engine) == {}


def test_histograms_of_refused_samples_are_not_kept():
    """Of a batch that is accepted in part, the log and the head get what was accepted."""
    disk = MemDisk()
    engine = open_engine(disk)
    samples = [(labels("h", i=str(i)), NOW, histogram(i), NOW - 5) for i in range(4)]
    assert append(engine, samples[1:3]).stored == 2
    result = append(engine, [samples[0], (samples[1][0], NOW, histogram(9), NOW), samples[3]])
    assert result.stored == 2
    expected = {s[0]: [s[1:]] for s in samples}
    for _ in range(2):
        assert contents(engine, starts=True) == expected
        assert len(engine.head.matrix.arena.read(np.arange(4))) == 4
        engine.close()
        engine = open_engine(disk)


def test_slots_are_given_back_with_their_rows():
    """An open view keeps what it may read; when it is gone, the arena is empty and its slots go to others."""
    engine = open_engine(MemDisk(), clock=Clock(NOW + 100_000))
    arena = engine.head.matrix.arena
    for i in range(SLOTS - 1):
        append(engine, [(H, NOW + i, histogram(i), NOW), (M, NOW + i, 1.0)])
    querier = engine.querier(NOW, NOW + 1000)
    selection = querier.select([], NOW, NOW + 1000)
    append(engine, [(H, NOW + 50, histogram(50), NOW)])
    engine.head.compress()
    assert arena.live_bytes == 0 < arena.nbytes
    append(engine, [(H, NOW + 60, histogram(60))])
    columns = selection.read(0, 2)
    assert [columns.histograms.one(i) for i in range(SLOTS - 1)] == [histogram(i) for i in range(SLOTS - 1)]
    assert contents(engine)[H][-2:] == [(NOW + 50, histogram(50)), (NOW + 60, histogram(60))]
    querier.close()
    del querier, selection, columns
    gc.collect()
    engine.head.set_aside()
    engine._view = None
    engine.head.compress()
    assert (arena.live_bytes, arena.nbytes) == (0, 0)
    for i in range(SLOTS):
        append(engine, [(H, NOW + 100 + i, float_histogram(i))])
    assert len(arena._blobs) <= SLOTS + 1


def test_rows_with_histograms_are_compressed_when_they_take_much_memory(monkeypatch):
    """Then all rows that have some become chunks, full or not; rows of floats stay."""
    monkeypatch.setattr(head_module, "ARENA_BYTES_MAX", 500)
    engine = open_engine(MemDisk())
    for i in range(30):
        append(engine, [(H, NOW + i, histogram(i)), (M, NOW + i, float(i))])
        assert engine.head.matrix.arena.live_bytes <= 500
    assert len(engine.head.chunks) > 2
    assert contents(engine) == {
        H: [(NOW + i, histogram(i)) for i in range(30)],
        M: [(NOW + i, float(i)) for i in range(30)],
    }


def test_start_times_cost_nothing_until_there_are_some():
    """The column appears with the first start time and knows none for what came before and for rows used again."""
    engine = open_engine(MemDisk())
    append(engine, [(M, NOW, 1.0)])
    assert engine.head.matrix.starts_ms is None
    for i in range(1, 3 * SLOTS):
        append(engine, [(M, NOW + i, 1.0, NOW if i % 2 else 0), (H, NOW + i, histogram(i))])
        engine.head.compress()
    got = contents(engine, starts=True)
    assert got[M] == [(NOW + i, 1.0, NOW if i % 2 else 0) for i in range(3 * SLOTS)]
    assert {s for _, _, s in got[H]} == {0}


def test_a_long_batch_is_compressed_before_the_lock_is_taken(monkeypatch):
    """Readers wait for no compression; the samples behind what the rows have stay in order."""
    engine = open_engine(MemDisk(), clock=Clock(NOW + 10_000))
    append(engine, [(M, NOW, 1.0), (H, NOW, histogram(0))])
    inner, locked = head_module.compress_runs, []

    def compress(*args):
        locked.append(engine._lock.locked())
        return inner(*args)

    monkeypatch.setattr(head_module, "compress_runs", compress)
    samples = [(M, NOW + 1 + i, float(i), NOW) for i in range(4096)]
    samples += [(H, NOW + 1 + i, histogram(i), NOW) for i in range(200)]
    assert append(engine, samples).stored == len(samples)
    assert locked == [False, False]
    got = contents(engine, starts=True)
    assert got[M][1:] == [s[1:] for s in samples[:4096]]
    assert got[H][1:] == [s[1:] for s in samples[4096:]]


def test_pages_are_bounded_by_the_words_of_histograms(monkeypatch):
    """A page takes few series where their histograms are long, and is cut in time where even one is too much."""
    for module in (segment_format, segment_writer):
        monkeypatch.setattr(module, "PAGE_SAMPLES", 50)
        monkeypatch.setattr(module, "PAGE_COST_MAX", 100)
    disk = MemDisk()
    engine = open_engine(disk)
    many = [labels("h", i=str(i)) for i in range(10)]
    for i in range(16):
        append(engine, [(s, NOW + i * 1000, histogram(i), NOW - i) for s in many] + [(M, NOW + i * 1000, float(i))])
    append(engine, [(M, NOW + 3 * BLOCK_MS, 1.0)])
    before = contents(engine, starts=True)
    maintain_all(engine, NOW + 3 * BLOCK_MS)
    (reader, *_) = engine.segments.readers
    assert len(reader._pages) > 5
    reader.verify()
    assert contents(engine, starts=True) == before
    assert contents(engine, [], NOW + 2000, NOW + 3000)[many[3]] == [
        (NOW + 2000, histogram(2)),
        (NOW + 3000, histogram(3)),
    ]


def test_many_series_through_merges_and_a_restart():
    """Histograms of many layouts, floats between them, cut and merged again and again."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    series = [labels("h", i=str(i)) for i in range(20)]
    expected = {s: [] for s in series}
    for step in range(40):
        clock.now_ms = now = NOW + step * 15_000
        kinds = (histogram, float_histogram, float, lambda k: float_histogram(k, custom=True))
        samples = [(s, now, kinds[(i + step // 4) % 4](step), NOW * (i % 2)) for i, s in enumerate(series)]
        assert append(engine, samples).stored == 20
        for s, *rest in samples:
            expected[s].append(tuple(rest))
        maintain_all(engine, now)
    assert engine.statistics().compactions_total >= 1
    assert engine.statistics().head_native_samples_appended_total == 600
    for _ in range(2):
        assert contents(engine, starts=True) == expected
        engine.close()
        engine = open_engine(disk, clock=clock)


def test_logs_and_segments_of_format_1_are_read():
    """What an older release wrote is opened; the next files are of this format."""
    disk = MemDisk()
    engine = open_engine(disk)
    append(engine, [(M, NOW + i * 5000, float(i)) for i in range(100)])
    maintain_all(engine, NOW)
    before = contents(engine)
    engine.close()
    for name in disk.list("wal"):
        data = bytearray(disk.read(f"wal/{name}"))
        session = int.from_bytes(data[16:24], "little")
        data[:28] = encode_file_header(int(name), session, version=1)
        disk.remove(f"wal/{name}")
        disk.create(f"wal/{name}").append(bytes(data))
    assert contents(open_engine(disk)) == before


def test_expressions_take_histograms_beside_floats():
    """A query over both kinds answers with both."""
    engine = open_engine(MemDisk())
    append(engine, [(H, NOW, histogram(1)), (labels("h", i="2"), NOW, 2.0)])
    columns = PromqlEngine().instant(engine, '{__name__="h"}', NOW).columns
    assert columns.histograms is not None
    assert [v for v, handle in zip(columns.values.tolist(), is_handle(columns.values), strict=True) if not handle] == [
        2.0
    ]
    assert columns.histograms.one(0).count == histogram(1).count


def test_runs_carry_everything():
    """Taking, cutting and compacting keep histograms and start times with their samples."""
    table = histograms_of([histogram(i) for i in range(4)])
    runs = Runs(np.array([0, 2, 5]), np.arange(5), np.concatenate((handles(0, 4), [7.0])), table, np.arange(5) * 10)
    second = runs.rows(1, 2).compact()
    assert [second.histograms.one(i) for i in range(2)] == [histogram(2), histogram(3)]
    assert second.starts_ms.tolist() == [20, 30, 40]
    assert runs.costs().tolist() == [0, 2 + 2 * 2, 5 + 4 * 2]
    assert runs.compact() is runs
    assert runs.take(np.array([0, 1]), np.array([4])).compact().histograms is None
