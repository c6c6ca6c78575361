"""Range functions sample by sample, the slow and obvious way: what the vectorised ones are compared with.

Each takes the samples in `(start, end]` as lists of (seconds, value) and returns a float, or None for no result.
Formulas: prometheus promql/functions.go (3.14).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import TypeAlias

Points: TypeAlias = Sequence[tuple[float, float]]


def values(points: Points) -> list[float]:
    """Return the values."""
    return [v for _, v in points]


def lost_in_resets(points: Points) -> float:
    """Return what a counter lost in resets."""
    vs = values(points)
    return sum(a for a, b in itertools.pairwise(vs) if b < a)


def extrapolated(points: Points, start: float, end: float, *, counter: bool, per_second: bool) -> float | None:
    """rate, increase and delta."""
    if len(points) < 2:
        return None
    (t1, v1), (t2, v2) = points[0], points[-1]
    risen = v2 - v1 + (lost_in_resets(points) if counter else 0.0)
    sampled = t2 - t1
    between = sampled / (len(points) - 1)
    to_start, to_end = t1 - start, end - t2
    if to_start >= between * 1.1:
        to_start = between / 2
    if counter and risen > 0 and v1 >= 0:
        to_start = min(to_start, sampled * (v1 / risen))
    if to_end >= between * 1.1:
        to_end = between / 2
    factor = (sampled + to_start + to_end) / sampled
    return risen * (factor / (end - start) if per_second else factor)


def instant_change(points: Points, *, rate: bool) -> float | None:
    """irate and idelta."""
    if len(points) < 2:
        return None
    (t1, v1), (t2, v2) = points[-2:]
    change = v2 if rate and v2 < v1 else v2 - v1
    return change / (t2 - t1) if rate else change


def quantile(q: float, vs: list[float]) -> float:
    """A quantile; NaN sorts first."""
    ordered = sorted(vs, key=lambda v: (v == v, v))
    rank = q * (len(vs) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(vs) - 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def slope(points: Points) -> float | None:
    """deriv."""
    if len(points) < 2:
        return None
    vs = values(points)
    if all(v == vs[0] for v in vs):
        return 0.0
    ts = [t for t, _ in points]
    mt, mv = statistics.fmean(ts), statistics.fmean(vs)
    return sum((t - mt) * (v - mv) for t, v in points) / sum((t - mt) ** 2 for t in ts)


def pick(vs: list[float], better: Callable[[float, float], bool]) -> float:
    """Minimum or maximum; NaN only among NaNs."""
    best = vs[0]
    for v in vs:
        if better(v, best) or best != best:
            best = v
    return best


def pairs(vs: list[float]) -> list[tuple[float, float]]:
    """Return neighbours."""
    return list(itertools.pairwise(vs))


Reference = Callable[[Points, float, float], float | None]

RANGE_FUNCTIONS: dict[str, Reference] = {
    "rate": lambda p, a, b: extrapolated(p, a, b, counter=True, per_second=True),
    "increase": lambda p, a, b: extrapolated(p, a, b, counter=True, per_second=False),
    "delta": lambda p, a, b: extrapolated(p, a, b, counter=False, per_second=False),
    "irate": lambda p, a, b: instant_change(p, rate=True),
    "idelta": lambda p, a, b: instant_change(p, rate=False),
    "resets": lambda p, a, b: float(sum(y < x for x, y in pairs(values(p)))) if p else None,
    "changes": lambda p, a, b: (
        float(sum(x != y and not (x != x and y != y) for x, y in pairs(values(p)))) if p else None
    ),
    "sum_over_time": lambda p, a, b: math.fsum(values(p)) if p else None,
    "avg_over_time": lambda p, a, b: math.fsum(values(p)) / len(p) if p else None,
    "count_over_time": lambda p, a, b: float(len(p)) if p else None,
    "min_over_time": lambda p, a, b: pick(values(p), lambda v, best: v < best) if p else None,
    "max_over_time": lambda p, a, b: pick(values(p), lambda v, best: v > best) if p else None,
    "first_over_time": lambda p, a, b: p[0][1] if p else None,
    "last_over_time": lambda p, a, b: p[-1][1] if p else None,
    "stdvar_over_time": lambda p, a, b: statistics.pvariance(values(p)) if p else None,
    "ts_of_first_over_time": lambda p, a, b: p[0][0] if p else None,
    "ts_of_last_over_time": lambda p, a, b: p[-1][0] if p else None,
    "ts_of_max_over_time": lambda p, a, b: max(p, key=lambda x: (x[1], x[0]))[0] if p else None,
    "ts_of_min_over_time": lambda p, a, b: min(p, key=lambda x: (x[1], -x[0]))[0] if p else None,
    "quantile_over_time": lambda p, a, b: quantile(0.3, values(p)) if p else None,
    "deriv": lambda p, a, b: slope(p),
}

NAN_SAFE = {"resets", "changes", "count_over_time", "min_over_time", "max_over_time", "first_over_time"} | {
    "last_over_time", "quantile_over_time", "ts_of_first_over_time", "ts_of_last_over_time", "idelta",
}  # fmt: skip
"""Functions whose reference is right for NaN as well."""
