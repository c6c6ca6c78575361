"""Types and units of remote write 2.0 as labels (`type-and-unit-labels`)."""

from __future__ import annotations

import pytest
from remote_write_requests import Request

from tinyobs.exposition.remote_write_v2_decode import Decoder2
from tinyobs.exposition.remote_write_v2_general import GeneralWay2
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry

NOW = 1_790_000_000_000
A = from_mapping({"__name__": "a", "job": "x"})


def decoders():
    """Return (decoder, registry)."""
    registry = SeriesRegistry()
    return Decoder2(registry), registry


def typed(decoder, registry, *series, **more):
    """Send series of (labels, type, unit); return the label sets that they become."""
    request = Request()
    for i, (labels, kind, unit) in enumerate(series):
        made = request.series(labels, (NOW + i, 1.0))
        made.metadata.type, made.metadata.unit_ref = kind, request.number(unit)
        for name in more.get("exemplars", ()):
            made.exemplars.add(timestamp=NOW, value=1.0, labels_refs=[request.number(name), request.number("x")])
    decoded = decoder.decode_message(request.bytes(), typed=more.get("typed", True))
    assert len(decoded.batch) == len(series)
    return [dict(registry.labels(ref)) for ref in decoded.batch.refs.tolist()]


@pytest.mark.parametrize("exemplars", [(), ("trace",)])
def test_types_and_units_become_labels(monkeypatch, exemplars):
    """Of each series as it says; its own labels of these names go where it says anything, and stay where it does not."""
    decoder, registry = decoders()
    own = from_mapping(dict(A) | {"__type__": "mine", "__unit__": "mine"})
    given = [(A, 1, "seconds"), (A, 2, ""), (A, 0, "bytes"), (A, 0, ""), (A, 99, ""), (own, 4, ""), (own, 0, "")]
    want = [
        {**dict(A), "__type__": "counter", "__unit__": "seconds"},
        {**dict(A), "__type__": "gauge"},
        {**dict(A), "__unit__": "bytes"},
        dict(A),
        dict(A),
        {**dict(A), "__type__": "gaugehistogram"},
        dict(own),
    ]
    for _ in range(2):
        assert typed(decoder, registry, *given, exemplars=exemplars) == want
        if not exemplars:
            monkeypatch.setattr(GeneralWay2, "take", lambda *a: pytest.fail("the series are known"))
    monkeypatch.undo()
    assert typed(decoder, registry, (A, 1, "seconds"), typed=False) == [dict(A)]
    assert typed(decoder, registry, (A, 1, "seconds")) == want[:1]


def test_typed_series_without_a_name_are_refused():
    """Type and unit make no series of what is none."""
    decoder, registry = decoders()
    request = Request()
    request.series([("job", "x")], (NOW, 1.0)).metadata.type = 1
    for _ in range(2):
        decoded = decoder.decode_message(request.bytes(), typed=True)
        assert (len(decoded.batch), len(registry), decoded.refused_series) == (0, 0, 1)
