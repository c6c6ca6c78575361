"""The contracts `Storage`, `Querier` and `Selection` of `tinyobs.abc`, executable.

What only a power failure shows, durability, is not checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import attrs
import numpy as np

from ..abc import Querier, Storage
from ..model.batch import Batch
from ..model.labels import Labels, from_mapping
from ..model.matchers import Matcher, MatchType, equal, name_is
from ..model.metadata import MetricMetadata, MetricType
from ..model.registry import SeriesRegistry
from ..model.staleness import STALE_NAN, is_stale

Samples: TypeAlias = dict[Labels, list[tuple[int, float]]]

STEP_MS: Final = 15_000
SERIES: Final = tuple(
    from_mapping({"__name__": name, "host": host, "only": only})
    for name, host, only in (("b", "1", ""), ("a", "2", ""), ("a", "1", "x"), ("c", "", ""))
)


def check_storage(make: Callable[[SeriesRegistry], Storage], now_ms: int = 1_700_000_000_000) -> None:
    """Check an implementation; `make` gives a new, empty storage that takes samples with times around `now_ms`.

    Raises `AssertionError` for the first promise that is not kept.
    """
    registry = SeriesRegistry()
    storage = make(registry)
    assert storage.registry is registry, "the storage numbers series by the registry that it is given"
    assert _read(storage.querier(0, now_ms), [], 0, now_ms) == {}, "a new storage is empty"
    assert storage.append([]) == []
    times = now_ms + STEP_MS * np.arange(-9, 1)
    expected = _fill(storage, times)
    _check_reading(storage, times, expected)
    _check_views(storage, now_ms, expected)
    _check_labels(storage, now_ms)
    _check_rest(storage, now_ms, expected)


def _fill(storage: Storage, times: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]]) -> Samples:
    """Store a sample of every series at each time, two batches a call; return what was stored."""
    refs = storage.registry.intern_many(SERIES)
    metadata = {"a": MetricMetadata(MetricType.COUNTER, "Help.", "")}
    batches = []
    expected: Samples = {labels: [] for labels in SERIES}
    for i, at in enumerate(np.asarray(times, np.int64)):
        values = i + np.arange(len(SERIES)) / 10
        batches.append(Batch(refs, np.full(len(refs), at), values, "check", metadata if i == 0 else {}))
        for labels, value in zip(SERIES, values.tolist(), strict=True):
            expected[labels].append((int(at), value))
    for i in range(0, len(batches), 2):
        results = storage.append(batches[i : i + 2])
        assert [r.stored for r in results] == [len(SERIES)] * 2, "there is a result for each batch, in order"
        assert all(not r.refused for r in results), "good samples are not refused"
    assert storage.metadata()["a"] == metadata["a"], "metadata that came with a batch is known"
    return expected


def _check_reading(storage: Storage, times: np.ndarray[tuple[int], np.dtype[np.int64]], expected: Samples) -> None:
    first, last = int(times[0]), int(times[-1])
    querier = storage.querier(first, last)
    assert _read(querier, [], first, last) == expected, "what was stored is read, both ends of the range included"
    inner = _read(querier, [], first + 1, last - 1)
    assert inner == {labels: rows[1:-1] for labels, rows in expected.items()}, "the range of a selection bounds it"
    for matchers in (
        [name_is("a")],
        [name_is("a"), equal("host", "2")],
        [Matcher(MatchType.NOT_EQUAL, "host", "1")],
        [equal("only", "")],
        [Matcher(MatchType.REGEX, "host", "1|2"), Matcher(MatchType.NOT_REGEX, "__name__", "b.*")],
        [name_is("none")],
    ):
        wanted = {labels: rows for labels, rows in expected.items() if _fulfils(labels, matchers)}
        assert _read(querier, matchers, first, last) == wanted, f"matchers {', '.join(map(str, matchers))}"
    selection = querier.select([], first, last)
    assert list(selection.labels) == sorted(SERIES), "series are sorted by their labels, each once"
    blocks = [selection.read(i, i + 2) for i in (0, 2)]
    assert [len(b) for b in blocks] == [2, 2], "a block has the series that were asked for"
    assert all(b.offsets[0] == 0 and b.offsets[-1] == b.samples for b in blocks), "offsets go from 0 to the end"
    assert selection.read(1, 1).samples == 0, "an empty block is empty"
    querier.close()
    querier.close()


def _check_views(storage: Storage, now_ms: int, expected: Samples) -> None:
    """A view stays as it was; a new one has what was stored since; staleness markers are samples."""
    before = storage.querier(0, now_ms + STEP_MS)
    refs = storage.registry.intern_many(SERIES[:1])
    storage.append([Batch(refs, np.array([now_ms + STEP_MS]), np.array([STALE_NAN]), "check")])
    assert _read(before, [], 0, now_ms + STEP_MS) == expected, "a view does not change"
    before.close()
    with storage.querier(0, now_ms + STEP_MS) as after:
        columns = after.select([name_is("b")], now_ms + STEP_MS, now_ms + STEP_MS).read(0, 1)
        assert is_stale(columns.values).tolist() == [True], "a staleness marker keeps its bits"


def _check_labels(storage: Storage, now_ms: int) -> None:
    with storage.querier(0, now_ms) as querier:
        assert querier.label_names() == ["__name__", "host", "only"], "label names are sorted"
        assert querier.label_names([name_is("b")]) == ["__name__", "host"]
        assert querier.label_values("__name__") == ["a", "b", "c"], "label values are sorted"
        assert querier.label_values("host", [name_is("b")]) == ["1"]
        assert querier.label_values("nothing") == []
        assert list(querier.series([name_is("a")])) == sorted(s for s in SERIES if s[0][1] == "a")


def _check_rest(storage: Storage, now_ms: int, expected: Samples) -> None:
    slices = 0
    while storage.maintain(now_ms):
        slices += 1
        assert slices < 10_000, "background work comes to an end"
    with storage.querier(0, now_ms) as querier:
        assert _read(querier, [], 0, now_ms) == expected, "background work changes no answer"
    for _, statistics in storage.take_sealed():
        assert statistics is not None
    assert attrs.has(type(storage.statistics())), "statistics are an attrs object"
    storage.close()
    storage.close()


def _read(querier: Querier, matchers: Sequence[Matcher], mint_ms: int, maxt_ms: int) -> Samples:
    """Return what a querier finds; series without a sample are left out."""
    selection = querier.select(matchers, mint_ms, maxt_ms, lambda: None)
    columns = selection.read(0, len(selection.labels))
    found: Samples = {}
    for i in range(len(columns)):
        labels, times, values = columns.one(i)
        assert (np.diff(times) > 0).all(), "times ascend without repetition"
        if len(times):
            found[labels] = list(zip(times.tolist(), values.tolist(), strict=True))
    return found


def _fulfils(labels: Labels, matchers: Sequence[Matcher]) -> bool:
    values = dict(labels)
    return all(m.matches(values.get(m.name, "")) for m in matchers)
