"""The order of series by label set, computed on numbers instead of tuples of strings.

Label sets compare as tuples of (name, value) pairs.  With every pair replaced by its rank among all pairs they compare
as tuples of integers, and those as the bytes of big-endian integers padded with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_COLUMNS: Final = 16
"""Pairs of each series that are compared at a time; bounds the temporary memory to 64 bytes a series."""


def label_ranks(
    pairs: Sequence[tuple[str, str]], starts: NDArray[np.uint64], ids: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """Return for each series its place in label order; arguments as `LabelIndex.build` takes them."""
    by_text = sorted(range(len(pairs)), key=pairs.__getitem__)
    rank_of_pair = np.empty(len(pairs), ">u4")
    rank_of_pair[by_text] = np.arange(1, len(pairs) + 1)
    begins = starts.astype(np.int64)
    lengths = np.diff(begins)
    order = np.arange(len(lengths))
    widest = int(lengths.max(initial=0))
    for first in reversed(range(0, widest, _COLUMNS)):
        keys = np.zeros((len(lengths), _COLUMNS), ">u4")
        for column in range(min(_COLUMNS, widest - first)):
            has = np.flatnonzero(lengths > first + column)
            keys[has, column] = rank_of_pair[ids[begins[has] + first + column]]
        as_bytes = keys.view(f"S{4 * _COLUMNS}").reshape(-1)
        order = order[np.argsort(as_bytes[order], kind="stable")]
    ranks = np.empty(len(lengths), np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    return ranks
