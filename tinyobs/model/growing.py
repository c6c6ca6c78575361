"""Arrays that have an entry for each series, group or the like, of which there are more and more."""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

SIZE_MIN: Final = 1024

T = TypeVar("T", bound=np.generic)


def grown(array: NDArray[T], size: int, fill: float = 0) -> NDArray[T]:
    """Return the array, or where it is shorter than `size` one at least twice as long that begins with it, `fill` behind it."""
    if len(array) >= size:
        return array
    length = max(size, 2 * len(array), SIZE_MIN)
    longer = np.full(length, fill, array.dtype) if fill else np.zeros(length, array.dtype)
    longer[: len(array)] = array
    return longer
