"""The JSON form of the messages: bodies -> messages, and short messages -> bodies.

It is the JSON mapping of proto3 but for ids of traces and spans, which are hexadecimal.  Names are in camelCase or as in the
schema, 64-bit integers are numbers or texts, floats may be "NaN", "Infinity" and "-Infinity", enums are numbers or names;
unknown fields are left out.  Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from attrs import frozen

from ...errors import WireError
from .schema import MESSAGES, TABLE

DEPTH_MAX: Final = 100
"""Messages within one another; the protobuf library has the same limit."""

_HEX: Final = ("trace_id", "span_id")
_BASE64: Final = "bytes_value"
_TEMPORALITIES: Final = {
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": 0,
    "AGGREGATION_TEMPORALITY_DELTA": 1,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
}
_FLOATS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_DECIMAL: Final = re.compile(r"-?[0-9]+\Z")


def read_json(body: bytes) -> Any:
    """Return the `ExportMetricsServiceRequest` that a body holds; raises `WireError`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise WireError(f"not JSON: {e}", getattr(e, "pos", -1)) from None
    message = MESSAGES["ExportMetricsServiceRequest"]()
    _fill(message, "ExportMetricsServiceRequest", found, "", 0)
    return message


@frozen
class _Field:
    name: str
    kind: str
    is_list: bool
    read: Callable[[Any], Any] | None
    """None for messages."""


def _fill(message: Any, kind: str, given: Any, path: str, depth: int) -> None:
    if not isinstance(given, dict):
        raise _fault(path, "an object", given)
    if depth > DEPTH_MAX:
        raise WireError(f"{path}: messages more than {DEPTH_MAX} deep")
    fields = _FIELDS[kind]
    for key, value in given.items():
        found = fields.get(key)
        if found is None or value is None:
            continue
        at = f"{path}.{key}" if path else key
        if found.is_list:
            _fill_list(getattr(message, found.name), found, value, at, depth)
        elif found.read is None:
            part = getattr(message, found.name)
            part.SetInParent()
            _fill(part, found.kind, value, at, depth + 1)
        else:
            _set(message, found, value, at)


def _fill_list(into: Any, field: _Field, given: Any, path: str, depth: int) -> None:
    if not isinstance(given, list):
        raise _fault(path, "a list", given)
    if field.read is None:
        for i, value in enumerate(given):
            _fill(into.add(), field.kind, value, f"{path}[{i}]", depth + 1)
        return
    try:
        into.extend([field.read(value) for value in given])
    except (ValueError, TypeError, OverflowError):
        raise _fault(path, f"a list of {field.kind}", given) from None


def _set(message: Any, field: _Field, value: Any, path: str) -> None:
    assert field.read is not None
    try:
        setattr(message, field.name, field.read(value))
    except (ValueError, TypeError, OverflowError):
        raise _fault(path, field.kind, value) from None


def _fault(path: str, wanted: str, given: Any) -> WireError:
    shown = repr(given)
    return WireError(f"{path or 'the body'}: {wanted} is expected, not {shown[:60]}{'...' if len(shown) > 60 else ''}")


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return value.encode()


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str) and value in _FLOATS:
        return _FLOATS[value]
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, str):
        if not _DECIMAL.match(value):
            value = float(value)
        else:
            return int(value)
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError
        return int(value)
    if not isinstance(value, int):
        raise TypeError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _temporality(value: Any) -> int:
    return _TEMPORALITIES[value] if value in _TEMPORALITIES else _integer(value)


def _hex(value: Any) -> bytes:
    return bytes.fromhex(value)


def _base64(value: Any) -> bytes:
    text = _text(value).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError from None


def _field(name: str, kind: str) -> _Field:
    bare = kind.lstrip("*").rpartition(":")[2]
    read: Callable[[Any], Any] | None
    if bare in MESSAGES:
        read = None
    elif name in _HEX:
        read = _hex
    elif name == _BASE64:
        read = _base64
    elif name == "aggregation_temporality":
        read = _temporality
    else:
        read = {"bytes": _text, "string": _text, "double": _float, "bool": _flag}.get(bare, _integer)
    return _Field(name, bare, kind.startswith("*"), read)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


_FIELDS: Final[Mapping[str, Mapping[str, _Field]]] = {
    message: {key: _field(name, kind) for _, name, kind in fields for key in (name, _camel(name))}
    for message, fields in TABLE.items()
}
