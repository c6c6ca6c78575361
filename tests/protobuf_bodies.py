"""Protobuf bodies for tests: made of dicts, and read again in the plainest way."""

from __future__ import annotations

import math
from itertools import accumulate

from tinyobs.exposition.client_schema import COUNTER, GAUGE, GAUGE_HISTOGRAM, SUMMARY, UNTYPED, Family
from tinyobs.exposition.floats import format_openmetrics_float
from tinyobs.model.histograms import Histogram, ResetHint
from tinyobs.model.label_block import varint
from tinyobs.model.labels import from_mapping


def body_of(*families):
    """Return the delimited body of families: messages, or (name, type, [metric as keyword arguments])."""
    out = b""
    for family in families:
        message = family if isinstance(family, Family) else family_of(*family)
        data = message.SerializeToString()
        out += varint(len(data)) + data
    return out


def family_of(name, type_, metrics, **more):
    """Return a family; labels of a metric are a dict, its other fields those of the message."""
    family = Family(name=name, type=type_, **more)
    for metric in metrics:
        rest = {k: v for k, v in metric.items() if k != "labels"}
        pairs = [{"name": n, "value": v} for n, v in metric.get("labels", {}).items()]
        family.metric.add(label=pairs, **rest)
    return family


def samples_of(parsed, labels):
    """Return [(labels, value or histogram, time or None, start)] of a parsed body; `labels` gains what is new."""
    labels.update(parsed.new)
    n = len(parsed)
    times = [None] * n if parsed.timestamps_ms is None else parsed.timestamps_ms.tolist()
    starts = [0] * n if parsed.starts_ms is None else parsed.starts_ms.tolist()
    values = []
    for value in parsed.values:
        bits = int(value.view("uint64"))
        values.append(parsed.histograms.one(bits & (1 << 48) - 1) if bits >> 48 == 0xFFFD else float(value))
    known = [labels[number] for number in parsed.series.tolist()]
    return list(zip(known, values, [None if t == -(1 << 63) else t for t in times], starts, strict=True))


def expected(families, native=True, always_classic=False):
    """Return what `samples_of` should be, each metric read on its own."""
    out = []
    for family in families:
        for m in family.metric:
            pairs = {p.name: p.value for p in m.label}
            time = m.timestamp_ms or None

            def add(suffix, value, start, time=time, pairs=pairs, name=family.name, **more):
                out.append((from_mapping({"__name__": name + suffix, **pairs, **more}), value, time, start))

            if family.type == COUNTER:
                add("", m.counter.value, created(m.counter))
            elif family.type in (GAUGE, UNTYPED):
                add("", (m.gauge if family.type == GAUGE else m.untyped).value, 0)
            elif family.type == SUMMARY:
                start = created(m.summary)
                add("_count", float(m.summary.sample_count), start)
                add("_sum", m.summary.sample_sum, start)
                for q in m.summary.quantile:
                    add("", q.value, start, quantile=format_openmetrics_float(q.quantile))
            else:
                _expect_histogram(m.histogram, family.type == GAUGE_HISTOGRAM, add, native, always_classic)
    return out


def _expect_histogram(h, gauge, add, native, always_classic):
    start = created(h)
    is_native = native and (h.zero_threshold > 0 or h.zero_count > 0 or h.positive_span or h.negative_span)
    if is_native:
        add("", plain_histogram(h, gauge), start)
        if not (always_classic and h.bucket):
            return
    count = h.sample_count_float or float(h.sample_count)
    add("_count", count, start)
    add("_sum", h.sample_sum, start)
    for b in h.bucket:
        bound = format_openmetrics_float(b.upper_bound)
        add("_bucket", b.cumulative_count_float or float(b.cumulative_count), start, le=bound)
    if not any(b.upper_bound == math.inf for b in h.bucket):
        add("_bucket", count, start, le="+Inf")


def plain_histogram(h, gauge):
    """Return a native histogram as it is, but for empty buckets."""
    is_float = h.sample_count_float > 0 or h.zero_count_float > 0
    positive = _side(h.positive_span, h.positive_count if is_float else accumulate(h.positive_delta))
    negative = _side(h.negative_span, h.negative_count if is_float else accumulate(h.negative_delta))
    return Histogram(
        h.schema,
        h.zero_threshold,
        h.zero_count_float if is_float else h.zero_count,
        h.sample_count_float if is_float else h.sample_count,
        h.sample_sum,
        positive[0],
        positive[1],
        negative[0],
        negative[1],
        reset_hint=ResetHint.GAUGE if gauge else ResetHint.UNKNOWN,
        is_integer=not is_float,
    )


def _side(spans, counts):
    counts, found, index = iter(counts), [], 0
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            found.append((index, next(counts)))
            index += 1
    found = [(i, c) for i, c in found if c]
    out, end = [], 0
    for i, _ in found:
        if out and i == end:
            out[-1][1] += 1
        else:
            out.append([i - end, 1])
        end = i + 1
    return tuple(map(tuple, out)), tuple(c for _, c in found)


def created(message):
    """Return a created timestamp in ms, 0 without one."""
    t = message.created_timestamp
    return t.seconds * 1000 + t.nanos // 10**6 if message.HasField("created_timestamp") else 0
