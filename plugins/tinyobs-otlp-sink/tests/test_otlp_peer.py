"""The OTLP sink and a receiver of others: VictoriaMetrics gives back what it was sent."""

from __future__ import annotations

import json
import time
import urllib.parse

import numpy as np
import peers
import pytest
import trio
from tinyobs.abc import Logged, LogPosition
from tinyobs.config.decoder import decode_text
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.sinks.group import Counts
from tinyobs.testing.services import FakeServices

from tinyobs_otlp_sink import OtlpOutlet
from tinyobs_otlp_sink.settings import OtlpSinkSettings

pytestmark = pytest.mark.peer

NATIVE = Histogram(3, 0.001, 2, 9, 12.5, ((-2, 2), (3, 1)), (1, 2, 3), ((4, 1),), (1,), is_integer=True)
FLOATS = {
    "gauge": 1.5,
    "requests_total": 7.0,
    "size_bytes_bucket/1.0": 1.0,
    "size_bytes_bucket/+Inf": 4.0,
    "size_bytes_count": 4.0,
    "size_bytes_sum": 9.5,
    "rpc_seconds/0.5": 3.0,
    "rpc_seconds_count": 10.0,
    "rpc_seconds_sum": 40.0,
}
TYPES = {
    "requests": MetricType.COUNTER,
    "size_bytes": MetricType.HISTOGRAM,
    "rpc_seconds": MetricType.SUMMARY,
    "native": MetricType.HISTOGRAM,
}


async def test_victoriametrics_gives_back_what_it_was_sent(tmp_path):
    """Every kind of metric, under its name and labels; what describes the target stands at its series."""
    port = peers.free_port()
    base = f"http://127.0.0.1:{port}"
    command = [
        peers.victoria_metrics("/opentelemetry/v1/metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={tmp_path}/vm",
    ]
    services, counts = FakeServices(), Counts()
    text = f"{{name: a, url: '{base}/opentelemetry/v1/metrics'}}"
    outlet = OtlpOutlet(services, decode_text(OtlpSinkSettings, text, "f.yml"), counts)
    with peers.running(command, f"{base}/health", tmp_path):
        await outlet.take([Logged(batch(services), LogPosition(1, 1))])
        await outlet.flush()
        await outlet.aclose()
        assert (counts.refused, counts.samples) == (0, 5)
        with trio.fail_after(90):
            while not exported(base, "native_bucket"):
                peers.get(f"{base}/internal/force_flush")
                await trio.sleep(0.1)
        for name, value in FLOATS.items():
            metric, _, limit = name.partition("/")
            (found,) = [
                s
                for s in exported(base, metric)
                if not limit or float(limit) == float(s["metric"].get("le", s["metric"].get("quantile")))
            ]
            assert found["values"] == [value], name
            assert (found["metric"]["a"], found["metric"]["region"]) == ("ü", "eu")
        (count,) = exported(base, "native_count")
        (total,) = exported(base, "native_sum")
        assert (count["values"], total["values"]) == ([9], [12.5])
        buckets = {s["metric"]["vmrange"]: s["values"][0] for s in exported(base, "native_bucket")}
        assert sorted(buckets.values()) == [1, 1, 2, 2, 3]


def exported(base, metric):
    """Return the series of a metric."""
    match = urllib.parse.quote(f'{{__name__="{metric}"}}')
    return [json.loads(line) for line in peers.get(f"{base}/api/v1/export?match[]={match}").splitlines()]


def batch(services):
    """Return one sample of each series, of now."""
    labels = []
    for name in FLOATS:
        metric, _, limit = name.partition("/")
        label = "le" if metric.endswith("_bucket") else "quantile"
        labels.append({"__name__": metric} | ({label: limit} if limit else {}))
    labels += [{"__name__": "native"}, {"__name__": "target_info", "region": "eu"}]
    own = {"job": "j", "instance": "i", "a": "ü"}
    refs = services.registry.intern_many([from_mapping(own | one) for one in labels])
    values = np.concatenate([[*FLOATS.values()], handles(0, 1), [1.0]])
    values.view(np.uint64)[-2] = handles(0, 1).view(np.uint64)[0]
    times = np.full(len(refs), time.time_ns() // 1_000_000, np.int64)
    metadata = {name: MetricMetadata(kind) for name, kind in TYPES.items()}
    return Batch(refs, times, values, metadata=metadata, histograms=histograms_of([NATIVE]))
