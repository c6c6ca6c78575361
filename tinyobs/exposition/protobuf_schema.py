"""Protobuf message classes from a table: no generated code, hence no tie to one version of the protobuf package.

The classes are those of the C implementation (upb) and as fast as generated ones.  Here is only the machinery; the
tables stand with the formats (`remote_write_schema.py`, `writer_protobuf.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS: Final = {
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "fixed64": descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64,
    "sfixed64": descriptor_pb2.FieldDescriptorProto.TYPE_SFIXED64,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "sint32": descriptor_pb2.FieldDescriptorProto.TYPE_SINT32,
    "sint64": descriptor_pb2.FieldDescriptorProto.TYPE_SINT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}

Table = Mapping[str, Sequence[tuple[int, str, str]]]
"""Message name -> (number, name, type) of its fields; a type is a scalar or a message name, `*` before it repeats.

`x:type` puts the field into the oneof `x`."""


def message_classes(package: str, table: Table, *, presence: bool = False) -> dict[str, Any]:
    """Return the message classes of a table by name.

    With `presence` a scalar set to zero is written (proto2), without it is left out (proto3).
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"tinyobs/{package}.proto", package=package, syntax="proto2" if presence else "proto3"
    )
    for message_name, fields in table.items():
        message = file.message_type.add(name=message_name)
        for number, name, kind in fields:
            field = message.field.add(name=name, number=number)
            field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
            oneof, _, kind = kind.lstrip("*").rpartition(":")
            if oneof:
                if oneof not in [o.name for o in message.oneof_decl]:
                    message.oneof_decl.add(name=oneof)
                field.oneof_index = [o.name for o in message.oneof_decl].index(oneof)
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = field.TYPE_MESSAGE
                field.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in table}
