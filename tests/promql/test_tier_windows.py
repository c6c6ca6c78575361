"""How the evaluator takes samples of a downsampling tier: hints given, weights, rounding, notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from attrs import define, field

from tinyobs.abc import Selection
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.matchers import Matcher
from tinyobs.model.rollup import Rounding
from tinyobs.model.select_hints import SelectHints
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions, QueryLimitExceeded
from tinyobs.promql.result import Result

from .memory import MemoryQuerier, MemoryStore

M = 60_000
X = from_mapping({"__name__": "x_total"})


class TierSelection(Selection):
    """Samples that each stand for three."""

    def __init__(self, inner: Selection, rounding: Rounding | None) -> None:
        self.labels: Sequence[Labels] = inner.labels
        self._inner, self.resolution_ms, self.rounding = inner, 5 * M, rounding

    def read(self, first: int, last: int) -> SeriesColumns:
        columns = self._inner.read(first, last)
        return attrs.evolve(columns, weights=np.full(columns.samples, 3.0))


@define
class TierQuerier(MemoryQuerier):
    """Answers from a tier, noting what it was told."""

    rounding: Rounding | None = None
    hints: list[SelectHints | None] = field(factory=list)

    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> Selection:
        self.hints.append(hints)
        return TierSelection(super().select(matchers, mint_ms, maxt_ms), self.rounding)


@define
class TierStore:
    """A store whose samples are 5 minutes apart, at the last second of each bucket."""

    rounding: Rounding | None = None
    queriers: list[TierQuerier] = field(factory=list)

    def querier(self, mint_ms: int, maxt_ms: int) -> TierQuerier:
        store = MemoryStore.of({X: [(i * 5 * M - 1000, float(i)) for i in range(1, 40)]})
        self.queriers.append(TierQuerier(store, mint_ms, maxt_ms, self.rounding))
        return self.queriers[-1]


def ask(store: TierStore, text: str, start: int = 60 * M, end: int = 90 * M, step: int = 5 * M, **more: Any) -> Result:
    return PromqlEngine().range(store, text, start, end, step, **more)


def hints_of(text: str, **more: Any) -> list[SelectHints | None]:
    store = TierStore()
    ask(store, text, **more)
    return store.queriers[0].hints


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x_total", SelectHints("", 60 * M, 5 * M, 5 * M)),
        ("x_total offset 10m", SelectHints("", 50 * M, 5 * M, 5 * M)),
        ("sum(rate(x_total[10m]))", SelectHints("rate", 60 * M, 5 * M, 10 * M)),
        ("x_total @ 3600", SelectHints("", 60 * M, 0, 5 * M)),
        ("quantile_over_time(0.5, x_total[10m])", SelectHints("quantile_over_time", 60 * M, 5 * M, 10 * M)),
        ("max_over_time(rate(x_total[10m])[30m:10m])", SelectHints("rate", 40 * M, 10 * M, 10 * M)),
        ("abs(x_total)", SelectHints("", 60 * M, 5 * M, 5 * M)),
    ],
)
def test_storage_is_told_what_samples_are_for(text: str, wanted: SelectHints) -> None:
    """Function, first moment, step and range of each selector; inside a subquery those of its own grid."""
    assert hints_of(text) == [wanted]
    assert hints_of(text, resolution_ms=0) == [attrs.evolve(wanted, resolution_ms=0)]


def test_a_range_as_such_is_told_apart() -> None:
    """A range selector as the whole query wants samples, not a function of them."""
    store = TierStore()
    result = PromqlEngine().instant(store, "x_total[10m]", 60 * M)
    assert store.queriers[0].hints == [SelectHints("[]", 60 * M, 0, 10 * M)]
    assert any("a range selector needs all samples" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("count_over_time(x_total[10m])", 6.0),
        ("avg_over_time(x_total[10m])", (11 + 12) / 6),
        ("sum_over_time(x_total[10m])", 23.0),
    ],
)
def test_samples_count_by_their_weight(text: str, wanted: float) -> None:
    """Counts add weights, means divide by them, sums do neither."""
    assert ask(TierStore(), text).columns.values[0] == pytest.approx(wanted)


def test_the_answer_names_the_tier() -> None:
    """One info at each place where a tier was used; a warning for functions that it is not for."""
    result = ask(TierStore(), "rate(x_total[10m]) + irate(x_total[10m])")
    tier = "samples from the 5m downsampling tier were used"
    assert [i for i in result.infos if tier in i] == [f"PromQL info: {tier} (1:28)", f"PromQL info: {tier} (1:6)"]
    assert result.warnings == (
        "PromQL warning: irate needs all samples, but some are left in the 5m downsampling tier only (1:28)",
    )


def test_windows_are_rounded_down() -> None:
    """Windows with other borders are those of the bucket borders before, scaled to the range asked for."""
    rounding = Rounding(np.empty(0, np.int64), np.array([5 * M]))
    for text in (
        "count_over_time(x_total[10m])",
        "rate(x_total[10m])",
        "increase(x_total[15m])",
        "last_over_time(x_total[7m])",
    ):
        moved = ask(TierStore(rounding), text, 60 * M + 77_000, 90 * M + 77_000).columns
        plain = ask(TierStore(), text, 60 * M, 90 * M).columns
        np.testing.assert_allclose(moved.values, plain.values)
        assert (moved.timestamps_ms - plain.timestamps_ms == 77_000).all()
    short = ask(TierStore(rounding), "count_over_time(x_total[1m])", 62 * M, 92 * M).columns
    assert short.values.tolist() == [3.0] * 6  # the store begins where the first window did


def test_instants_hold_over_a_bucket() -> None:
    """Where only coarse samples are left, a selector finds the last one although the lookback is shorter."""
    rounding = Rounding(np.empty(0, np.int64), np.array([5 * M]))
    found = ask(TierStore(rounding), "x_total", 60 * M, 90 * M, M, lookback_ms=M)
    assert len(found.columns.values) == 31
    assert len(ask(TierStore(), "x_total", 60 * M, 90 * M, M, lookback_ms=M).columns.values) < 31


def test_series_are_counted_once() -> None:
    """The same series wanted for two purposes do not count twice against the limit."""
    engine = PromqlEngine(EngineOptions(series_max=1))
    text = "sum_over_time(x_total[10m]) / count_over_time(x_total[10m])"
    assert engine.range(TierStore(), text, 60 * M, 90 * M, 5 * M).statistics.series == 1
    with pytest.raises(QueryLimitExceeded):
        engine.range(TierStore(), "x_total + x_total offset 1m", 60 * M, 90 * M, 5 * M)
