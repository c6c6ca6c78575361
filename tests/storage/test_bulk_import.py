"""Imports: samples of any age and order become segments, whatever happens on the way."""

from __future__ import annotations

import errno
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.errors import CorruptionError
from tinyobs.model.batch import Batch
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.bulk import BulkLoader, BulkOptions, stretch_of
from tinyobs.storage.import_journal import ImportJournal, Place, begin, identify, read_journal, write_journal
from tinyobs.storage.import_session import ImportSession
from tinyobs.storage.layout import import_journal_name
from tinyobs.storage.options import HOUR_MS
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.segment_reader import SegmentReader
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import Loss, MemDisk

SMALL = BulkOptions(memory_bytes_max=1, round_samples_max=4000)
TINY = BulkOptions(memory_bytes_max=1, round_samples_max=2400)
"""Spills after 1000 samples, so that four or more runs make a round."""
WIDTH, _ = stretch_of(BulkOptions().block_ms)


def batches(count: int, size: int = 500, seed: int = 1) -> list[tuple[list[tuple[str, int, float]], Place]]:
    """Return samples over two months in no order, in batches with the places behind them."""
    rng = random.Random(seed)
    out = []
    for i in range(count):
        some = [
            (f"s{rng.randrange(20)}", rng.randrange(60 * 24) * HOUR_MS, float(rng.randrange(10))) for _ in range(size)
        ]
        out.append((some, Place(0, i + 1, i + 1, "x")))
    return out


def batch_of(registry: SeriesRegistry, some: list[tuple[str, int, float]]) -> Batch:
    refs = registry.intern_many((("__name__", name),) for name, _, _ in some)
    times = np.array([t for _, t, _ in some], np.int64)
    return Batch(refs, times, np.array([v for _, _, v in some]), "import")


def stored(disk: MemDisk) -> dict[tuple[str, int], set[float]]:
    """Return what the segments hold that were handed over: for each series and time the values in any of them."""
    out: dict[tuple[str, int], set[float]] = {}
    for file in disk.list(""):
        if not file.endswith(".seg"):
            continue
        reader = SegmentReader(disk, file, PageCache(0))
        reader.verify()
        assert reader.info.mint_ms // WIDTH == reader.info.maxt_ms // WIDTH
        for columns in reader.iterate():
            for i in range(len(columns)):
                labels, times, values = columns.one(i)
                for t, v in zip(times.tolist(), values.tolist(), strict=True):
                    out.setdefault((labels[0][1], t), set()).add(v)
    return out


def run(disk, work, journal: ImportJournal | None = None, options: BulkOptions = SMALL) -> ImportJournal:
    """Import all of `work` that the journal does not say is done."""
    registry = SeriesRegistry()
    fresh = begin([identify("a", 1, b"x")], "csv")
    journal = journal or read_journal(disk, fresh.id) or fresh
    session = ImportSession(disk, registry, journal, options)
    for some, behind in work:
        if behind.offset > journal.place.offset:
            session.add(batch_of(registry, some), behind)
    session.end_round(finished=True)
    session.close()
    return session.journal


def expected(work) -> dict[tuple[str, int], float]:
    return {(name, t): v for some, _ in work for name, t, v in some}


@pytest.mark.parametrize("options", [SMALL, BulkOptions()])
def test_all_samples_are_in_aligned_segments_the_last_of_equals_stands(options):
    """With runs and rounds, and in memory alone: the same samples; within a round the later one wins."""
    disk, work = MemDisk(), batches(40)
    options = BulkOptions(options.memory_bytes_max, 1_000_000)
    journal = run(disk, work, options=options)
    assert {k: max(v) for k, v in stored(disk).items()} == expected(work)
    assert all(len(v) == 1 for v in stored(disk).values())
    assert (journal.is_finished, journal.samples, journal.place.offset) == (True, 20_000, 40)
    assert journal.segments == len([f for f in disk.list("") if f.endswith(".seg")])
    assert disk.list("segments") == []


def test_rounds_hand_over_segments_on_the_way():
    """After a round its samples are there, and the journal names the place behind it."""
    disk, work = MemDisk(), batches(20)
    registry = SeriesRegistry()
    session = ImportSession(disk, registry, begin([], "csv"), SMALL)
    for some, behind in work[:9]:
        session.add(batch_of(registry, some), behind)
    journal = read_journal(disk, session.journal.id)
    assert journal is not None
    assert (journal.place.offset, journal.samples, journal.is_finished) == (8, 4000, False)
    assert stored(disk).keys() == expected(work[:8]).keys()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-(1 << 53), 1 << 53), st.floats(allow_nan=False)), max_size=60)
)
@settings(max_examples=60, deadline=None)
def test_times_of_any_age_are_sorted_and_the_last_of_equals_stands(samples):
    """Hundreds of thousands of years do not disturb; each stretch has its segment."""
    disk = MemDisk()
    work = [([(f"s{n}", t, v)], Place(0, i + 1)) for i, (n, t, v) in enumerate(samples)]
    run(disk, work, options=BulkOptions(memory_bytes_max=500))
    assert {k: max(v) for k, v in stored(disk).items()} == expected(work)


@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC])
def test_an_import_goes_on_after_a_failure_of_any_disk_operation(fault):
    """Each operation fails once; the same import again completes, and every sample is there, none invented."""
    work = batches(8, 600)
    counting = FaultDisk(MemDisk())
    run(counting, work, options=TINY)
    total = counting.change_count
    wanted = expected(work)
    allowed: dict[tuple[str, int], set[float]] = {}
    for some, _ in work:
        for name, t, v in some:
            allowed.setdefault((name, t), set()).add(v)
    step = max(1, total // 20)
    for number in range(0, total, step):
        disk = MemDisk()
        broken = FaultDisk(disk, {number: fault})
        try:
            run(broken, work, options=TINY)
        except OSError:
            run(disk, work, options=TINY)
        found = stored(disk)
        assert found.keys() == wanted.keys(), number
        assert all(found[k] <= allowed[k] and wanted[k] in found[k] for k in found), number


def test_an_import_goes_on_after_a_crash_at_any_moment():
    """Power fails behind every change: what the journal says is done is there, and the import again completes."""
    work = batches(8, 600)
    disk = MemDisk()
    run(disk, work, options=TINY)
    wanted = expected(work)
    for at in range(0, len(disk.changes), max(1, len(disk.changes) // 20)):
        crashed = disk.after_crash(at, list(Loss)[at % len(Loss)], at)
        journal = read_journal(crashed, begin([identify("a", 1, b"x")], "csv").id)
        if journal is not None:
            done = expected([w for w in work if w[1].offset <= journal.place.offset])
            assert done.keys() <= stored(crashed).keys()
        run(crashed, work, options=TINY)
        found = stored(crashed)
        assert found.keys() == wanted.keys(), at
        assert all(wanted[k] in found[k] for k in found), at


def test_leftovers_of_an_interrupted_import_are_removed():
    """Unfinished runs go when the next import begins; what was handed over stays."""
    disk = MemDisk()
    registry = SeriesRegistry()
    loader = BulkLoader(disk, registry, SMALL)
    loader.add(batch_of(registry, batches(1, 1200)[0][0]))
    assert disk.list("segments")
    BulkLoader(disk, SeriesRegistry(), SMALL)
    assert disk.list("segments") == []


def test_a_damaged_journal_is_told():
    """Its name and what to do are in the message."""
    disk = MemDisk()
    journal = begin([identify("a", 1, b"x")], "csv")
    write_journal(disk, journal)
    assert read_journal(disk, journal.id) == journal
    disk.damage(import_journal_name(journal.id), 5)
    with pytest.raises(CorruptionError, match="remove it"):
        read_journal(disk, journal.id)
    assert read_journal(disk, "other") is None


def test_an_import_is_known_by_content_not_by_name():
    """The same bytes under another name are the same import; other settings make another one."""
    one, other = identify("a.csv", 5, b"12345"), identify("b.csv", 5, b"12345")
    assert begin([one], "csv").id == begin([other], "csv").id
    assert begin([one], "csv").id != begin([one], "jsonl").id
    assert begin([one], "csv").id != begin([identify("a.csv", 6, b"12345")], "csv").id


@pytest.mark.parametrize("memory", [1, 1 << 28])
def test_native_histograms_are_imported_through_runs_and_without(memory):
    """They come out as they went in, beside floats of the same series."""
    from tinyobs.model.histograms import Histogram, handles, histograms_of

    disk, registry = MemDisk(), SeriesRegistry()
    some = [Histogram(0, 0.0, 0, i + 1, float(i), ((0, 1),), (i + 1,), is_integer=True) for i in range(90)]
    values = np.concatenate([handles(0, 90), np.arange(10.0)])
    refs = np.zeros(100, np.uint32) + registry.intern((("__name__", "h"),))
    times = np.arange(100, dtype=np.int64)[::-1] * 1000
    batch = Batch(refs, times, values, "import", histograms=histograms_of(some))
    loader = BulkLoader(disk, registry, BulkOptions(memory_bytes_max=memory))
    for at in range(0, 100, 30):
        loader.add(batch.take(np.arange(at, min(at + 30, 100))))
    made = loader.end_round()
    (columns,) = SegmentReader(disk, made[0].name, PageCache(0)).iterate()
    assert columns.histograms is not None
    assert columns.values[:10].tolist() == list(range(10))[::-1]
    assert [columns.histograms.one(i) for i in range(90)] == some[::-1]
