"""Segments: what was written is read back, in whole and in part, and damage is never passed on as data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_disk import MemoryDisk

from tinyobs.errors import CorruptionError, FormatVersionError
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.labels import from_mapping, get
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.model.ragged import offsets_of
from tinyobs.storage import segment_format, segment_writer
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.segment_format import FOOTER_BYTES
from tinyobs.storage.segment_reader import SegmentReader
from tinyobs.storage.segment_writer import SegmentWriter

NAME = "segments/00000001.seg"


def columns(series):
    """Return (labels, times, values) triples as columns."""
    return SeriesColumns(
        [labels for labels, _, _ in series],
        offsets_of(np.array([len(t) for _, t, _ in series], np.int64)),
        np.concatenate([np.empty(0, np.int64), *(t for _, t, _ in series)]),
        np.concatenate([np.empty(0, np.float64), *(v for _, _, v in series)]),
    )


def write(series, *, pieces=1, disk=None, zstd_level=1):
    """Write series in so many calls; return the disk and the info."""
    disk = disk or MemoryDisk()
    writer = SegmentWriter(disk, NAME, level=2, zstd_level=zstd_level)
    size = -(-len(series) // pieces)
    for i in range(0, len(series), max(size, 1)):
        writer.add(columns(series[i : i + size]))
    return disk, writer.finish()


def same(got, series):
    """Compare columns with triples, every bit."""
    want = columns(series)
    assert list(got.labels) == list(want.labels)
    np.testing.assert_array_equal(got.offsets, want.offsets)
    np.testing.assert_array_equal(got.timestamps_ms, want.timestamps_ms)
    np.testing.assert_array_equal(got.values.view(np.uint64), want.values.view(np.uint64))


def clip(series, mint, maxt):
    """Return only the samples in the inclusive range."""
    return [(s, t[(t >= mint) & (t <= maxt)], v[(t >= mint) & (t <= maxt)]) for s, t, v in series]


def ordinary(hosts=5, k=100, seed=1):
    """Return a few metrics of several hosts, sorted."""
    rng = np.random.default_rng(seed)
    series = []
    for host in range(hosts):
        for m in range(8):
            labels = from_mapping(
                {"__name__": f"m{m}", "instance": f"h{host}", "job": "node", "mode": "idle" if m % 2 else ""}
            )
            times = 1_700_000_000_000 + host * 100 + np.arange(k + m) * 15_000
            series.append((labels, times, np.cumsum(rng.poisson(9, k + m)).astype(np.float64)))
    return sorted(series, key=lambda s: s[0])


@st.composite
def segments(draw):
    """Draw series with distinct labels, ascending, of up to 40 samples at any time."""
    names = st.sampled_from(["__name__", "a", "b"])
    labels = draw(st.lists(st.dictionaries(names, st.sampled_from(["x", "y", "zz", "ü"])), max_size=12))
    unique = sorted({from_mapping(d) for d in labels})
    times = st.lists(
        st.one_of(st.integers(-100, 100), st.integers(-(1 << 63), (1 << 63) - 1)), unique=True, max_size=40
    )
    out = []
    for s in unique:
        t = np.array(sorted(draw(times)), np.int64)
        bits = draw(st.integers(0, (1 << 64) - 1))
        out.append((s, t, (np.arange(len(t), dtype=np.uint64) * np.uint64(3) + np.uint64(bits >> 2)).view(np.float64)))
    return out


@pytest.fixture
def tiny_pages(monkeypatch):
    """Make pages, rows and blocks so small that every cut happens."""
    small_pages(monkeypatch.setattr)


def small_pages(setattr_):
    """Set the sizes by the given setter."""
    setattr_(segment_writer, "HELD_BYTES_MAX", 90 * 16)
    for module in (segment_format, segment_writer):
        setattr_(module, "PAGE_SAMPLES", 40)
        setattr_(module, "ROW_SAMPLES", 16)
        setattr_(module, "PAGE_SERIES_MAX", 4)
        setattr_(module, "SERIES_PER_BLOCK", 3)
        setattr_(module, "VALUES_PER_BLOCK", 2)


@settings(max_examples=120, deadline=None)
@given(segments(), st.integers(1, 4), st.data())
def test_any_selection_and_range_equals_the_brute_force_answer(series, pieces, data):
    """Selecting by matchers and reading a time range gives what filtering the input gives, with tiny pages too."""
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            small_pages(patch.setattr)
        disk, info = write(series, pieces=pieces)
        reader = SegmentReader(disk, NAME, PageCache())
        assert reader.info == info
        types = st.sampled_from(list(MatchType))
        matchers = data.draw(
            st.lists(
                st.builds(
                    Matcher,
                    types,
                    st.sampled_from(["__name__", "a", "c"]),
                    st.sampled_from(["", "x", "x|y", "z.", ".+"]),
                ),
                max_size=3,
            )
        )
        mint, maxt = sorted(
            data.draw(st.tuples(*[st.one_of(st.integers(-150, 150), st.integers(-(1 << 63), (1 << 63) - 1))] * 2))
        )
        numbers = reader.select(matchers)
        want = [s for s in series if all(m.matches(get(s[0], m.name)) for m in matchers)]
        same(reader.read(numbers, mint, maxt), clip(want, mint, maxt))
        assert reader.label_names(numbers) == sorted({n for s, _, _ in want for n, _ in s})
        assert reader.label_values("a", numbers) == sorted({get(s, "a") for s, _, _ in want} - {""})
        reader.verify()


@pytest.mark.usefixtures("tiny_pages")
def test_long_rows_are_cut_in_time_and_put_together_again():
    """Rows longer than a page allows, beside short and empty ones, come back whole, in order and in ranges."""
    t = np.arange(500) * 10
    series = [
        (from_mapping({"a": f"{i:02d}"}), t[i * 3 :: i % 3 + 1], np.sqrt(t[i * 3 :: i % 3 + 1].astype(np.float64)))
        for i in range(9)
    ]
    series.insert(4, (from_mapping({"a": "03x"}), t[:0], t[:0].astype(np.float64)))
    disk, info = write(series, pieces=3)
    reader = SegmentReader(disk, NAME, PageCache())
    assert info.sample_count == sum(len(t) for _, t, _ in series)
    every = np.arange(10, dtype=np.uint32)
    same(reader.read(every, -1, 10_000), series)
    same(reader.read(every[[2, 4, 8]], 700, 1310), clip([series[2], series[4], series[8]], 700, 1310))
    assert len(reader._pages) > 50
    for block in (1, 3, 256):
        parts = list(reader.iterate(block))
        assert max(len(p) for p in parts) <= block
        same(SeriesColumns([s for p in parts for s in p.labels], *_joined(parts)), series)


def _joined(parts):
    counts = np.concatenate([np.diff(p.offsets) for p in parts])
    return (
        offsets_of(counts),
        np.concatenate([p.timestamps_ms for p in parts]),
        np.concatenate([p.values for p in parts]),
    )


def test_iterate_bounds_samples_and_leaves_the_cache_alone(monkeypatch):
    """Compaction reads few series at a time where they are long, and does not push out what queries need."""
    monkeypatch.setattr("tinyobs.storage.segment_reader.ITERATE_SAMPLES", 1000)
    cache = PageCache()
    reader = SegmentReader(write(ordinary(k=400))[0], NAME, cache)
    parts = list(reader.iterate())
    assert max(p.samples for p in parts) <= 1200
    assert not [k for k in cache._entries if k[1] == "page"]


def test_names_and_values_of_few_series_come_from_the_series_themselves():
    """For a few series out of many, names and values agree with their labels."""
    series = ordinary(hosts=12)
    reader = SegmentReader(write(series)[0], NAME, PageCache())
    for numbers in (np.array([3, 90], np.uint32), np.array([], np.uint32), np.arange(96, dtype=np.uint32)):
        chosen = [series[i][0] for i in numbers]
        assert reader.label_names(numbers) == sorted({n for s in chosen for n, _ in s})
        for name in ("instance", "mode", "absent"):
            assert reader.label_values(name, numbers) == sorted({get(s, name) for s in chosen} - {""})


@pytest.mark.usefixtures("tiny_pages")
def test_labels_with_very_many_values_are_searched_block_by_block(monkeypatch):
    """Where a label has more values than are listed at once, every kind of matcher still finds its series."""
    monkeypatch.setattr("tinyobs.storage.segment_index.LISTED_VALUES_MAX", 10)
    series = [(from_mapping({"u": f"{i:03d}"}), np.array([i]), np.array([1.0])) for i in range(100)]
    reader = SegmentReader(write(series)[0], NAME, PageCache())
    for type_, value in (
        ("=", "042"),
        ("=", "42"),
        ("!=", "007"),
        ("=~", "09."),
        ("=~", "007|1.*|050"),
        ("!~", "0.*"),
        ("=~", ".*9"),
    ):
        m = Matcher(MatchType(type_), "u", value)
        assert reader.select([m]).tolist() == [i for i in range(100) if m.matches(f"{i:03d}")]
    assert reader.label_values("u") == [f"{i:03d}" for i in range(100)]
    assert reader.label_values("u", np.arange(20, 90, dtype=np.uint32)) == [f"{i:03d}" for i in range(20, 90)]


def test_info_and_file_agree(tmp_path):
    """Info tells level, times, counts and size; a real file works as one in memory does."""
    posix_disk = pytest.importorskip("tinyobs.storage.posix_disk")
    disk = posix_disk.PosixDisk(tmp_path)
    disk.make_folder("segments")
    series = ordinary()
    _, info = write(series, disk=disk)
    assert (info.name, info.level, info.series_count) == (NAME, 2, 40)
    assert info.mint_ms == min(int(t[0]) for _, t, _ in series)
    assert info.maxt_ms == max(int(t[-1]) for _, t, _ in series)
    assert info.bytes == disk.size(NAME)
    reader = SegmentReader(disk, NAME, PageCache())
    same(reader.read(reader.select([]), info.mint_ms, info.maxt_ms), series)
    reader.close()


def test_a_second_read_comes_from_the_cache_and_close_empties_it():
    """Pages are decoded once while the budget lasts; a closed reader leaves nothing behind."""
    cache = PageCache()
    reader = SegmentReader(write(ordinary())[0], NAME, cache)
    reader.read(np.array([1, 2], np.uint32), 0, 1 << 60)
    before = cache.statistics().misses
    reader.read(np.array([1, 2], np.uint32), 0, 1 << 60)
    assert cache.statistics().misses == before
    reader.close()
    assert cache.statistics().bytes == 0


def test_aborting_leaves_no_file():
    """An aborted segment is gone."""
    disk = MemoryDisk()
    writer = SegmentWriter(disk, NAME, level=0)
    writer.add(columns(ordinary()))
    writer.abort()
    assert not disk.files


def test_a_failing_disk_is_passed_on_and_abort_cleans_up(monkeypatch):
    """A write that fails raises as the disk does; after abort nothing is left."""
    disk = MemoryDisk()
    writer = SegmentWriter(disk, NAME, level=0)

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segment_disk.MemoryFile.append", full)
    writer.add(columns(ordinary()))
    with pytest.raises(OSError, match="No space"):
        writer.finish()
    writer.abort()
    assert not disk.files


def test_an_empty_segment_can_be_read():
    """A segment without series opens, verifies and selects nothing."""
    disk, info = write([])
    reader = SegmentReader(disk, NAME, PageCache())
    reader.verify()
    assert (info.series_count, len(reader.select([])), list(reader.iterate())) == (0, 0, [])


def test_text_that_is_no_valid_unicode_survives():
    """Lone surrogates, which a careless client can hand in, come back as they were."""
    labels = (("a\udc80", "\udcff"),)
    disk, _ = write([(labels, np.array([1]), np.array([1.0]))])
    reader = SegmentReader(disk, NAME, PageCache())
    assert reader.labels(reader.select([])) == [labels]


def test_series_must_ascend():
    """Series out of label order are a bug of the caller."""
    series = ordinary()
    writer = SegmentWriter(MemoryDisk(), NAME, level=0)
    with pytest.raises(AssertionError):
        writer.add(columns(series[::-1]))


def test_threads_read_the_same():
    """Many threads reading one segment through a small cache all get the right samples."""
    series = ordinary(hosts=8, k=300)
    reader = SegmentReader(write(series)[0], NAME, PageCache(50_000))

    def work(i):
        numbers = reader.select([Matcher(MatchType.EQUAL, "instance", f"h{i % 8}")])
        for _ in range(5):
            same(reader.read(numbers, 0, 1 << 60), [s for s in series if get(s[0], "instance") == f"h{i % 8}"])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


# -- damage ----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_byte_anywhere_is_found(data):
    """Whatever byte is changed, verifying raises, and reading either raises or gives the right data."""
    series = ordinary(hosts=2, k=20)
    disk, info = write(series)
    good = disk.files[NAME]
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    disk.files[NAME] = bytes(bad)
    with pytest.raises((CorruptionError, FormatVersionError)):
        SegmentReader(disk, NAME, PageCache()).verify()
    try:
        reader = SegmentReader(disk, NAME, PageCache())
        got = reader.read(reader.select([Matcher(MatchType.REGEX, "__name__", "m[12]")]), info.mint_ms, info.maxt_ms)
    except (CorruptionError, FormatVersionError):
        return
    same(got, [s for s in series if get(s[0], "__name__") in ("m1", "m2")])


@pytest.mark.parametrize("keep", [0, 5, 16, 100, -1, -FOOTER_BYTES, -8])
def test_a_cut_file_is_refused(keep):
    """A file without its end is not opened."""
    disk, _ = write(ordinary())
    disk.files[NAME] = disk.files[NAME][:keep]
    with pytest.raises(CorruptionError):
        SegmentReader(disk, NAME, PageCache())


def test_damage_is_reported_with_file_and_place():
    """The error names the file and the byte where the damaged page begins; other pages stay readable."""
    disk, _ = write(ordinary())
    bad = bytearray(disk.files[NAME])
    bad[60] ^= 1
    disk.files[NAME] = bytes(bad)
    reader = SegmentReader(disk, NAME, PageCache())
    with pytest.raises(CorruptionError) as caught:
        reader.read(np.array([0], np.uint32), 0, 1 << 60)
    assert (caught.value.file, caught.value.offset) == (NAME, 16)
    assert reader.label_values("job") == ["node"]


def test_a_newer_version_is_refused_as_such():
    """A segment of a later format is not called damaged."""
    disk, _ = write(ordinary())
    bad = bytearray(disk.files[NAME])
    bad[8] = bad[-16] = 3
    disk.files[NAME] = bytes(bad)
    with pytest.raises(FormatVersionError):
        SegmentReader(disk, NAME, PageCache())
