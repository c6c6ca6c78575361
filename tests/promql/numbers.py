"""Numbers in `.test` scripts, and when two of them are equal enough."""

from __future__ import annotations

import math
import struct

from tinyobs.model.staleness import STALE_NAN
from tinyobs.promql.numerals import number_value


def parse_number(text: str) -> float:
    """Return a signed number."""
    sign = -1.0 if text.startswith("-") else 1.0
    return sign * number_value(text.lstrip("+-"))


def almost_equal(a: float, b: float) -> bool:
    """Tell whether two floats are equal within a relative error of 1e-6; NaN equals NaN."""
    if a != a or b != b:
        return a != a and b != b and is_stale(a) == is_stale(b)
    if a == b:
        return True
    if math.isinf(a) or math.isinf(b):
        return False
    total, difference = abs(a) + abs(b), abs(a - b)
    if a == 0 or b == 0 or total < 2.3e-308:
        return difference < 1e-6 * 2.3e-308
    return difference / min(total, 1.7e308) < 1e-6


def is_stale(value: float) -> bool:
    """Tell whether a float is the staleness marker."""
    return struct.pack("<d", value) == struct.pack("<d", STALE_NAN)
