"""The newest samples of series -> a body of `/federate`, in the text format, OpenMetrics or protobuf.

Series of one name stand together as a family of unknown type, since what federates has no metadata of each series.
Native histograms go out in protobuf only, which alone can carry them; floats, histograms and gauge histograms of one
name are families of their own there.  Those with custom bounds are left out: no format can carry the bounds.
Source of the rules: prometheus web/federate.go.  Not here: which samples (`tinyobs.web.federate`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from attrs import frozen

from ..model.families import MetricFamily, Point
from ..model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint
from ..model.labels import NAME, Labels, get
from ..model.metadata import MetricType
from ..model.registry import varint
from .client_schema import GAUGE_HISTOGRAM, HISTOGRAM, UNTYPED, Family
from .formats import Format
from .names import Escaping, label_name, metric_name
from .negotiate import Answer
from .writer import write

PIECE_SERIES: Final = 2000
"""A piece of a body ends with the family that fills up this number of series."""
_END: Final = b"# EOF\n"


@frozen
class FederatedSample:
    """The newest sample of a series."""

    labels: Labels
    timestamp_ms: int
    value: float | Histogram


def federation_pieces(samples: Sequence[FederatedSample], external: Labels, answer: Answer) -> Iterator[bytes]:
    """Yield the body in pieces.  Samples must be sorted by name; those without a name are left out.

    external: labels in order that are added to every series that does not have them; "" as value is written as well.
    """
    protobuf, openmetrics = answer.format is Format.PROTOBUF, answer.format.is_openmetrics
    waiting: list[tuple[str, list[FederatedSample]]] = []
    count = 0
    for name, group in groupby(samples, lambda s: get(s.labels, NAME)):
        chosen = [s for s in group if _is_carried(s.value, protobuf)]
        if not name or not chosen:
            continue
        waiting.append((name, chosen))
        count += len(chosen)
        if count >= PIECE_SERIES:
            yield _body(waiting, external, answer)
            waiting, count = [], 0
    if waiting:
        yield _body(waiting, external, answer)
    if openmetrics:
        yield _END


def _is_carried(value: float | Histogram, protobuf: bool) -> bool:
    return not isinstance(value, Histogram) or (protobuf and value.schema != CUSTOM_SCHEMA)


def _body(groups: Sequence[tuple[str, Sequence[FederatedSample]]], external: Labels, answer: Answer) -> bytes:
    if answer.format is Format.PROTOBUF:
        return b"".join(_messages(name, samples, external, answer.escaping) for name, samples in groups)
    families = [MetricFamily(name, MetricType.UNKNOWN, "", _points(samples, external)) for name, samples in groups]
    return write(families, answer).removesuffix(_END)


def _points(samples: Sequence[FederatedSample], external: Labels) -> list[Point]:
    return [
        Point(s.value, _with_external(s.labels, external), "", s.timestamp_ms)
        for s in samples
        if not isinstance(s.value, Histogram)
    ]


def _with_external(labels: Labels, external: Labels) -> Labels:
    """Return the labels without the name, then the external ones that are not among them."""
    own = tuple([pair for pair in labels if pair[0] != NAME and pair[1]])
    names = {name for name, _ in own}
    return own + tuple([pair for pair in external if pair[0] not in names])


def _kind(value: float | Histogram) -> int:
    """Return the type of the family that a sample belongs to."""
    if not isinstance(value, Histogram):
        return UNTYPED
    return GAUGE_HISTOGRAM if value.reset_hint is ResetHint.GAUGE else HISTOGRAM


def _messages(name: str, samples: Sequence[FederatedSample], external: Labels, escaping: Escaping) -> bytes:
    """Return a family each for runs of samples of one kind, after its length."""
    out = bytearray()
    for kind, run in groupby(samples, lambda s: _kind(s.value)):
        family = Family(name=metric_name(name, escaping), type=kind)
        for sample in run:
            metric = family.metric.add(timestamp_ms=sample.timestamp_ms)
            for label, value in _with_external(sample.labels, external):
                metric.label.add(name=label_name(label, escaping), value=value)
            if isinstance(sample.value, Histogram):
                _fill(metric.histogram, sample.value)
            else:
                metric.untyped.value = sample.value
        data = family.SerializeToString()
        out += varint(len(data)) + data
    return bytes(out)


def _fill(message: Any, h: Histogram) -> None:
    """Write a native histogram with counts as floats, whatever they were."""
    message.sample_count_float, message.sample_sum = float(h.count), h.sum
    message.schema, message.zero_threshold, message.zero_count_float = h.schema, h.zero_threshold, float(h.zero_count)
    for spans, into in ((h.negative_spans, message.negative_span), (h.positive_spans, message.positive_span)):
        for offset, length in spans:
            into.add(offset=offset, length=length)
    message.negative_count.extend(map(float, h.negative_buckets))
    message.positive_count.extend(map(float, h.positive_buckets))
