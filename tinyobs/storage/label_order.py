"""The order of series by label set, computed on numbers instead of tuples of strings.

Label sets compare as tuples of (name, value) pairs.  With every pair replaced by its rank among all pairs they compare
as tuples of integers; sorting goes over two of these at a time, the last ones first (a stable radix sort), so that
the temporary memory stays small whatever the number of labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def label_ranks(
    pairs: Sequence[tuple[str, str]], starts: NDArray[np.uint64], ids: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """Return for each series its place in label order; arguments as `LabelIndex.build` takes them."""
    by_text = sorted(range(len(pairs)), key=pairs.__getitem__)
    rank_of_pair = np.empty(len(pairs), np.uint64)
    rank_of_pair[by_text] = np.arange(1, len(pairs) + 1)  # 0 is "no more labels", before any other
    begins = starts.astype(np.int64)
    lengths = np.diff(begins)
    order = np.arange(len(lengths))
    for column in reversed(range(0, int(lengths.max(initial=0)), 2)):
        keys = np.zeros(len(lengths), np.uint64)
        for position, shift in ((column, 32), (column + 1, 0)):
            has = np.flatnonzero(lengths > position)
            keys[has] |= rank_of_pair[ids[begins[has] + position]] << np.uint64(shift)
        order = order[np.argsort(keys[order], kind="stable")]
    ranks = np.empty(len(lengths), np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    return ranks
