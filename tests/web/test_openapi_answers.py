"""Schemathesis asks a running agent what its description allows, and what it does not: every answer must be as described."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from peers import daemon

from tinyobs.exposition.remote_write_encoder import encode
from tinyobs.model.histograms import Histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.web.api_v1.openapi.document import document
from tinyobs.web.api_v1.openapi.endpoints import ENDPOINTS

schemathesis: Any = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EXAMPLES = 12
"""Requests of each kind for each operation."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of the API of an agent with some series, of which one is a native histogram."""
    folder = tmp_path_factory.mktemp("openapi")
    flags = (
        "--web.enable-remote-write-receiver",
        "--web.enable-admin-api",
        "--query.timeout=5s",
        "--enable-feature=search-api",
    )
    with daemon(folder, *flags) as (base, _):
        now_ms = time.time_ns() // 1_000_000
        native = Histogram(0, 0.0, 0, 3, 1.5, ((0, 2),), (1, 2), is_integer=True)
        series: list[tuple[dict[str, str], list[Any]]] = [
            *(({"__name__": "up", "job": "node", "instance": str(i)}, [float(i)]) for i in range(3)),
            ({"__name__": "latency"}, [native]),
        ]
        samples = [(from_mapping(labels), [now_ms], values) for labels, values in series]
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        body = encode(samples, {"up": MetricMetadata(MetricType.GAUGE, "is it up")})
        urllib.request.urlopen(urllib.request.Request(f"{base}/api/v1/write", body, headers), timeout=60).close()
        yield f"{base}/api/v1"


@schemathesis.serializer("application/x-protobuf")
def protobuf(context: Any, value: Any) -> bytes:
    """Send any bytes: what is no message must be refused in order."""
    return value if isinstance(value, bytes) else str(value).encode()


api = schemathesis.openapi.from_dict(document("3.1", ENDPOINTS.values(), "/api/v1"))


@api.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
def test_answers_are_as_described(case: Any, served: str) -> None:
    """Statuses, content types and bodies; no request ends in an error of the server."""
    checks = schemathesis.checks
    # Not every text is PromQL, which a schema cannot say; an empty value is no value, and one value is a list of one.
    excluded = [checks.positive_data_acceptance, checks.negative_data_rejection]
    case.call_and_validate(base_url=served, excluded_checks=excluded)
