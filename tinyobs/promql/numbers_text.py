"""Numbers in the exponent forms of Go, one at a time: for annotations and label values.

The plain form is `numerals.format_number`; results are formatted in bulk by the encoders.
"""

from __future__ import annotations

import math
from decimal import Decimal

from .numerals import format_number


def format_g(value: float) -> str:
    """Return a float as Go's `%g`: shortest digits, an exponent from 1e21 on and below 1e-4."""
    if not math.isfinite(value):
        return format_number(value)
    if value != 0 and not 1e-4 <= abs(value) < 1e21:
        mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
        number = int(exponent or "0")
        return f"{mantissa}e{'-' if number < 0 else '+'}{abs(number):02d}"
    return format_number(value)


def format_openmetrics(value: float) -> str:
    """Return a float as OpenMetrics writes it: like `format_g`, and whole numbers end in `.0`."""
    text = format_g(value)
    return text if not math.isfinite(value) or any(c in text for c in ".eN") else text + ".0"
