"""What the tests of the translation share: a scene to add samples to, and a native histogram."""

from __future__ import annotations

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata
from tinyobs.model.registry import SeriesRegistry

from tinyobs_otlp_sink.translation import Translation

NS = 1_000_000
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE

NATIVE = Histogram(
    schema=3,
    zero_threshold=0.001,
    zero_count=2,
    count=9,
    sum=12.5,
    positive_spans=((-2, 2), (3, 1)),
    positive_buckets=(1, 2, 3),
    negative_spans=((4, 1),),
    negative_buckets=(1,),
    is_integer=True,
)


class Scene:
    """A translation and the registry behind it."""

    def __init__(self, **resource_attributes):
        self.registry = SeriesRegistry()
        self.translation = Translation(self.registry, resource_attributes)

    def add(self, samples, at_ms=1000, metadata=None, starts_ms=None):
        """Add samples: [(labels, value), ...], a value may be a native histogram."""
        refs = self.registry.intern_many(
            [from_mapping({"job": "j", "instance": "i", **labels}) for labels, _ in samples]
        )
        natives = [v for _, v in samples if isinstance(v, Histogram)]
        table = histograms_of(natives) if natives else None
        places = iter(handles(0, len(natives)).tolist())
        values = np.array([next(places) if isinstance(v, Histogram) else v for _, v in samples], np.float64)
        if natives:
            bits = handles(0, len(natives)).view(np.uint64)
            at = [k for k, (_, v) in enumerate(samples) if isinstance(v, Histogram)]
            values.view(np.uint64)[at] = bits
        times = np.full(len(samples), at_ms, np.int64)
        said = {k: MetricMetadata(v, f"Help of {k}.", "s") for k, v in (metadata or {}).items()}
        starts = None if starts_ms is None else np.full(len(samples), starts_ms, np.int64)
        self.translation.add(Batch(refs, times, values, metadata=said, histograms=table, starts_ms=starts))

    def metrics(self):
        """Return the metrics that were added since the last time, by name."""
        return {
            m.name: m
            for r in self.requests()
            for rm in r.resource_metrics
            for sm in rm.scope_metrics
            for m in sm.metrics
        }

    def requests(self, points_max=10_000):
        found = []
        for body, points in self.translation.requests(points_max):
            request = ExportMetricsServiceRequest.FromString(body)
            assert count(request) == points
            found.append(request)
        return found


def count(request):
    """Return the number of points."""
    return sum(
        len(getattr(m, m.WhichOneof("data")).data_points)
        for rm in request.resource_metrics
        for sm in rm.scope_metrics
        for m in sm.metrics
    )


def texts(attributes):
    """Return attributes as a mapping."""
    return {a.key: a.value.string_value for a in attributes}
