"""Small columns of fixed-width numbers as their byte planes, the shape in which zstd packs them best.

For tables of a few bytes per row; the bulk of samples goes through `planes.py`, which is smarter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shuffle(column: NDArray[Any]) -> bytes:
    """Return all lowest bytes, then all second bytes, ... of a column (of little-endian numbers)."""
    return np.ascontiguousarray(column).view(np.uint8).reshape(-1, column.itemsize).T.tobytes()


def unshuffle(planes: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """Return the column of type `dtype` whose planes are given."""
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(planes.reshape(size, -1).T).reshape(-1).view(dtype)
