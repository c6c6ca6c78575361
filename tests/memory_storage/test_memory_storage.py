"""The storage in memory beyond the contract: bounds, ages, policies, and against a plain model of itself."""

from __future__ import annotations

import random

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.errors import LimitExceeded, StorageError
from tinyobs.memory_storage import exemplars as exemplars_module
from tinyobs.memory_storage import storage as storage_module
from tinyobs.memory_storage.admission import MIB, MemoryOptions
from tinyobs.memory_storage.storage import MemoryStorage
from tinyobs.model.batch import Refused
from tinyobs.model.cardinality import CardinalityQuery
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import Histogram
from tinyobs.model.matchers import name_is
from tinyobs.model.metadata import MetricMetadata
from tinyobs.model.registry import SeriesRegistry
from tinyobs.testing.storage_contract.scene import EVER, Scene, identity, labels, make_batch

NOW_MS = 1_700_000_000_000
A, B = labels("a"), labels("b")


def make(**options):
    return MemoryStorage(SeriesRegistry(), lambda: NOW_MS, MemoryOptions(**options))


def times_of(storage, name="a"):
    return sorted(t for samples in Scene(storage, NOW_MS).read([name_is(name)]).values() for t in samples)


def test_the_oldest_samples_go_when_there_is_no_room():
    """The bytes stay below the limit; what is left is the newest, without gaps."""
    storage = make(bytes_max=MIB)
    series = [labels("a", i=str(i)) for i in range(500)]
    for i in range(200):
        storage.append([make_batch(storage, [(s, NOW_MS - 200 + i, float(i)) for s in series])])
        assert storage.statistics().bytes <= MIB
    times = sorted(set(times_of(storage)))
    assert times == list(range(times[0], NOW_MS))
    statistics = storage.statistics()
    assert statistics.head_samples > 20_000
    assert (
        statistics.samples_dropped_total + statistics.head_samples == statistics.head_samples_appended_total == 100_000
    )


def test_a_batch_that_fits_nowhere_is_refused():
    """Nothing of it is stored, and the message says what fits."""
    storage = make(bytes_max=MIB)
    with pytest.raises(LimitExceeded, match="takes 65536 at once"):
        storage.append([make_batch(storage, [(A, NOW_MS + i % 1000, 0.0) for i in range(5000)])])
    assert storage.statistics().head_samples == 0
    storage.check(make_batch(storage, [(A, NOW_MS + i % 1000, 0.0) for i in range(2000)]))
    with pytest.raises(LimitExceeded):
        storage.check(make_batch(storage, [(A, NOW_MS + i % 1000, 0.0) for i in range(5000)]))
    with pytest.raises(ValueError, match="bytes_max"):
        MemoryOptions(bytes_max=MIB - 1)


def test_samples_go_when_they_are_too_old_unless_the_clock_leaps():
    """Age counts from the newest sample where the clock is ahead of it."""
    storage = make(retention_ms=60_000)
    storage.append([make_batch(storage, [(A, NOW_MS - 50_000, 1.0)])])
    storage.maintain(NOW_MS + 10**9)
    assert times_of(storage) == [NOW_MS - 50_000]
    big = [(labels("b", i=str(i)), NOW_MS + 60_000, 1.0) for i in range(100)]
    storage.append([make_batch(storage, big)])
    assert storage.statistics().head_chunks == 1
    storage.maintain(NOW_MS + 12_000)
    assert times_of(storage) == [NOW_MS - 50_000]
    storage.maintain(NOW_MS + 20_000)
    assert times_of(storage) == []
    assert storage.statistics().samples_dropped_total == 1
    assert len(times_of(storage, "b")) == 100


def test_refusals_have_their_reasons():
    """Too old, out of bounds, out of order without a window, late beyond it."""
    storage = make(retention_ms=3_600_000, out_of_order_window_ms=60_000)
    rows = [(A, NOW_MS, 1.0), (A, NOW_MS - 3_600_001, 1.0), (A, NOW_MS + 600_001, 1.0)]
    (result,) = storage.append([make_batch(storage, rows)])
    assert result.stored == 1
    assert result.example == {Refused.TOO_OLD: 1, Refused.OUT_OF_BOUNDS: 2}
    (result,) = storage.append([make_batch(storage, [(A, NOW_MS - 60_000, 1.0), (A, NOW_MS - 60_001, 1.0)])])
    assert (result.stored, result.refused, result.example) == (1, {Refused.TOO_OLD: 1}, {Refused.TOO_OLD: 1})
    strict = make(out_of_order_window_ms=0)
    strict.append([make_batch(strict, [(A, NOW_MS, 1.0)])])
    (result,) = strict.append([make_batch(strict, [(A, NOW_MS - 1, 1.0)])])
    assert result.refused == {Refused.OUT_OF_ORDER: 1}
    assert strict.statistics().samples_refused_total == {Refused.OUT_OF_ORDER: 1}


def test_the_last_write_wins_where_that_is_wished():
    """Across batches, within one, and after merging; an equal one is known."""
    storage = make(last_write_wins=True)
    scene = Scene(storage, NOW_MS)
    scene.store([(A, NOW_MS, 1.0), (A, NOW_MS, 2.0)])
    scene.store([(A, NOW_MS, 3.0)])
    scene.check("the last one")
    before = storage.statistics().samples_repeated_total
    scene.store([(A, NOW_MS, 3.0), (A, NOW_MS, 4.0), (A, NOW_MS, 4.0), (A, NOW_MS, 3.0)])
    scene.check("the last of all")
    assert storage.statistics().samples_repeated_total > before


def test_series_without_samples_are_forgotten(monkeypatch):
    """The index is made anew when most of it is gone; such a series can come back."""
    monkeypatch.setattr(storage_module, "FORGOTTEN_SERIES_MAX", 10)
    storage = make()
    scene = Scene(storage, NOW_MS)
    scene.store([(labels("old", i=str(i)), NOW_MS, 1.0) for i in range(50)] + [(A, NOW_MS, 1.0)])
    view = storage.querier(*EVER)
    storage.delete([[name_is("old")]], *EVER)
    assert len(storage._labels) == 51
    storage.maintain(NOW_MS)
    assert len(storage._labels) == 1
    assert len(view.series([])) == 51, "a view goes on with the index of its time"
    storage.append([make_batch(storage, [(labels("old", i="7"), NOW_MS, 2.0)])])
    assert sorted(scene.read()) == [A, labels("old", i="7")]


def test_exemplars_and_metadata_are_bounded(monkeypatch):
    """The oldest exemplars go; metadata of further families is not kept."""
    storage = make()
    monkeypatch.setattr(exemplars_module, "EXEMPLARS_MAX", 3)
    monkeypatch.setattr(storage_module, "METADATA_FAMILIES_MAX", 1)
    ref = storage.registry.intern(A)
    for i in range(5):
        exemplar = Exemplar(ref, (("t", str(i)),), 1.0, NOW_MS + i)
        metadata = {f"m{i}": MetricMetadata()}
        storage.append([make_batch(storage, [(A, NOW_MS + i, 1.0)], exemplars=[exemplar], metadata=metadata)])
    (found,) = storage.exemplars([[]], *EVER)
    assert [e.labels for e in found.exemplars] == [(("t", str(i)),) for i in (2, 3, 4)]
    assert list(storage.metadata()) == ["m0"]


def test_a_closed_storage_and_a_closed_view_answer_nothing():
    """Both say so."""
    storage = make()
    view = storage.querier(*EVER)
    view.close()
    with pytest.raises(StorageError, match="the querier is closed"):
        view.select([], *EVER)
    storage.close()
    for call in (lambda: storage.querier(0, 1), lambda: storage.maintain(0), lambda: storage.delete([[]], 0, 1)):
        with pytest.raises(StorageError, match="the storage is closed"):
            call()


def test_cardinality_lists_sizes_of_metrics():
    """Samples and bytes by metric; the lists are as long as asked for."""
    storage = make()
    rows = [(labels("m", i=str(i % 3)), NOW_MS - i, 1.0) for i in range(30)]
    storage.append([make_batch(storage, [*rows, (A, NOW_MS, 1.0)])])
    found = storage.cardinality(CardinalityQuery(top=1))
    (metric,) = found.metrics
    assert (metric.name, metric.series, metric.samples) == ("m", 3, 30)
    assert 30 * 20 < metric.bytes < storage.statistics().bytes
    assert (found.min_time_ms, found.max_time_ms) == (NOW_MS - 29, NOW_MS)
    assert attrs.evolve(found, metrics=()) != found


values = st.sampled_from([0.0, -0.0, 1.0, float("nan"), Histogram(0, 0.0, 0, 1, 2.0, ((0, 1),), (1,), is_integer=True)])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), values), max_size=12), max_size=12), st.data()
)
def test_it_holds_what_a_plain_model_holds(batches, data):
    """Any batches and deletes: the first of two values for a time stands."""
    storage, model = make(), {}
    for rows in batches:
        named = [(labels("s", i=str(i)), NOW_MS - 1000 * t, v) for i, t, v in rows]
        (result,) = storage.append([make_batch(storage, named)])
        refused = 0
        for series, at, value in named:
            kept = model.setdefault(series, {}).setdefault(at, identity(value))
            refused += kept != identity(value)
        assert result.refused_total == refused
        if data.draw(st.integers(0, 4)) == 0:
            low = NOW_MS - 1000 * data.draw(st.integers(0, 30))
            storage.delete([[name_is("s")]], low, low + 5000)
            model = {s: {t: v for t, v in kept.items() if not low <= t <= low + 5000} for s, kept in model.items()}
    assert Scene(storage, NOW_MS).read() == {s: kept for s, kept in model.items() if kept}


def test_many_small_batches_make_few_blocks():
    """Merging keeps the number of blocks logarithmic."""
    storage, dice = make(), random.Random(7)
    for i in range(2000):
        storage.append([make_batch(storage, [(labels("a", i=str(dice.randrange(20))), NOW_MS - 2000 + i, 1.0)])])
    assert storage.statistics().head_chunks < 20
    assert len(times_of(storage)) == 2000
    assert np.all(np.diff(times_of(storage)) == 1)
