"""The parts of the head on their own: assembling, label order, the series index, layouts, chunks."""

from __future__ import annotations

import gc

import numpy as np
from engine_cases import labels
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.model.labels import from_mapping, get
from tinyobs.model.matchers import Matcher, MatchType, equal, name_is
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage import index as label_index
from tinyobs.storage import label_order, series_index, wal_layouts
from tinyobs.storage.assemble import assemble
from tinyobs.storage.head import Head
from tinyobs.storage.head_rows import SLOTS
from tinyobs.storage.index import LabelIndex
from tinyobs.storage.label_order import label_ranks
from tinyobs.storage.runs import Runs
from tinyobs.storage.samples import Samples
from tinyobs.storage.series_index import RegistryPairs, SeriesIndex
from tinyobs.storage.wal_layouts import LayoutTable

RUNS = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.tuples(st.integers(0, 9), st.floats(0, 9)), max_size=6)), max_size=6
)
LABELS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["", "1", "2", "10", "é"]), min_size=1)


def part(runs):
    offsets = np.cumsum([0, *(len(samples) for _, samples in runs)])
    flat = [s for _, samples in runs for s in samples]
    times, values = np.array([t for t, _ in flat], np.int64), np.array([v for _, v in flat], np.float64)
    return np.array([s for s, _ in runs], np.int64), Runs(offsets, times, values)


@given(st.lists(RUNS, max_size=4), st.integers(0, 9), st.integers(0, 9))
def test_assembling_is_a_dictionary_per_series(parts, mint, maxt):
    """Runs in any order and overlap give ascending unique times; the later sample wins."""
    expected = [{} for _ in range(5)]
    for runs in parts:
        # within a part, runs of one series are in order of age
        for series, samples in runs:
            expected[series].update({t: v for t, v in samples if mint <= t <= maxt})
    got = assemble([part(runs) for runs in parts], 5, mint, maxt)
    for series, samples in enumerate(expected):
        a, b = got.offsets[series], got.offsets[series + 1]
        assert list(zip(got.times_ms[a:b].tolist(), got.values[a:b].tolist(), strict=True)) == sorted(samples.items())


@given(st.lists(LABELS, max_size=30))
def test_label_ranks_are_the_order_of_tuples(sets):
    """Ranking numbers sorts as comparing label sets does, whatever their lengths."""
    registry = SeriesRegistry()
    for mapping in sets:
        if from_mapping(mapping):
            registry.intern(from_mapping(mapping))
    ranks = label_ranks(RegistryPairs(registry), len(registry), registry.flat_pairs)
    series = [registry.labels(r) for r in range(len(registry))]
    assert [series[i] for i in np.argsort(ranks)] == sorted(series)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.booleans())
@settings(max_examples=30)
def test_the_series_index_sees_every_series(growth, tidy):
    """However the registry grew and whatever was united, matching is what going through all series gives."""
    series_index.TAIL_MAX, before = 16, series_index.TAIL_MAX
    try:
        registry = SeriesRegistry()
        index = SeriesIndex(registry)
        for step, count in enumerate(growth):
            registry.intern_many(labels(f"m{i % 3}", i=str(i), step=str(step)) for i in range(count))
            for matchers in ([name_is("m1")], [Matcher(MatchType.REGEX, "i", "1.*")], [equal("x", "")]):
                expected = [
                    r for r in range(len(registry)) if all(m.matches(get(registry.labels(r), m.name)) for m in matchers)
                ]
                assert index.match(matchers).tolist() == expected
            if tidy and step % 3 == 2:
                index.tidy()
        refs = index.match([])
        ordered = [registry.labels(r) for r in refs[index.order(refs)].tolist()]
        assert ordered == sorted(ordered)
    finally:
        series_index.TAIL_MAX = before


def test_an_index_and_an_order_that_grow_are_those_made_at_once(monkeypatch):
    """Adding series to what is known gives what building from all of them gives, postings and places alike."""
    monkeypatch.setattr(series_index, "FEW", 3)
    monkeypatch.setattr(label_order, "BLOCK_SERIES", 7)
    monkeypatch.setattr(label_index, "CHUNK_POSTINGS", 16)
    registry = SeriesRegistry()
    index = SeriesIndex(registry)
    for step, count in enumerate([40, 2, 30, 1, 80]):
        registry.intern_many(labels(f"m{i % 5}", i=str(i * 7 % 40), s=str(step), v=str(i % 2)) for i in range(count))
        while index.tidy(force=True):
            pass
        pairs = RegistryPairs(registry)
        whole = LabelIndex.build(pairs, *registry.flat_pairs())
        (grown,) = index._parts.indexes
        assert {n: grown.values(n) for n in grown.names()} == {n: whole.values(n) for n in whole.names()}
        assert grown.offsets.tolist() == whole.offsets.tolist()
        assert grown.flat.tolist() == whole.flat.tolist()
        assert index.ranks.tolist() == label_ranks(pairs, len(registry), registry.flat_pairs).tolist()
        series = [registry.labels(r) for r in range(len(registry))]
        assert [series[i] for i in np.argsort(index.ranks)] == sorted(series)


def test_pairs_of_gives_any_series():
    """Pair ids of chosen series, in the form of flat_pairs."""
    registry = SeriesRegistry()
    registry.intern_many([labels("a", x="1"), labels("b"), labels("c", x="1", y="2")])
    starts, ids = registry.pairs_of(np.array([2, 0], np.uint32))
    assert starts.tolist() == [0, 3, 5]
    assert [registry.pair(i) for i in ids.tolist()] == [*labels("c", x="1", y="2"), *labels("a", x="1")]
    assert SeriesRegistry().pairs_of(np.empty(0, np.uint32))[1].tolist() == []


def test_layouts_are_recognised_and_bounded(monkeypatch):
    """The same sequence is the same layout; beyond the limit the table begins anew."""
    monkeypatch.setattr(wal_layouts, "REFS_MAX", 10 + 2 * wal_layouts.LAYOUT_REFS)
    table = LayoutTable()
    one = table.find(np.array([3, 1, 2], np.uint32))
    assert table.find(np.array([3, 1, 2], np.uint32)) is one
    assert one.unique
    assert not table.find(np.array([3, 1, 3], np.uint32)).unique
    assert table.is_current(one)
    table.find(np.arange(9, dtype=np.uint32))
    assert not table.is_current(one)


def filled(rounds, series=3):
    head = Head()
    head.ensure(series)
    refs = np.arange(series, dtype=np.uint32)
    for i in range(rounds):
        head.add(refs, Samples(np.full(series, 1000 + i), np.full(series, float(i))), unique=True)
    return head, refs


def read(view, refs):
    runs = assemble(view.find(refs, -(2**62), 2**62).read(0, len(refs)), len(refs), -(2**62), 2**62)
    return [runs.values[a:b].tolist() for a, b in zip(runs.offsets, runs.offsets[1:], strict=False)]


def test_rows_are_not_reused_while_a_view_may_read_them():
    """Sealing rows under an open view keeps their content; they are given out again when it is gone."""
    head, refs = filled(SLOTS)
    view = head.view()
    for step in range(3 * SLOTS):
        head.add(refs, Samples(np.full(3, 5000 + step), np.full(3, 77.0)), unique=True)
        head.compress()
    assert read(view, refs) == [[float(i) for i in range(SLOTS)]] * 3
    used = head.matrix.used
    del view
    gc.collect()
    for step in range(6 * SLOTS):
        head.add(refs, Samples(np.full(3, 9000 + step), np.full(3, 78.0)), unique=True)
        head.compress()
    assert head.matrix.used <= used + 3, "rows of the view went to other samples"
    assert head.sample_count == 3 * 10 * SLOTS


def test_uniting_chunks_changes_nothing_but_their_number():
    """Many short rows become few long ones with the same samples, in the same order."""
    head, refs = filled(0)
    for i in range(20 * SLOTS):
        head.add(refs, Samples(np.full(3, 1000 + i), np.full(3, float(i))), unique=True)
        if i % SLOTS == SLOTS - 1:
            head.compress()
    before = read(head.view(), refs)
    chunks = len(head.chunks)
    united = head.unite(400)
    assert united is not None
    head.put_united(*united)
    assert len(head.chunks) < chunks
    assert read(head.view(), refs) == before
    assert head.chunk_bytes == sum(c.nbytes for c in head.chunks)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True), min_size=1, max_size=40))
def test_where_series_are_may_be_known_before(batches):
    """Whether a layout knows the places of its series or the head finds them, in any order of series, it is a dictionary."""
    known, found, table, expected = Head(), Head(), LayoutTable(), {ref: [] for ref in range(10)}
    known.ensure(10)
    found.ensure(10)
    for i, batch in enumerate(batches):
        layout = table.find(np.array(batch, np.uint32))
        samples = Samples(1000 + 10 * i + 5 * np.arange(len(batch)) % 7, i + np.arange(len(batch)) / 8)
        known.add(layout.refs, samples, True, where=layout.where)
        found.add(layout.refs, samples, True)
        for ref, value in zip(batch, samples.values.tolist(), strict=True):
            expected[ref].append(value)
        assert samples.span == (samples.times_ms.min(), samples.times_ms.max())
    for head in (known, found):
        assert read(head.view(), np.arange(10, dtype=np.uint32)) == list(expected.values())
        assert [head.min_ms, head.max_ms] == [known.min_ms, known.max_ms]
    assert (known.newest_values == found.newest_values).all()
    assert (known.newest_ms == found.newest_ms).all()


def test_a_series_without_rows_takes_no_row():
    """Noting the newest sample of a series gives it no row."""
    head, _ = filled(0, series=100_000)
    refs = np.arange(100_000, dtype=np.uint32)
    head.note_newest(refs, np.full(100_000, 5), np.zeros(100_000))
    assert head.series_count == 100_000
    assert head.matrix.nbytes == 0


def test_rows_that_are_all_free_are_renewed_and_views_keep_the_old_ones():
    """After a freeze rows begin anew; a view from before still reads what it saw, and rows in use stay."""
    head = Head()
    head.ensure(4)
    refs, times = np.arange(3, dtype=np.uint32), np.full(3, 1000)
    head.add(refs, Samples(times, np.ones(3)), True)
    view = head.view()
    head.freeze()
    assert head.matrix.used == 3  # the view may read them
    assert view.find(refs, 0, 2000).read(0, 3)
    del view
    gc.collect()
    head.thaw()
    head.add(refs, Samples(times + 1, np.ones(3)), True)
    head.freeze()
    head.matrix.renew()
    head.add(refs[:1], Samples(times[:1] + 2, np.ones(1)), True)
    head.matrix.renew()
    assert head.matrix.counts[: head.matrix.used].sum() == 1
    assert head.sample_count == 7
