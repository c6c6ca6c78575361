"""Promises that a storage may not make: it then raises `StorageError`, or gives empty answers where that is the word.

Each function tells whether the storage has the part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from ...errors import StorageError
from ...model.batch import Refused
from ...model.cardinality import CardinalityQuery
from ...model.exemplars import Exemplar, ExemplarRefused
from ...model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint, stale_histogram
from ...model.labels import from_mapping
from ...model.matchers import Matcher, MatchType, equal, name_is
from .scene import EVER, STEP_MS, Row, Scene, Value, labels

A: Final = labels("a", host="1")
B: Final = labels("b", host="1")
INTEGER: Final = Histogram(
    3, 1e-128, 2, 9, 17.5, ((0, 2), (3, 1)), (1, 2, 1), ((-1, 1),), (3,), (), ResetHint.NO, is_integer=True
)
FLOAT: Final = Histogram(-4, 0.5, 0.25, 3.75, -1.5, ((-3, 2),), (1.5, 2.0), reset_hint=ResetHint.YES)
CUSTOM: Final = Histogram(
    CUSTOM_SCHEMA, 0.0, 0, 6, 12.0, ((0, 3),), (1, 2, 3), custom_values=(0.1, 1.0), is_integer=True
)
GAUGE: Final = Histogram(0, 0.0, 0.0, 1.0, 1.0, ((0, 1),), (1.0,), reset_hint=ResetHint.GAUGE)


def check_histograms(scene: Scene) -> bool:
    """Histograms of all kinds are kept to the bit, among floats in one series."""
    now = scene.now_ms
    try:
        result = scene.offer([(A, now - 9 * STEP_MS, INTEGER)])
    except StorageError:
        scene.check("of what was refused as a whole nothing is stored")
        return False
    assert result.stored == 1, f"a histogram is stored, or the storage raises: {dict(result.refused)}"
    histograms = result.histograms_stored
    scene.note([(A, now - 9 * STEP_MS, INTEGER)])
    kinds: tuple[Value, ...] = (FLOAT, 1.5, CUSTOM, GAUGE, INTEGER, stale_histogram(), 2.5)
    for i, value in enumerate(kinds):
        at = now + STEP_MS * (i - 8)
        scene.store([(A, at, value), (B, at, kinds[-1 - i]), (labels("floats"), at, float(i))])
    scene.check("histograms and floats are kept in one series")
    scene.store([(A, now, FLOAT), (A, now + 1, CUSTOM), (A, now + 2, 7.0), (B, now, INTEGER)])
    scene.store([(A, now, FLOAT), (B, now, INTEGER)])
    scene.check("an equal histogram counts as stored and changes nothing")
    for other in (GAUGE, 1.0):
        rows: list[Row] = [(A, now, other)]
        result = scene.offer(rows)
        if result.stored:
            scene.note(rows)
        else:
            assert dict(result.refused) == {Refused.DUPLICATE: 1}, "another histogram for a stored time is a duplicate"
    scene.check("another histogram for a stored time is refused or replaces")
    scene.settle()
    scene.check("histograms are kept in background work")
    found = scene.read([name_is("a")], now, now + 1)
    assert found == scene.chosen(lambda s: s == A, now, now + 1), "a range of histograms is read by itself"
    assert histograms == 1, "the result says how many of the stored samples are histograms"
    return True


def check_starts(scene: Scene) -> bool:
    """Start times are kept beside their samples, or not at all."""
    now = scene.now_ms
    for i in range(3):
        starts = np.array([now - 60_000, 0], np.int64)
        scene.store([(A, now + i, float(i)), (B, now + i, float(i))], starts_ms=starts)
    scene.store([(A, now + 3, 3.0), (B, now + 3, 3.0)])
    for _ in range(2):
        with scene.storage.querier(*EVER) as querier:
            columns = querier.select([], *EVER).read(0, 2)
        if columns.starts_ms is None:
            return False
        wanted = [now - 60_000] * 3 + [0] * 5
        assert columns.starts_ms.tolist() == wanted, "start times stand beside their samples"
        scene.settle()
    return True


def check_exemplars(scene: Scene) -> bool:
    """Exemplars are found by series and time; what became of them is told."""
    storage, now = scene.storage, scene.now_ms
    refs = [storage.registry.intern(series) for series in (A, B)]
    trace = [from_mapping({"trace_id": str(i)}) for i in range(4)]
    good = [Exemplar(refs[0], trace[0], 0.5, now), Exemplar(refs[0], trace[1], 1.5, now + 5)]
    good.append(Exemplar(refs[1], trace[2], 2.5, now + 1, has_time=False))
    result = scene.store([(A, now, 1.0), (B, now, 1.0)], exemplars=good)
    found = storage.exemplars([[]], *EVER)
    if not result.exemplars_stored:
        assert found == [], "exemplars that were not stored are not found"
        return False
    assert result.exemplars_stored == len(good), "the result counts the exemplars that were stored"
    assert [(f.series, f.exemplars) for f in found] == [(A, tuple(good[:2])), (B, tuple(good[2:]))], (
        "exemplars are found by series, ascending in time"
    )
    assert scene.store([(A, now + 1, 1.0)], exemplars=good[1:2]).exemplars_stored == 0, "a repeated exemplar is known"
    late = scene.store([(A, now + 2, 1.0)], exemplars=[Exemplar(refs[0], trace[3], 9.0, now + 4)])
    more = [
        Exemplar(refs[1], t, v, now + 2)
        for t, v in ((trace[0], 2.0), (trace[1], 1.0), (trace[0], math.nan), (trace[0], 1.0))
    ]
    result = scene.store([(B, now + 2, 1.0)], exemplars=more)
    assert (result.exemplars_stored, dict(result.exemplars_refused)) == (4, {}), (
        "several may be of one time, in any order"
    )
    again = scene.store([(B, now + 3, 1.0)], exemplars=more)
    assert (again.exemplars_stored, dict(again.exemplars_refused)) == (0, {}), "repeated ones are known"
    assert dict(late.exemplars_refused) == {ExemplarRefused.OUT_OF_ORDER: 1}, "late exemplars are refused"
    long = Exemplar(refs[0], from_mapping({"x": "y" * 128}), 9.0, now + 9)
    refused = scene.store([(A, now + 3, 1.0)], exemplars=[long]).exemplars_refused
    assert dict(refused) == {ExemplarRefused.LABELS_TOO_LONG: 1}, "exemplars with long labels are refused"
    sets = [[name_is("b")], [name_is("a"), equal("host", "1")], [name_is("b")]]
    assert [f.series for f in storage.exemplars(sets, now, now + 1)] == [A, B], "any set of matchers may hold"
    assert [f.exemplars for f in storage.exemplars([[name_is("a")]], now + 1, now + 5)] == [(good[1],)], (
        "exemplars of a range, both ends included"
    )
    return True


def check_delete(scene: Scene) -> bool:
    """What was deleted is gone, everything else stays, and what comes later is stored."""
    storage, now = scene.storage, scene.now_ms
    for i in range(20):
        at = now + STEP_MS * (i - 20)
        scene.store([(series, at, float(i)) for series in (A, B, labels("c", host="2"))])
    try:
        storage.delete([[name_is("a")], [equal("host", "2")]], now - 10 * STEP_MS, now - 5 * STEP_MS)
    except StorageError:
        scene.check("a delete that is refused deletes nothing")
        return False
    _forget(scene, lambda s: s != B, now - 10 * STEP_MS, now - 5 * STEP_MS)
    scene.check("a delete takes a range of the series that fulfil any set of matchers")
    scene.settle()
    scene.check("what was deleted stays away")
    slices = 0
    while storage.clean_tombstones():
        slices += 1
        assert slices < 10_000, "cleaning comes to an end"
    scene.settle()
    scene.check("cleaning changes no answer")
    storage.delete([[Matcher(MatchType.REGEX, "__name__", "a|none")]], *EVER)
    _forget(scene, lambda s: s == A, *EVER)
    scene.check("a series can be deleted as a whole")
    with storage.querier(*EVER) as querier:
        if A not in querier.series([name_is("a")]):
            assert querier.label_values("__name__") == ["b", "c"], "labels of deleted series go with them"
    scene.store([(A, now, 5.0), (B, now, 5.0)])
    scene.check("what comes after a delete is stored")
    scene.settle()
    scene.check("what came after a delete stays")
    return True


def check_cardinality(scene: Scene) -> bool:
    """Counts of series, labels and pairs."""
    scene.store([(labels("m", i=str(i), job="j"), scene.now_ms, 1.0) for i in range(12)])
    scene.store([(labels("n", i="x"), scene.now_ms, 1.0)])
    try:
        found = scene.storage.cardinality(CardinalityQuery(top=2))
    except StorageError:
        return False
    assert (found.series_count, found.metric_count, found.label_pair_count) == (13, 2, 16), "series are counted"
    assert found.series_by_metric == (("m", 12), ("n", 1)), "series are counted by metric"
    assert found.values_by_label == (("i", 13), ("__name__", 2)), "values are counted by label"
    assert found.bytes_by_label == (("i", 15), ("__name__", 13)), "bytes are counted by label"
    assert found.series_by_pair == (("__name__=m", 12), ("job=j", 12)), "series are counted by pair"
    some = scene.storage.cardinality(
        CardinalityQuery(matcher_sets=((name_is("n"),), (name_is("n"), equal("i", "x"))), focus="i")
    )
    assert (some.series_count, some.series_by_focus) == (1, (("x", 1),)), "matchers and the label in focus are heeded"
    return True


def check_snapshot(scene: Scene) -> bool:
    """A snapshot has a name."""
    scene.store([(A, scene.now_ms, 1.0)])
    try:
        name = scene.storage.snapshot()
    except StorageError:
        return False
    assert name, "a snapshot has a name"
    scene.store([(A, scene.now_ms + 1, 1.0)])
    scene.check("a snapshot changes no answer")
    return True


def _forget(scene: Scene, decide: Callable[[tuple[tuple[str, str], ...]], bool], mint_ms: int, maxt_ms: int) -> None:
    for series in list(scene.expected):
        if decide(series):
            kept = {at: v for at, v in scene.expected[series].items() if not mint_ms <= at <= maxt_ms}
            scene.expected[series] = kept
            if not kept:
                del scene.expected[series]
