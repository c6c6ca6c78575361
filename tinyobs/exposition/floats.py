"""Numbers of the text formats: what Go's `strconv.ParseFloat` reads and `strconv.FormatFloat(v, 'g', -1)` writes.

Reading is correctly rounded.  Like Prometheus (model/textparse `parseFloat`) it refuses hexadecimal floats and
underscores, and finite texts beyond the range of a double.  Every NaN becomes the one normal NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.staleness import NORMAL_NAN

_GO_FLOAT = re.compile(  # possessive: a long run of digits that ends badly must not be tried in all ways of parting it
    rb"(?:[+-]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?|[+-]?inf(?:inity)?|nan)\Z", re.IGNORECASE
)
_FLOAT_BYTES: Final = b"0123456789+-.eEnNaAiIfFtTyY"
_FREQUENT: Final[dict[bytes, float]] = {str(i).encode(): float(i) for i in range(1000)}
"""Most values of real bodies are small integers, and a dict finds them four times faster than `float` reads them."""


def parse_float(token: bytes) -> float:
    """Return the value of one number; raises `ValueError` with a reason."""
    if _GO_FLOAT.match(token) is None:
        raise ValueError(f"not a number: {printable(token)}")
    value = float(token)
    if math.isinf(value) and b"n" not in token.lower():
        raise ValueError(f"value out of range: {printable(token)}")
    return value if value == value else NORMAL_NAN


def parse_floats(tokens: Sequence[bytes], joined: bytes | None = None) -> NDArray[np.float64]:
    """Return the values of many numbers as float64[n]; raises `ValueError` when any of them is not one.

    joined: the tokens as one string, where the caller happens to have it.
    """
    if (b"".join(tokens) if joined is None else joined).translate(None, _FLOAT_BYTES):
        raise ValueError("not a number")
    values = np.fromiter(map(float, map(_FREQUENT.get, tokens, tokens)), np.float64, len(tokens))
    finite = np.isfinite(values)
    if not finite.all():
        for i in np.flatnonzero(~finite).tolist():
            values[i] = parse_float(tokens[i])
    return values


def format_float(value: float) -> str:
    """Return a value as Go's 'g' with the fewest digits that read back: `1`, `0.25`, `1e+06`, `+Inf`, `NaN`."""
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    if "e" not in text and -1e6 < value < 1e6 and (abs(value) >= 1e-4 or not value):
        return text[:-2] if text.endswith(".0") else text
    sign = "-" if text[0] == "-" else ""
    mantissa, _, power = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    exponent = int(power or 0) + len(whole) - 1 - leading
    digits = digits.rstrip("0") or "0"
    if -4 <= exponent < 6:
        return sign + _positional(digits, exponent)
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def format_openmetrics_float(value: float) -> str:
    """Return a value as `format_float` does, with `.0` where neither point nor exponent would show it a float."""
    text = format_float(value)
    return text if not text[-1:].isdigit() or "." in text or "e" in text else text + ".0"


def printable(token: bytes) -> str:
    """Return the start of some bytes of a body in double quotes, fit for an error message."""
    text = token[:64].replace(b"\\", b"\\\\").replace(b'"', b'\\"').decode("utf-8", "backslashreplace")
    return '"' + "".join([c if c.isprintable() else repr(c)[1:-1] for c in text]) + '"'


def _positional(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    if len(digits) <= exponent + 1:
        return digits + "0" * (exponent + 1 - len(digits))
    return digits[: exponent + 1] + "." + digits[exponent + 1 :]
