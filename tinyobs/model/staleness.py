"""The staleness marker: one particular NaN that says "this series ends here".

Prometheus uses the bit pattern 0x7ff0000000000002 (model/value/value.go).  It must be compared by bits: as a float
it is a NaN like any other.  Python floats carry NaN payloads unharmed as long as no arithmetic touches them.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

STALE_BITS: Final = 0x7FF0000000000002
NORMAL_NAN_BITS: Final = 0x7FF8000000000001
STALE_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
NORMAL_NAN: Final[float] = struct.unpack("<d", struct.pack("<Q", NORMAL_NAN_BITS))[0]


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where `values` (any shape) holds the staleness marker."""
    bits: NDArray[np.uint64] = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    stale: NDArray[np.bool_] = bits == np.uint64(STALE_BITS)
    return stale


def is_stale_value(value: float) -> bool:
    """Tell whether one float is the staleness marker."""
    return value != value and struct.pack("<d", value) == _STALE_BYTES


_STALE_BYTES = struct.pack("<Q", STALE_BITS)
