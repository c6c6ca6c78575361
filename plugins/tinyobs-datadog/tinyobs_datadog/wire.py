"""The protobuf messages of `/api/v2/series` and `/api/beta/sketches`: `MetricPayload` and `SketchPayload`.

Source: DataDog/agent-payload, proto/metrics/agent_payload.proto.  Only fields that are read are declared; others are
skipped by the library.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_STRING, _INT64, _DOUBLE, _MESSAGE, _UINT32, _SINT32 = 9, 3, 1, 11, 13, 17
_OPTIONAL, _REPEATED = 1, 3

_FIELDS: Final = {
    "MetricPayload": [("series", 1, _MESSAGE, _REPEATED, "MetricSeries")],
    "MetricSeries": [
        ("resources", 1, _MESSAGE, _REPEATED, "Resource"),
        ("metric", 2, _STRING, _OPTIONAL, ""),
        ("tags", 3, _STRING, _REPEATED, ""),
        ("points", 4, _MESSAGE, _REPEATED, "MetricPoint"),
        ("type", 5, _INT64, _OPTIONAL, ""),  # an enumeration, which is a varint as well
        ("unit", 6, _STRING, _OPTIONAL, ""),
        ("interval", 8, _INT64, _OPTIONAL, ""),
    ],
    "Resource": [("type", 1, _STRING, _OPTIONAL, ""), ("name", 2, _STRING, _OPTIONAL, "")],
    "MetricPoint": [("value", 1, _DOUBLE, _OPTIONAL, ""), ("timestamp", 2, _INT64, _OPTIONAL, "")],
    "SketchPayload": [("sketches", 1, _MESSAGE, _REPEATED, "Sketch")],
    "Sketch": [
        ("metric", 1, _STRING, _OPTIONAL, ""),
        ("host", 2, _STRING, _OPTIONAL, ""),
        ("tags", 4, _STRING, _REPEATED, ""),
        ("dogsketches", 7, _MESSAGE, _REPEATED, "Dogsketch"),
    ],
    "Dogsketch": [
        ("ts", 1, _INT64, _OPTIONAL, ""),
        ("cnt", 2, _INT64, _OPTIONAL, ""),
        ("sum", 6, _DOUBLE, _OPTIONAL, ""),
        ("k", 7, _SINT32, _REPEATED, ""),
        ("n", 8, _UINT32, _REPEATED, ""),
    ],
}


def _messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="tinyobs_datadog.proto", package="tinyobs.datadog", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".tinyobs.datadog.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"tinyobs.datadog.{name}") for name in ("MetricPayload", "SketchPayload"))
    metrics, sketches = map(message_factory.GetMessageClass, found)
    return metrics, sketches


MetricPayload, SketchPayload = _messages()
"""The classes of the messages."""
