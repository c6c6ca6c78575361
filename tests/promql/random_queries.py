"""Random queries over the metrics `a_total`, `b`, `h_bucket`: text that parses, most of it with a result."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyobs.model.labels import from_mapping
from tinyobs.model.staleness import STALE_NAN

from .memory import MemoryStore

SELECTORS = st.sampled_from(
    ["a_total", "b", 'a_total{x="1"}', 'b{y=~"p|q"}', '{__name__=~"a_total|b"}', "h_bucket", "none", 'b{x!="1"}']
)
SCALARS = st.sampled_from(["0", "1", "-2", "0.5", "3", "NaN", "Inf", "time()", "scalar(sum(b))", "scalar(b)"])
RANGES = st.sampled_from(["30s", "1m", "2m", "5m", "61s"])
MODIFIERS = st.sampled_from(["", "", "", " offset 1m", " offset -30s", " @ 300", " @ end()", " @ start() offset 15s"])
LABELS = st.sampled_from(["", "x", "y", "x, y", "z", "le"])
RANGE_FUNCTIONS = st.sampled_from(
    [
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "deriv",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "first_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "present_over_time",
        "absent_over_time",
        "mad_over_time",
        "ts_of_max_over_time",
    ]
)
FUNCTIONS = st.sampled_from(
    [
        "abs",
        "ceil",
        "floor",
        "exp",
        "ln",
        "sgn",
        "sqrt",
        "round",
        "absent",
        "timestamp",
        "hour",
        "day_of_year",
        "histogram_count",
        "cos",
        "deg",
    ]
)
FOLDS = st.sampled_from(["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"])
OPERATORS = st.sampled_from(["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<="])


def vectors(depth: int = 3) -> st.SearchStrategy[str]:
    """Return texts of expressions that yield instant vectors."""
    plain = st.builds("{}{}".format, SELECTORS, MODIFIERS)
    if depth == 0:
        return plain
    inner = vectors(depth - 1)
    windows = st.one_of(
        st.builds("{}[{}]{}".format, SELECTORS, RANGES, MODIFIERS),
        st.builds("({})[{}:{}]{}".format, inner, RANGES, st.sampled_from(["", "15s", "40s"]), MODIFIERS),
    )
    # Which of equal values topk picks depends on the order of series: that of selectors is fixed.
    grouping = st.one_of(st.just(""), st.builds(" {} ({}) ".format, st.sampled_from(["by", "without"]), LABELS))
    matching = st.builds("{} ({})".format, st.sampled_from(["on", "ignoring"]), LABELS)
    grouped = st.builds(
        "{} {} ({})".format, matching, st.sampled_from(["group_left", "group_right"]), st.sampled_from(["", "z"])
    )
    clauses = st.one_of(st.just(""), matching, grouped, st.builds("{} fill (0)".format, matching))
    return st.one_of(
        plain,
        st.builds("{}({})".format, RANGE_FUNCTIONS, windows),
        st.builds("quantile_over_time({}, {})".format, SCALARS, windows),
        st.builds("predict_linear({}, {})".format, windows, SCALARS),
        st.builds("{}({})".format, FUNCTIONS, inner),
        st.builds("clamp({}, {}, {})".format, inner, SCALARS, SCALARS),
        st.builds("{}{}({})".format, FOLDS, grouping, inner),
        st.builds("{}{}({}, {})".format, st.sampled_from(["topk", "bottomk", "limitk"]), grouping, SCALARS, plain),
        st.builds("quantile{}({}, {})".format, grouping, SCALARS, inner),
        st.builds('count_values{}("v", {})'.format, grouping, inner),
        st.builds("({}) {} {} ({})".format, inner, OPERATORS, clauses, inner),
        st.builds("({}) {} {}".format, inner, OPERATORS, SCALARS),
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or", "unless", "and on (x)"]), inner),
        st.builds("-({})".format, inner),
        st.builds("histogram_quantile({}, {})".format, SCALARS, inner),
        st.builds("histogram_fraction(0, 2, {})".format, inner),
        st.builds('label_replace({}, "x", "$1", "y", "(.*)")'.format, inner),
        st.builds('label_join({}, "z", "-", "x", "y")'.format, inner),
        st.builds("vector({})".format, SCALARS),
    )


def store(seed: int) -> MemoryStore:
    """Return series with resets, gaps, staleness markers and strange values."""
    rng = np.random.default_rng(seed)
    series = {}
    for x in "12":
        for y in "pqr":
            times = np.arange(60) * 15_000 + int(rng.integers(0, 15_000))
            kept = rng.random(60) > 0.15
            counter = rng.integers(0, 9, 60).cumsum().astype(np.float64)
            counter[int(rng.integers(1, 60)) :] -= counter[-1] / 2
            series[from_mapping({"__name__": "a_total", "x": x, "y": y})] = times[kept], np.abs(counter)[kept]
            gauge = rng.normal(0, 10, 60).round(2)
            gauge[rng.random(60) > 0.9] = rng.choice([np.nan, STALE_NAN, np.inf, 0.0])
            if y != "r":
                series[from_mapping({"__name__": "b", "x": x, "y": y})] = times[kept], gauge[kept]
            for bound in ("1", "2", "+Inf"):
                labels = from_mapping({"__name__": "h_bucket", "x": x, "y": y, "le": bound})
                series[labels] = times[kept], (counter * len(bound)).round()[kept]
    return MemoryStore(series)
