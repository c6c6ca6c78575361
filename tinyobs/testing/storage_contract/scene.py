"""A storage under test beside a plain model of what it must hold: what every check works with."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import attrs
import numpy as np
from attrs import define, field

from ...abc import Querier, Storage
from ...model.batch import AppendResult, Batch, Refused
from ...model.columns import SeriesColumns
from ...model.histograms import Histogram, handles, histograms_of, is_handle, numbers_of, pack
from ...model.labels import Labels, from_mapping
from ...model.matchers import Matcher
from ...model.select_hints import SelectHints

Value: TypeAlias = float | Histogram
Row: TypeAlias = tuple[Labels, int, Value]
"""A sample: series, time in ms, value."""
Held: TypeAlias = dict[Labels, dict[int, bytes]]
"""Series -> time -> bytes that are equal where samples are."""

STEP_MS: Final = 15_000
EVER: Final = (-(1 << 62), 1 << 62)
"""A range of times that holds all that a storage may hold."""


def labels(name: str, **more: str) -> Labels:
    """Return the labels of a series."""
    return from_mapping({"__name__": name, **more})


def identity(value: Value) -> bytes:
    """Return bytes that are equal where samples are: those of the float, or the words of the histogram."""
    return pack(value) if isinstance(value, Histogram) else struct.pack("<d", value)


def make_batch(storage: Storage, rows: Sequence[Row], **more: Any) -> Batch:
    """Return samples as a batch whose arrays cannot be written to."""
    refs = storage.registry.intern_many(r[0] for r in rows)
    times = np.array([r[1] for r in rows], np.int64)
    table = [r[2] for r in rows if isinstance(r[2], Histogram)]
    values = np.array([0.0 if isinstance(r[2], Histogram) else r[2] for r in rows], np.float64)
    values[[isinstance(r[2], Histogram) for r in rows]] = handles(0, len(table))
    for array in (refs, times, values):
        array.flags.writeable = False
    more.setdefault("origin", "check")
    return Batch(refs, times, values, histograms=histograms_of(table) if table else None, **more)


@define
class Scene:
    """A new storage, the time that it takes for now, and what was stored in it."""

    storage: Storage
    now_ms: int
    expected: Held = field(factory=dict)

    def store(self, rows: Sequence[Row], **more: Any) -> AppendResult:
        """Store samples that no storage may refuse."""
        result = self.offer(rows, **more)
        assert result.stored == len(rows), f"good samples are stored: {result.stored} of {len(rows)}"
        assert not result.refused_total, f"good samples are not refused: {dict(result.refused)}"
        self.note(rows)
        return result

    def offer(self, rows: Sequence[Row], **more: Any) -> AppendResult:
        """Give samples to the storage; the caller notes those that it took."""
        results = self.storage.append([make_batch(self.storage, rows, **more)])
        assert len(results) == 1, "there is a result for each batch"
        result = results[0]
        assert result.stored + result.refused_total == len(rows), "each sample is stored or refused, never both"
        assert set(result.example) == set(result.refused), "there is an example for each reason of refusal"
        assert all(0 <= at < len(rows) for at in result.example.values()), "an example is a position in the batch"
        assert all(isinstance(reason, Refused) for reason in result.refused), "reasons are those of `Refused`"
        return result

    def note(self, rows: Sequence[Row]) -> None:
        """Expect samples to be stored from now on."""
        for series, at, value in rows:
            self.expected.setdefault(series, {})[at] = identity(value)

    def check(self, why: str, querier: Querier | None = None) -> None:
        """Compare all that is stored with what is expected."""
        found = self.read(querier=querier)
        assert found == self.expected, f"{why}: {difference(found, self.expected)}"

    def read(
        self,
        matchers: Sequence[Matcher] = (),
        mint_ms: int = EVER[0],
        maxt_ms: int = EVER[1],
        *,
        querier: Querier | None = None,
        hints: SelectHints | None = None,
    ) -> Held:
        """Return what is found; series without a sample are left out."""
        if querier is not None:
            return held(querier, matchers, mint_ms, maxt_ms, hints)
        with self.storage.querier(mint_ms, maxt_ms) as own:
            return held(own, matchers, mint_ms, maxt_ms, hints)

    def chosen(self, decide: Callable[[Labels], bool], mint_ms: int = EVER[0], maxt_ms: int = EVER[1]) -> Held:
        """Return what is expected of some series in a range."""
        inside = {
            series: {at: v for at, v in samples.items() if mint_ms <= at <= maxt_ms}
            for series, samples in self.expected.items()
            if decide(series)
        }
        return {series: samples for series, samples in inside.items() if samples}

    def settle(self) -> None:
        """Let the storage do all of its background work."""
        slices = 0
        while self.storage.maintain(self.now_ms):
            slices += 1
            assert slices < 10_000, "background work comes to an end"


def held(
    querier: Querier,
    matchers: Sequence[Matcher],
    mint_ms: int = EVER[0],
    maxt_ms: int = EVER[1],
    hints: SelectHints | None = None,
) -> Held:
    """Return what a querier finds; checks the form of the answer."""
    selection = querier.select(matchers, mint_ms, maxt_ms, lambda: None, hints)
    names = list(selection.labels)
    assert all(a < b for a, b in pairwise(names)), "series are sorted by their labels, each once"
    columns = selection.read(0, len(names))
    assert list(columns.labels) == names, "columns have the series that were asked for"
    check_columns(columns)
    return contents(columns)


def contents(columns: SeriesColumns) -> Held:
    """Return columns as plain values; series without a sample are left out."""
    numbers = numbers_of(columns.values)
    found: Held = {}
    for i in range(len(columns)):
        series, times, values = columns.one(i)
        first = int(columns.offsets[i])
        for j, at in enumerate(times.tolist()):
            number = int(numbers[first + j])
            if number < 0:
                sample = values[j : j + 1].tobytes()
            else:
                assert columns.histograms is not None, "what handles stand for is there"
                sample = pack(columns.histograms.one(number))
            found.setdefault(series, {})[at] = sample
    return found


def check_columns(columns: SeriesColumns) -> None:
    """Check types and lengths."""
    offsets, times = columns.offsets, columns.timestamps_ms
    assert [c.dtype.str for c in (offsets, times, columns.values)] == ["<i8", "<i8", "<f8"], "columns have types"
    assert len(offsets) == len(columns.labels) + 1, "there is an offset for each series and the end"
    assert offsets[0] == 0, "offsets go from 0"
    assert offsets[-1] == len(times) == len(columns.values), "offsets go to the end"
    assert (np.diff(offsets) >= 0).all(), "offsets ascend"
    for i in range(len(columns)):
        assert (np.diff(columns.one(i)[1]) > 0).all(), "times ascend without repetition"
    table = 0 if columns.histograms is None else len(columns.histograms)
    at = is_handle(columns.values)
    assert (numbers_of(columns.values[at]) < table).all(), "what handles stand for is there"
    for extra in (columns.starts_ms, columns.weights):
        assert extra is None or len(extra) == len(times), "columns have one length"


def difference(found: Held, expected: Held) -> str:
    """Say what is wrong with what was found: the first series that differs."""
    for series in sorted(set(found) | set(expected)):
        a, b = found.get(series, {}), expected.get(series, {})
        if a != b:
            missing, extra = sorted(set(b) - set(a)), sorted(set(a) - set(b))
            other = sorted(at for at in set(a) & set(b) if a[at] != b[at])
            return f"{series}: missing at {missing[:3]}, too many at {extra[:3]}, other values at {other[:3]}"
    return "nothing"


def is_frozen_attrs(value: object) -> bool:
    """Tell whether a value is an attrs object."""
    return attrs.has(type(value))
