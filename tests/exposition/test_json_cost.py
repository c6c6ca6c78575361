"""How much memory a document of JSON takes is told before it is read."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from tinyobs.exposition.json_cost import json_bytes

POINT = b'{"attributes":[{"key":"b","value":{"stringValue":"%d"}}],"timeUnixNano":"1700000000000000000","asDouble":1}'


@pytest.mark.parametrize(
    "document",
    [
        b"[" + b",".join(POINT % i for i in range(3000)) + b"]",
        b"[" + b",".join(b'{"name":"a","value":1,"labels":{"b":"%d"}}' % i for i in range(5000)) + b"]",
        b'{"values":[' + b"1.5," * 20_000 + b"1]}",
        b"[" + b"[]," * 30_000 + b"[]]",
        b"[" + b"{}," * 30_000 + b"{}]",
        b"[" + b",".join(b'"%d"' % i for i in range(30_000)) + b"]",
        b'["' + b"x" * 100_000 + b'"]',
    ],
    ids=["otlp", "v1", "numbers", "lists", "objects", "texts", "text"],
)
def test_the_estimate_is_near_the_truth_and_not_below_it(document):
    """What senders send, and what is made to do harm."""
    size = measured(document)
    assert 0.9 * size <= json_bytes(document)
    assert json_bytes(document) <= 5 * size


def measured(document: bytes) -> int:
    """Return how many bytes the objects of a document take."""
    import json

    orjson.loads(document)  # it is one; the library's own objects are not traced
    tracemalloc.start()
    try:
        found = json.loads(document)
        return tracemalloc.get_traced_memory()[0] if found else 0
    finally:
        tracemalloc.stop()
