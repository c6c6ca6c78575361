"""One metric of a protobuf exposition -> the samples that it stands for.

Rules: prometheus model/textparse/protobufparse.go.  A summary and a classic histogram stand for several series, a native
histogram for one, or for those of its classic part as well.  Not here: bodies, the numbering of series, what is remembered
from body to body (`protobuf_parser.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from attrs import frozen
from google.protobuf.message import DecodeError

from ..errors import WireError
from ..model.histogram_checks import coarsened, fault_of
from ..model.histogram_resolution import compacted
from ..model.histograms import PARTS_MAX, Histogram, ResetHint, pack
from ..model.labels import NAME, Labels, from_mapping
from ..model.metadata import MetricType
from ..model.staleness import NORMAL_NAN
from .client_schema import COUNTER, GAUGE, GAUGE_HISTOGRAM, SUMMARY, UNTYPED, LabelRead, MetricRead
from .custom_buckets import custom_histogram
from .floats import format_openmetrics_float
from .histogram_rules import HistogramRules
from .lexing import LABELS_MAX, Malformed, to_labels
from .tails import NO_TIMESTAMP

_SECONDS_MAX: Final = 1 << 50

BOUNDS_MAX: Final = PARTS_MAX
"""Buckets that a classic histogram, and quantiles that a summary may have."""

ONE, QUANTILES, CLASSIC, NATIVE, BOTH = range(5)
"""What series a metric stands for: one, a summary's, a classic histogram's, a native one's, or a native one and its
classic part."""

Key = tuple[Any, ...]
"""(name of the family, one of the above, bounds, labels as encoded ...): two metrics of one key are the same series."""

BareExemplar = tuple[int, Labels, float, int | None]
"""(which of the metric's samples it belongs to, labels, value, time in ms or None)."""


@frozen
class FamilyHead:
    """What a family says of itself; `type` is a number of the format."""

    name: bytes
    type: int
    help: bytes
    unit: bytes


@frozen(eq=False)
class Decoded:
    """One metric.  time_ms is `NO_TIMESTAMP`, and start_ms 0, where it has none.

    values: of its series, in the order of `series_of`.  histogram: packed, what the first value stands for; b"" for none.
    """

    key: Key
    values: tuple[float, ...]
    time_ms: int
    start_ms: int
    histogram: bytes
    exemplars: tuple[BareExemplar, ...]


def decode_metric(raw: bytes, head: FamilyHead, rules: HistogramRules) -> Decoded | None:
    """Return a metric, None where it stands for nothing; raises `WireError`."""
    try:
        metric = MetricRead.FromString(raw)
    except DecodeError:
        raise WireError(f"malformed metric of {_shown(head.name)}") from None
    labels = tuple(metric.label)
    time = metric.timestamp_ms or NO_TIMESTAMP
    type_ = head.type
    if type_ == COUNTER:
        counter = metric.counter
        found = _exemplar(0, counter.exemplar) if counter.HasField("exemplar") else None
        exemplars = () if found is None else (found,)
        return Decoded((head.name, ONE, (), *labels), (counter.value,), time, _created(counter), b"", exemplars)
    if type_ in (GAUGE, UNTYPED):
        value = (metric.gauge if type_ == GAUGE else metric.untyped).value
        return Decoded((head.name, ONE, (), *labels), (value,), time, 0, b"", ())
    if type_ == SUMMARY:
        s = metric.summary
        _refuse_many(len(s.quantile), head)
        bounds = _bounds([q.quantile for q in s.quantile])
        values = float(s.sample_count), s.sample_sum, *[q.value for q in s.quantile]
        return Decoded((head.name, QUANTILES, bounds, *labels), values, time, _created(s), b"", ())
    return _histogram(metric.histogram, head, rules, labels, time)


def series_of(key: Key) -> Iterator[Labels]:
    """Yield the label sets of the series of a key; raises `WireError` where they cannot be."""
    raw_name, kind, bounds, *raw_labels = key
    name = raw_name.decode()
    if len(raw_labels) >= LABELS_MAX:
        raise WireError(f"more than {LABELS_MAX} labels of {_shown(raw_name)}")
    pairs = [_pair(raw, raw_name) for raw in raw_labels]
    if kind in (ONE, NATIVE, BOTH):
        yield _labels([(NAME, name), *pairs])
    if kind in (ONE, NATIVE):
        return
    yield _labels([(NAME, name + "_count"), *pairs])
    yield _labels([(NAME, name + "_sum"), *pairs])
    bound, full = ("quantile", name) if kind == QUANTILES else ("le", name + "_bucket")
    for value in bounds:
        yield _labels([(NAME, full), *pairs, (bound, format_openmetrics_float(value + 0.0))])


def _histogram(h: Any, head: FamilyHead, rules: HistogramRules, labels: Sequence[bytes], time: int) -> Decoded | None:
    hint = ResetHint.GAUGE if head.type == GAUGE_HISTOGRAM else ResetHint.UNKNOWN
    start = _created(h)
    _refuse_many(len(h.bucket), head)
    native = rules.native and _is_native(h)
    if not native and not rules.convert:
        bounds, values = _classic(h)
        exemplars = _bucket_exemplars(h, 2, len(bounds))
        return Decoded((head.name, CLASSIC, bounds, *labels), values, time, start, b"", exemplars)
    made = _native(h, head, hint) if native else _converted(h, hint)
    classic = rules.always_classic and len(h.bucket) > 0
    if made is None and not classic:
        return None
    packed = b"" if made is None else pack(made)
    own = () if made is None else _native_exemplars(h)
    if not classic:
        return Decoded((head.name, NATIVE, (), *labels), (0.0,), time, start, packed, own)
    bounds, values = _classic(h)
    if made is None:
        return Decoded(
            (head.name, CLASSIC, bounds, *labels), values, time, start, b"", _bucket_exemplars(h, 2, len(bounds))
        )
    exemplars = (*own, *_bucket_exemplars(h, 3, len(bounds)))
    return Decoded((head.name, BOTH, bounds, *labels), (0.0, *values), time, start, packed, exemplars)


def _refuse_many(count: int, head: FamilyHead) -> None:
    if count > BOUNDS_MAX:
        raise WireError(f"more than {BOUNDS_MAX} buckets or quantiles of {_shown(head.name)}")


def _is_native(h: Any) -> bool:
    """Tell whether a histogram has a native form.

    One without observations and with a zero bucket of no width has it where an empty span says so.
    """
    return bool(h.zero_threshold > 0 or h.zero_count > 0 or len(h.positive_span) or len(h.negative_span))


def _classic(h: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (bounds, count, sum and counts of the buckets); a bucket +Inf is added where it is missing."""
    count = h.sample_count_float or float(h.sample_count)
    buckets = h.bucket
    bounds = _bounds([b.upper_bound for b in buckets])
    counts = [b.cumulative_count_float or float(b.cumulative_count) for b in buckets]
    if not bounds or bounds[-1] != math.inf:
        if math.inf in bounds:  # what is behind it is no part of the histogram
            end = bounds.index(math.inf) + 1
            return bounds[:end], (count, h.sample_sum, *counts[:end])
        return (*bounds, math.inf), (count, h.sample_sum, *counts, count)
    return bounds, (count, h.sample_sum, *counts)


def _converted(h: Any, hint: ResetHint) -> Histogram | None:
    buckets = [(b.upper_bound, b.cumulative_count_float or float(b.cumulative_count)) for b in h.bucket]
    return custom_histogram(buckets, h.sample_count_float or float(h.sample_count), h.sample_sum, hint)


def _native(h: Any, head: FamilyHead, hint: ResetHint) -> Histogram:
    is_float = h.sample_count_float > 0 or h.zero_count_float > 0
    if is_float:
        positive, negative = tuple(h.positive_count), tuple(h.negative_count)
    else:
        positive, negative = tuple(accumulate(h.positive_delta)), tuple(accumulate(h.negative_delta))
    made = Histogram(
        h.schema,
        h.zero_threshold,
        h.zero_count_float if is_float else h.zero_count,
        h.sample_count_float if is_float else h.sample_count,
        h.sample_sum,
        tuple([(s.offset, s.length) for s in h.positive_span]),
        positive,
        tuple([(s.offset, s.length) for s in h.negative_span]),
        negative,
        reset_hint=hint,
        is_integer=not is_float,
    )
    made = coarsened(made)
    fault = fault_of(made)
    if fault:
        raise WireError(f"invalid native histogram {_shown(head.name)}: {fault}")
    return compacted(made)


def _native_exemplars(h: Any) -> tuple[BareExemplar, ...]:
    """Return the exemplars of a native histogram, oldest first; those without a time are left out."""
    bare = h.exemplars or [b.exemplar for b in h.bucket if b.HasField("exemplar")]
    found = [_exemplar(0, e) for e in bare if e.HasField("timestamp")]
    return tuple(sorted((e for e in found if e is not None), key=lambda e: e[3] or 0))


def _bucket_exemplars(h: Any, first: int, count: int) -> tuple[BareExemplar, ...]:
    """Return the exemplars of the first `count` buckets, whose samples begin with number `first`."""
    found = [_exemplar(first + i, b.exemplar) for i, b in enumerate(h.bucket[:count]) if b.HasField("exemplar")]
    return tuple(e for e in found if e is not None)


def _exemplar(index: int, e: Any) -> BareExemplar | None:
    try:
        labels = {p.name.decode(): p.value.decode() for p in e.label}
    except UnicodeDecodeError:
        return None
    return index, from_mapping(labels), e.value, _milliseconds(e.timestamp) if e.HasField("timestamp") else None


def _created(message: Any) -> int:
    return _milliseconds(message.created_timestamp) if message.HasField("created_timestamp") else 0


def _milliseconds(timestamp: Any) -> int:
    """Return a time in ms; one that nobody can mean is 0, which stands for none."""
    if abs(timestamp.seconds) > _SECONDS_MAX:
        return 0
    return int(timestamp.seconds * 1000 + timestamp.nanos // 1_000_000)


def _bounds(bounds: list[float]) -> tuple[float, ...]:
    """Return bounds as a part of a key: with the one NaN that equals itself there."""
    if any(b != b for b in bounds):
        return tuple([b if b == b else NORMAL_NAN for b in bounds])
    return tuple(bounds)


def _pair(raw: bytes, name: bytes) -> tuple[str, str]:
    try:
        label = LabelRead.FromString(raw)
        return label.name.decode(), label.value.decode()
    except DecodeError:
        raise WireError(f"malformed label of {_shown(name)}") from None
    except UnicodeDecodeError:
        raise WireError(f"a label of {_shown(name)} is not valid UTF-8") from None


def _labels(pairs: list[tuple[str, str]]) -> Labels:
    if not all(name for name, _ in pairs):
        raise WireError(f'a label of "{pairs[0][1]}" has no name')
    try:
        return to_labels(pairs, MetricType.UNKNOWN, 0)
    except Malformed as e:
        raise WireError(f'{e.reason}: "{pairs[0][1]}"') from None


def _shown(name: bytes) -> str:
    return '"' + name[:200].decode("utf-8", "backslashreplace") + '"'
