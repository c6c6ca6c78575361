"""The functions and aggregators of PromQL: names, argument types, and which are experimental.

Declarations only; the implementations are in `functions/`.  Source: prometheus promql/parser/functions.go (3.14).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from .nodes import ValueType

_LETTERS: Final = {"V": ValueType.VECTOR, "M": ValueType.MATRIX, "S": ValueType.SCALAR, "T": ValueType.STRING}


@frozen
class Signature:
    """What a function takes and yields.

    variadic: 0, the arguments are exactly `arguments`; n > 0, the last one may be missing or repeated, up to n times;
    -1, any number of times, or missing.  optional: how many of the last arguments may be missing, where none is repeated.
    """

    name: str
    arguments: tuple[ValueType, ...]
    variadic: int = 0
    returns: ValueType = ValueType.VECTOR
    experimental: bool = False
    optional: int = 0

    @property
    def count_min(self) -> int:
        """The fewest arguments."""
        return len(self.arguments) - (self.optional or self.variadic != 0)

    @property
    def count_max(self) -> int | None:
        """The most arguments; None where there is no limit."""
        if self.variadic < 0:
            return None
        return len(self.arguments) if self.optional else self.count_min + self.variadic


def _declare(
    names: str,
    letters: str = "",
    *,
    variadic: int = 0,
    returns: ValueType = ValueType.VECTOR,
    experimental: bool = False,
) -> Iterator[tuple[str, Signature]]:
    """Yield the signatures of functions that differ in their names only; `letters` has one letter an argument."""
    arguments = tuple(_LETTERS[x] for x in letters)
    for name in names.split():
        yield name, Signature(name, arguments, variadic, returns, experimental)


def _declarations() -> Iterator[tuple[str, Signature]]:
    scalar = ValueType.SCALAR
    # one instant vector
    yield from _declare("abs absent ceil exp floor ln log10 log2 sgn sort sort_desc sqrt timestamp", "V")
    yield from _declare("acos acosh asin asinh atan atanh cos cosh deg rad sin sinh tan tanh", "V")
    yield from _declare("histogram_avg histogram_count histogram_stddev histogram_stdvar histogram_sum", "V")
    yield from _declare("start_timestamp", "V", experimental=True)
    # one range vector
    yield from _declare("changes delta deriv idelta increase irate rate resets", "M")
    yield from _declare("absent_over_time avg_over_time count_over_time first_over_time last_over_time", "M")
    yield from _declare("max_over_time min_over_time present_over_time stddev_over_time stdvar_over_time", "M")
    yield from _declare("sum_over_time", "M")
    yield from _declare("mad_over_time ts_of_first_over_time ts_of_last_over_time", "M", experimental=True)
    yield from _declare("ts_of_max_over_time ts_of_min_over_time", "M", experimental=True)
    # vectors and parameters
    yield from _declare("clamp", "VSS")
    yield from _declare("clamp_max clamp_min", "VS")
    yield from _declare("round", "VS", variadic=1)
    yield from _declare("predict_linear", "MS")
    yield from _declare("quantile_over_time", "SM")
    yield from _declare("double_exponential_smoothing", "MSS", experimental=True)
    yield from _declare("histogram_quantile", "SV")
    yield from _declare("histogram_fraction", "SSV")
    yield from _declare("histogram_quantiles", "VTSS", variadic=9, experimental=True)
    # labels
    yield from _declare("label_replace", "VTTTT")
    yield from _declare("label_join", "VTTT", variadic=-1)
    yield from _declare("sort_by_label sort_by_label_desc", "VT", variadic=-1, experimental=True)
    yield from _declare("info", "VV", variadic=1, experimental=True)
    # time of day, of the evaluation where there is no argument
    yield from _declare("day_of_month day_of_week day_of_year days_in_month hour minute month year", "V", variadic=1)
    # scalars
    yield from _declare("scalar", "V", returns=scalar)
    yield from _declare("vector", "S")
    yield from _declare("pi time", returns=scalar)
    yield from _declare("end range start step", returns=scalar, experimental=True)
    yield from _declare("max_of min_of", "SS", returns=scalar, experimental=True)


FUNCTIONS: Final[Mapping[str, Signature]] = MappingProxyType(dict(_declarations()))
"""Every function of the language by name."""

AGGREGATORS: Final = frozenset(
    [
        "avg",
        "bottomk",
        "count",
        "count_values",
        "group",
        "limit_ratio",
        "limitk",
        "max",
        "min",
        "quantile",
        "stddev",
        "stdvar",
        "sum",
        "topk",
    ]
)
"""Every aggregator."""

AGGREGATORS_WITH_PARAMETER: Final = frozenset(["bottomk", "count_values", "limit_ratio", "limitk", "quantile", "topk"])
"""Those that take a parameter in front of the vector: a string for `count_values`, a scalar for the others."""

EXPERIMENTAL_AGGREGATORS: Final = frozenset(("limitk", "limit_ratio"))
"""Those that need the feature `promql-experimental-functions`."""
