"""Bodies in the protobuf format that no client library of Python writes."""

from __future__ import annotations

from tinyobs.exposition.client_schema import HISTOGRAM, Family
from tinyobs.model.registry import varint


def native_histogram(name, count):
    """A family with one native histogram that has no classic buckets, delimited."""
    family = Family(name=name, help="", type=HISTOGRAM)
    h = family.metric.add().histogram
    h.sample_count, h.sample_sum, h.schema, h.zero_threshold = count, 2.5, 0, 1e-9
    span = h.positive_span.add()
    span.offset, span.length = 0, 1
    h.positive_delta.append(count)
    data = family.SerializeToString()
    return varint(len(data)) + data
