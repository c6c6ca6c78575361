"""The JSON form of requests says what the binary form says."""

from __future__ import annotations

import base64
import json
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_bodies import START_NS, Body, attributes
from reading import decoder, everything

from tinyobs.errors import WireError
from tinyobs.exposition.otlp.answers import JSON, PROTOBUF, failure, response
from tinyobs.exposition.otlp.json_form import read_json
from tinyobs.exposition.otlp.schema import MESSAGES


def body() -> Body:
    """Return a request with everything in it."""
    made = Body(scope="lib", service__name="shop", host__name="h")
    attributes(
        made.resource_metrics.resource.attributes, {"a": [1, {"b": b"\x00\xfb"}, None], "f": float("inf"), "n": -5}
    )
    made.gauge("level", 1.5, -7, yes=True)
    made.sum("hits", 2**53 + 1, start_ns=START_NS - 1)
    point = made.histogram("duration", [1, 2], [0.5], unit="s")
    point.min, point.max = 0.1, float("nan")
    exemplar = point.exemplars.add(as_double=0.25, time_unix_nano=START_NS)
    exemplar.trace_id, exemplar.span_id = bytes(range(16)), bytes(range(8))
    made.exponential("size", [1, 2], scale=-2, offset=-3, zero_count=1, negative=[4])
    made.summary("latency", {0.5: 1.0})
    made.gauge("ended", 1.0).data_points[0].flags = 1
    return made


def as_json(message, camel=True, texts=True):
    """Return the JSON of a message, names in either spelling, 64-bit numbers as texts or numbers."""
    found = {}
    for field, value in message.ListFields():
        first, *others = field.name.split("_")
        key = first + "".join(o.capitalize() for o in others) if camel else field.name
        values = value if field.is_repeated else [value]
        made = [_value(field, v, camel, texts) for v in values]
        found[key] = made if field.is_repeated else made[0]
    return found


def _value(field, value, camel, texts):
    if field.message_type is not None:
        return as_json(value, camel, texts)
    if isinstance(value, bytes):
        if field.name in ("trace_id", "span_id"):
            return value.hex()
        return base64.b64encode(value).decode() if field.name == "bytes_value" else value.decode()
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), value)
    is_long = field.type in (field.TYPE_INT64, field.TYPE_UINT64, field.TYPE_FIXED64, field.TYPE_SFIXED64)
    return str(value) if is_long and texts else value


@pytest.mark.parametrize("camel", [True, False])
@pytest.mark.parametrize("texts", [True, False])
def test_both_forms_say_the_same(camel, texts):
    """In both spellings of names, with numbers as texts or as numbers."""
    request = body().request
    found = read_json(json.dumps(as_json(request, camel, texts)).encode())
    assert repr(found) == repr(request)
    made = decoder(starts=True, scope_labels=True)
    text = json.dumps(as_json(request, camel, texts)).encode()
    assert everything(made.registry, made.decode(text, as_json=True)) == everything(
        made.registry, made.decode(request.SerializeToString())
    )


def test_what_the_mapping_allows():
    """Enums by name, numbers with a fraction of 0, nulls, unknown fields, base64 of URLs."""
    text = """{"future": 1, "resourceMetrics": [{"resource": null, "scopeMetrics": [{"scope": {}, "metrics": [
        {"name": "a", "unit": null, "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "isMonotonic": true,
         "dataPoints": [{"timeUnixNano": 1.7e18, "asInt": 3.0, "flags": "0", "attributes": [
            {"key": "b", "value": {"bytesValue": "-_8"}}, {"key": "e", "value": {"arrayValue": {}}}]}]}}]}]}]}"""
    (metric,) = read_json(text.encode()).resource_metrics[0].scope_metrics[0].metrics
    point = metric.sum.data_points[0]
    assert (metric.sum.aggregation_temporality, point.as_int, point.time_unix_nano) == (2, 3, 1_700_000_000_000_000_000)
    assert point.attributes[0].value.bytes_value == b"\xfb\xff"
    assert point.attributes[1].value.WhichOneof("value") == "array_value"


METRIC = '{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": 1}]}]}]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "the body: an object is expected"),
        ('{"resourceMetrics": {}}', "resourceMetrics: a list is expected"),
        ('{"resourceMetrics": [{"scopeMetrics": [1]}]}', r"resourceMetrics\[0\].scopeMetrics\[0\]: an object is expected"),
        (METRIC, "name: bytes is expected"),
        (METRIC.replace('"name": 1', '"gauge": {"dataPoints": [{"asInt": "1.5"}]}'), "asInt: sfixed64 is expected"),
        (METRIC.replace('"name": 1', '"gauge": {"dataPoints": [{"asInt": 99999999999999999999}]}'), "asInt"),
        (METRIC.replace('"name": 1', '"gauge": {"dataPoints": [{"asDouble": "x"}]}'), "asDouble: double is expected"),
        (METRIC.replace('"name": 1', '"gauge": {"dataPoints": [{"asDouble": true}]}'), "asDouble"),
        (METRIC.replace('"name": 1', '"gauge": {"dataPoints": [{"flags": true}]}'), "flags"),
        (METRIC.replace('"name": 1', '"gauge": {"dataPoints": [{"timeUnixNano": -1}]}'), "timeUnixNano: fixed64"),
        (METRIC.replace('"name": 1', '"sum": {"isMonotonic": 1}'), "isMonotonic: bool is expected"),
        (METRIC.replace('"name": 1', '"sum": {"aggregationTemporality": "X"}'), "aggregationTemporality"),
        (METRIC.replace('"name": 1', '"sum": {"aggregationTemporality": []}'), "aggregationTemporality"),
        (METRIC.replace('"name": 1', '"histogram": {"dataPoints": [{"bucketCounts": [-1]}]}'), "bucketCounts: a list of fixed64"),
        (METRIC.replace('"name": 1', '"sum": {"dataPoints": [{"exemplars": [{"traceId": "xyz"}]}]}'), "traceId"),
        (METRIC.replace('"name": 1', '"sum": {"dataPoints": [{"attributes": [{"value": {"bytesValue": "?"}}]}]}'), "bytesValue"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(text, message):
    """The message says where, and what is there."""
    with pytest.raises(WireError, match=message):
        read_json(text.encode())


def test_messages_that_are_too_deep():
    """They are refused before the stack is full."""
    deep = '{"stringValue": "x"}'
    for _ in range(150):
        deep = f'{{"arrayValue": {{"values": [{deep}]}}}}'
    text = f'{{"resourceMetrics": [{{"resource": {{"attributes": [{{"key": "a", "value": {deep}}}]}}}}]}}'
    with pytest.raises(WireError, match="messages more than 100 deep"):
        read_json(text.encode())


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["resourceMetrics", "resource", "scopeMetrics", "metrics", "gauge", "sum", "dataPoints", "attributes",
                         "value", "key", "name", "asInt", "as_double", "timeUnixNano", "flags", "exemplars", "traceId"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(ANYTHING)
@settings(max_examples=300)
def test_any_json(value):
    """It is read, or refused with a message."""
    with suppress(WireError):
        decoder().decode(json.dumps(value).encode(), as_json=True)


def test_any_character_may_be_wrong():
    """A changed body is read, or refused with a message."""
    random_, whole = random.Random(3), json.dumps(as_json(body().request))
    readable = 0
    for _ in range(400):
        at = random_.randrange(len(whole))
        text = whole[:at] + random_.choice('0"{}[],:aN\u00e9-') + whole[at + random_.randrange(3) :]
        with suppress(WireError):
            decoder().decode(text.encode(), as_json=True)
            readable += 1
    assert readable > 50


def test_answers():
    """In the form of the request; 64-bit numbers of JSON are texts."""
    assert response(JSON, 0, "") == b"{}"
    assert json.loads(response(JSON, 3, "why")) == {
        "partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "why"}
    }
    partial = MESSAGES["ExportMetricsServiceResponse"].FromString(response(PROTOBUF, 3, "why")).partial_success
    assert (partial.rejected_data_points, partial.error_message) == (3, "why")
    assert json.loads(failure(JSON, 429, "slow")) == {"code": 8, "message": "slow"}
    assert MESSAGES["Status"].FromString(failure(PROTOBUF, 418, "tea")).code == 2
