"""Reading parameters of the API, with the words of Prometheus where one cannot be read.

Times become int milliseconds since 1970, durations int milliseconds.  Source: prometheus web/api/v1/api.go
`parseTime`, `parseDuration`, `parseLimitParam`, `parseMatchersParam`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ...errors import QueryParseError
from ...model.durations import DURATION_MS_MAX, parse_duration
from ...model.matchers import Matcher
from ...promql.parser import parse_selector
from ..form import Form
from ..problem import ApiError

TIME_MS_MIN: Final = -(1 << 62) // 1_000_000
TIME_MS_MAX: Final = (1 << 62) // 1_000_000
"""Bounds for times without one: about 146 years around 1970, safe to add durations to."""
BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
"""What Go reads as a truth value."""
MATCHERS_MAX: Final = 1000
"""Values of `match[]` that one request may have."""

# What Go writes for the lowest and highest time it knows; clients send them back to mean "everything".
_GO_TIME_MIN: Final = "-292273086-05-16T16:47:06Z"
_GO_TIME_MAX: Final = "292277025-08-18T07:12:54.999999999Z"
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_FLOAT = re.compile(
    r"[+-]?(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?\d++)?|[+-]?(?:inf|infinity)|nan", re.ASCII | re.IGNORECASE
)


def invalid(name: str, reason: object) -> ApiError:
    """Return the error for a parameter."""
    return ApiError("bad_data", f"invalid parameter {_quote(name)}: {reason}")


def time(form: Form, name: str) -> int:
    """Return a time that must be given."""
    try:
        return _time(form.get(name))
    except ValueError as e:
        raise invalid(name, e) from None


def time_or(form: Form, name: str, default: int) -> int:
    """Return a time, or the default when it is not given."""
    if not form.get(name):
        return default
    try:
        return _time(form.get(name))
    except ValueError as e:
        raise invalid(name, f"invalid time value for '{name}': {e}") from None


def duration(form: Form, name: str) -> float:
    """Return a duration in (fractional) milliseconds; it must be given."""
    try:
        return _duration(form.get(name))
    except ValueError as e:
        raise invalid(name, e) from None


def lookback(form: Form) -> int | None:
    """Return `lookback_delta`, None when it is not given."""
    text = form.get("lookback_delta")
    try:
        return int(_duration(text)) if text else None
    except ValueError as e:
        raise ApiError("bad_data", f"error parsing lookback delta duration: {e}") from None


def resolution(form: Form) -> int | None:
    """Return `resolution`, the downsampling tier to read, in ms: 0 for raw samples, None to let the storage choose."""
    text = form.get("resolution")
    if text in ("", "auto"):
        return None
    try:
        found = 0 if text == "raw" else int(_duration(text))
    except ValueError as e:
        raise invalid("resolution", e) from None
    if found < 0:
        raise invalid("resolution", 'must be "auto", "raw" or a duration such as 5m')
    return found


def limit(form: Form) -> int:
    """Return `limit`, 0 for none."""
    text = form.get("limit")
    if not text:
        return 0
    try:
        found = integer(text)
    except ValueError as e:
        raise invalid("limit", e) from None
    if found < 0:
        raise invalid("limit", "limit must be non-negative")
    return found


def number(form: Form, name: str, default: int) -> int:
    """Return a number, for the endpoints that describe it so."""
    try:
        return integer(form.get(name)) if form.get(name) else default
    except ValueError:
        raise ApiError("bad_data", f"{name} must be a number") from None


def selectors(texts: Sequence[str]) -> list[tuple[Matcher, ...]]:
    """Return the matchers of each `match[]`; each must exclude something."""
    if len(texts) > MATCHERS_MAX:
        raise ApiError("bad_data", f"more than {MATCHERS_MAX} values of match[]")
    try:
        out = [parse_selector(text) for text in texts]
    except QueryParseError as e:
        raise ApiError("bad_data", str(e)) from None
    if any(all(m.matches_empty() for m in matchers) for matchers in out):
        raise ApiError("bad_data", "match[] must contain at least one non-empty matcher")
    return out


def _time(text: str) -> int:
    if _FLOAT.fullmatch(text):
        seconds = float(text)
        if seconds != seconds or (math.isinf(seconds) and text[-1].isdigit()):
            # No number, or one that is too large for a float; infinity itself is a time.
            raise ValueError(f"cannot parse {_quote(text)} to a valid timestamp")
        return round(min(max(seconds * 1000.0, TIME_MS_MIN), TIME_MS_MAX))
    if found := _RFC3339.fullmatch(text):
        whole, fraction, zone = found.groups()
        try:
            moment = datetime.fromisoformat(whole + zone.replace("Z", "+00:00")).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError(f"cannot parse {_quote(text)} to a valid timestamp") from None
        return int(moment.timestamp()) * 1000 + int((fraction or "0")[:3].ljust(3, "0"))
    if text == _GO_TIME_MIN:
        return TIME_MS_MIN
    if text == _GO_TIME_MAX:
        return TIME_MS_MAX
    raise ValueError(f"cannot parse {_quote(text)} to a valid timestamp")


def _duration(text: str) -> float:
    if _FLOAT.fullmatch(text):
        found = float(text) * 1000.0
        if not abs(found) <= DURATION_MS_MAX:
            raise ValueError(f"cannot parse {_quote(text)} to a valid duration. It overflows int64")
        return found
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"cannot parse {_quote(text)} to a valid duration") from None


def integer(text: str) -> int:
    """Return an integer as Go's strconv.Atoi reads it, with its error."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"strconv.Atoi: parsing {_quote(text)}: invalid syntax")
    if len(digits.lstrip("0")) > 18:
        raise ValueError(f"strconv.Atoi: parsing {_quote(text)}: value out of range")
    return int(text)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
