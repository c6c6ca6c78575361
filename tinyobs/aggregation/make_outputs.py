"""The outputs of a rule as objects; those that share their work are one object."""

from __future__ import annotations

from collections.abc import Callable

from .bucket_outputs import HistogramBuckets
from .counter_outputs import Rates, Total
from .output import Output
from .rule import AggregationRule, quantiles_of
from .sample_outputs import Quantiles, UniqueSamples
from .value_outputs import Average, Count, CountSeries, Extreme, Last, RunningSum, Spread, Sum


def make_outputs(rule: AggregationRule) -> list[Output]:
    """Return new outputs, in order of appearance; the names are known to be good."""
    found: list[Output] = []
    for shared, names in ((Spread, ("stddev", "stdvar")), (Rates, ("rate_sum", "rate_avg"))):
        wanted = tuple(name for name in rule.outputs if name in names)
        if wanted:
            found.append(shared(wanted))
    plain: dict[str, Callable[[], Output]] = {
        "avg": Average,
        "count_samples": Count,
        "count_series": CountSeries,
        "last": Last,
        "sum_samples": Sum,
        "sum_samples_total": RunningSum,
        "unique_samples": UniqueSamples,
    }
    for name in rule.outputs:
        phis = quantiles_of(name)
        if phis is not None:
            found.append(Quantiles(phis))
        elif name in plain:
            found.append(plain[name]())
        elif name in ("min", "max"):
            found.append(Extreme(name))
        elif name.startswith(("total", "increase")):
            found.append(Total(name))
        elif name == "histogram_bucket":
            found.append(HistogramBuckets(rule.histogram, rule.buckets))
    return found
