"""Values of attributes as texts, as the Collector's `pcommon.Value.AsString` writes them.

Lists and maps become JSON with sorted keys, in Go's spelling; bytes become base64.  Here are also positional floats, which
stand in the labels `le` and `quantile`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ..floats import printable

DEPTH_MAX: Final = 32
"""Lists and maps within one another that an attribute may have; from 46 on the protobuf library refuses the request."""

ATTRIBUTES_MAX: Final = 1000
"""Attributes of one point, resource or scope."""

_GO_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def attributes_of(pairs: Sequence[Any]) -> list[tuple[str, str]]:
    """Return (key, value as text) of messages `KeyValue`, in their order; raises `ValueError`."""
    if len(pairs) > ATTRIBUTES_MAX:
        raise ValueError(f"more than {ATTRIBUTES_MAX} attributes")
    return [(utf8(pair.key), text_of(pair.value)) for pair in pairs]


def utf8(data: bytes) -> str:
    """Return bytes as the text that they should be; raises `ValueError`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"a text is not UTF-8: {printable(data)}") from None


def text_of(value: Any) -> str:
    """Return an `AnyValue` as text, "" for none; raises `ValueError` where it is not UTF-8 or nested too deeply."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return utf8(value.string_value)
    if kind == "int_value":
        return str(value.int_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "double_value":
        return _go_float(value.double_value)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind is None:
        return ""
    try:
        return _json(value, 0)
    except _NoJsonError:
        return ""


def positional(value: float) -> str:
    """Return a float as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: the fewest digits, never an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


class _NoJsonError(Exception):
    """JSON knows no such number; the Collector then writes nothing."""


def _json(value: Any, depth: int) -> str:
    if depth > DEPTH_MAX:
        raise ValueError(f"lists and maps more than {DEPTH_MAX} deep")
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return f"[{','.join([_json(v, depth + 1) for v in value.array_value.values])}]"
    if kind == "kvlist_value":
        members: Mapping[str, Any] = {utf8(pair.key): pair.value for pair in value.kvlist_value.values}
        inside = [f"{_quoted(k)}:{_json(v, depth + 1)}" for k, v in sorted(members.items())]
        return f"{{{','.join(inside)}}}"
    if kind is None:
        return "null"
    if kind == "double_value" and not math.isfinite(value.double_value):
        raise _NoJsonError
    text = text_of(value)
    return _quoted(text) if kind in ("string_value", "bytes_value") else text


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_GO_ESCAPES)


def _go_float(value: float) -> str:
    """Return a float as Go's encoding/json spells it."""
    if not math.isfinite(value):
        return f"json: unsupported value: {positional(value)}"
    size = abs(value)
    if not value or 1e-6 <= size < 1e21:
        return positional(value)
    mantissa, _, power = repr(value).partition("e")
    if not power:
        mantissa, _, power = f"{value:e}".partition("e")
    exponent = int(power)
    return f"{mantissa.removesuffix('.0')}e{'-' if exponent < 0 else '+'}{abs(exponent):0{1 if exponent < 0 else 2}d}"
