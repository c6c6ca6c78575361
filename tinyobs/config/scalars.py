"""The text of one YAML scalar -> a value of the wanted type.  Errors are `ValueError` with the text for the operator.

Numbers and truth values follow YAML 1.1 as Go's yaml package reads it (`yes`, `0x10`, `1_000`), since that is what
existing files were written for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from ..model.durations import DurationMs, parse_duration
from ..model.secrets import Secret
from ..model.sizes import SizeBytes, parse_size
from .fields import FilePath, ProxyUrl, Url, UrlText

_TRUE: Final = frozenset("y Y yes Yes YES true True TRUE on On ON".split())
_FALSE: Final = frozenset("n N no No NO false False FALSE off Off OFF".split())
_INTEGER: Final = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|0|[1-9][0-9_]*)\Z")
_DECIMAL: Final = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?\Z")
_DIGITS_MAX: Final = 400
"""Longest number, in characters."""
_INT64: Final = (-(2**63), 2**64 - 1)


def read_bool(text: str) -> bool:
    """Return a truth value."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"expected true or false, got '{text}'")


def read_int(text: str) -> int:
    """Return an integer that 64 bits hold."""
    if len(text) <= _DIGITS_MAX and _INTEGER.match(text):
        body = text.replace("_", "")
        digits = body.lstrip("+-")
        octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
        value = int(body, 8 if octal else 0)
        if _INT64[0] <= value <= _INT64[1]:
            return value
    raise ValueError(f"expected an integer, got '{text}'")


def read_float(text: str) -> float:
    """Return a finite number."""
    if len(text) <= _DIGITS_MAX and _DECIMAL.match(text):
        value = float(text.replace("_", ""))
        if math.isfinite(value):
            return value
    raise ValueError(f"expected a number, got '{text}'")


def read_url(text: str) -> Url:
    """Return an absolute http or https URL."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  (raises when the port is no number)
    except ValueError as e:
        raise ValueError(f"invalid URL '{text}': {e}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected an http or https URL, got '{text}'")
    return Url(text)


def read_proxy_url(text: str) -> ProxyUrl:
    """Return the URL of a proxy, "" for none; the message does not repeat it, since a password may stand in it."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  (raises when the port is no number)
        fits = parts.scheme in ("http", "https", "socks5", "socks5h") and bool(parts.hostname)
    except ValueError:
        fits = False
    if text and not fits:
        raise ValueError("expected the URL of a proxy, as in http://host:port (or https, socks5, socks5h)")
    return ProxyUrl(text)


TEXTUAL: Final[Mapping[Any, Callable[[str], Any]]] = {
    str: str,
    Secret: Secret,
    FilePath: FilePath,
    Url: read_url,
    ProxyUrl: read_proxy_url,
    UrlText: UrlText,
    DurationMs: parse_duration,
    SizeBytes: parse_size,
}
"""Types that take any scalar, quoted or not."""

PLAIN: Final[Mapping[Any, Callable[[str], Any]]] = {bool: read_bool, int: read_int, float: read_float}
"""Types that take only what stands without quotes."""

EMPTY_FOR_NULL: Final[Mapping[Any, Any]] = {
    str: "",
    Secret: Secret(""),
    FilePath: FilePath(""),
    ProxyUrl: ProxyUrl(""),
    UrlText: UrlText(""),
}
"""What null means where a text is wanted; for every other type it means the default."""


def read_scalar(type_: Any, text: str, *, plain: bool) -> Any:
    """Return the value of a scalar; raises `ValueError` when the text does not fit the type.

    An Enum may have a class method `refusal(text)` that words the error.
    """
    reader = TEXTUAL.get(type_)
    if reader is not None:
        return reader(text)
    reader = PLAIN.get(type_)
    if reader is not None:
        if not plain:
            raise ValueError(f"expected {_NAMES[type_]}, got the text '{text}'")
        return reader(text)
    assert issubclass(type_, Enum), type_
    try:
        return type_(text)
    except ValueError:
        if hasattr(type_, "refusal"):
            raise ValueError(type_.refusal(text)) from None
        choices = ", ".join(str(member.value) for member in type_)
        raise ValueError(f"expected one of {choices}, got '{text}'") from None


def read_plain(text: str, *, plain: bool) -> bool | int | float | str:
    """Return what a scalar means where no type is asked for: only without quotes it may be something else than a text."""
    for reader in PLAIN.values() if plain else ():
        try:
            value: bool | int | float = reader(text)
        except ValueError:
            continue
        return value
    return text


_NAMES: Final = {bool: "true or false", int: "an integer", float: "a number"}
