"""Native histograms in `.test` scripts: `{{schema:0 count:3 sum:5 buckets:[1 2]}}`, and sequences of them.

Arithmetic here is that of plain dictionaries, one bucket at a time, so that it can be a reference for what is tested.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint

from .numbers import almost_equal, parse_number

ITEM = re.compile(r"\{\{(.*?)\}\}(?:([+-])\{\{(.*?)\}\})?(?:x(\d+))?$")
FIELD = re.compile(r"(\w+):(\[[^\]]*\]|\S+)")
HINTS = {"unknown": 0, "reset": 1, "not_reset": 2, "gauge": 3}
Buckets = dict[int, float]


def parse_histogram(text: str) -> Histogram:
    """Return the histogram of what stands between the braces."""
    fields = dict(FIELD.findall(text))
    assert not FIELD.sub("", text).strip(), text
    take: Callable[[str, str], str] = lambda name, default: fields.pop(name, default)  # noqa: E731
    listed: Callable[[str], list[float]] = lambda name: [parse_number(x) for x in take(name, "[]").strip("[]").split()]  # noqa: E731
    positive = dict(enumerate(listed("buckets"), int(take("offset", "0"))))
    negative = dict(enumerate(listed("n_buckets"), int(take("n_offset", "0"))))
    made = made_of(
        int(take("schema", "0")),
        parse_number(take("z_bucket_w", "0")),
        (parse_number(take("z_bucket", "0")), parse_number(take("count", "0")), parse_number(take("sum", "0"))),
        positive,
        negative,
        tuple(listed("custom_values")),
        ResetHint(HINTS[take("counter_reset_hint", "unknown")]),
    )
    assert not fields, fields
    return made


def made_of(
    schema: int,
    threshold: float,
    numbers: tuple[float, float, float],
    positive: Buckets,
    negative: Buckets,
    bounds: tuple[float, ...] = (),
    hint: ResetHint = ResetHint.UNKNOWN,
) -> Histogram:
    """Return a histogram of buckets by index; numbers: zero count, count, sum."""
    (at, buckets), (n_at, n_buckets) = _row(positive), _row(negative)
    spans, n_spans = ((at, len(buckets)),) if buckets else (), ((n_at, len(n_buckets)),) if n_buckets else ()
    return Histogram(schema, threshold, *numbers, spans, buckets, n_spans, n_buckets, bounds, hint)


def _row(buckets: Buckets) -> tuple[int, tuple[float, ...]]:
    if not buckets:
        return 0, ()
    low, high = min(buckets), max(buckets)
    return low, tuple(buckets.get(i, 0.0) for i in range(low, high + 1))


def buckets_of(spans: tuple[tuple[int, int], ...], counts: tuple[float, ...]) -> Buckets:
    """Return the buckets by index, without empty ones."""
    out, index, at = {}, 0, 0
    for offset, length in spans:
        index += offset
        for _ in range(length):
            out[index] = counts[at]
            index, at = index + 1, at + 1
    return {i: c for i, c in out.items() if c}


def positive_of(h: Histogram) -> Buckets:
    """Return the positive buckets."""
    return buckets_of(h.positive_spans, h.positive_buckets)


def negative_of(h: Histogram) -> Buckets:
    """Return the negative buckets."""
    return buckets_of(h.negative_spans, h.negative_buckets)


def plus(a: Histogram, b: Histogram, sign: float = 1.0) -> Histogram:
    """Return `a + sign * b`; both exponential with one zero bucket, or with the same custom bounds."""
    assert a.custom_values == b.custom_values
    schema = min(a.schema, b.schema)
    sides = []
    for side in (positive_of, negative_of):
        total: Buckets = {}
        for h, factor in ((a, 1.0), (b, sign)):
            for i, count in side(h).items():
                j = i if schema == CUSTOM_SCHEMA else ((i - 1) >> (h.schema - schema)) + 1
                total[j] = total.get(j, 0.0) + factor * count
        sides.append(total)
    numbers = (a.zero_count + sign * b.zero_count, a.count + sign * b.count, a.sum + sign * b.sum)
    threshold = max(a.zero_threshold, b.zero_threshold)
    return made_of(schema, threshold, numbers, sides[0], sides[1], a.custom_values, a.reset_hint)


def parse_sequence(item: str) -> list[Histogram]:
    """Return the histograms of `{{...}}`, `{{...}}x3` or `{{...}}+{{...}}x3`."""
    found = ITEM.match(item)
    assert found, item
    current = parse_histogram(found[1])
    step = None if found[2] is None else parse_histogram(found[3])
    out = [current]
    for _ in range(int(found[4] or 0)):
        if step is not None:
            current = plus(current, step, 1.0 if found[2] == "+" else -1.0)
        out.append(current)
    return out


def same(want: Histogram, have: Histogram) -> bool:
    """Tell whether two histograms are nearly equal, empty buckets aside; of hints, only gauges are told apart."""
    if (want.schema, want.custom_values) != (have.schema, have.custom_values):
        return False
    if (want.reset_hint is ResetHint.GAUGE) and have.reset_hint is not ResetHint.GAUGE:
        return False
    a = (want.count, want.sum, want.zero_count, want.zero_threshold)
    b = (have.count, have.sum, have.zero_count, have.zero_threshold)
    if not all(almost_equal(x, y) for x, y in zip(a, b, strict=True)):
        return False
    for side in (positive_of, negative_of):
        x, y = side(want), side(have)
        if x.keys() != y.keys() or not all(almost_equal(x[i], y[i]) for i in x):
            return False
    return True


def of_classic(buckets: dict[float, float], count: float | None, total: float) -> Histogram:
    """Return the histogram with custom buckets of a classic one: cumulative counts by upper bound."""
    bounds = sorted(buckets)
    observations = count if count is not None else buckets[bounds[-1]]
    if not bounds or bounds[-1] != float("inf"):
        bounds.append(float("inf"))
        buckets = {**buckets, float("inf"): observations}
    cumulative = [0.0, *(buckets[b] for b in bounds)]
    counts = {i: b - a for i, (a, b) in enumerate(pairwise(cumulative))}
    return made_of(CUSTOM_SCHEMA, 0.0, (0.0, observations, total), counts, {}, tuple(bounds[:-1]))
