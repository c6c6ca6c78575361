"""The words of many native histograms, examined and changed at once.

What the words mean stands in `histograms.py`; here is the arithmetic on the tables made of them: `offsets` int64[H+1]
and `words` uint64[N], histogram `i` being `words[offsets[i]:offsets[i+1]]`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .ragged import offsets_of, spread

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

FIXED_WORDS: Final = 5
"""Words that every histogram has."""
INTEGER_FLAG: Final = np.uint64(1 << 8)
"""The bit of word 0 that says that counts are integers."""
_PART: Final = np.uint64(0xFFFF)


@frozen(eq=False)
class Shapes:
    """What the words 0 say.  All int64[H]: spans of each side, custom values."""

    positive: I64
    negative: I64
    custom: I64

    @property
    def spans(self) -> I64:
        """Spans of both sides."""
        return self.positive + self.negative


def shapes_of(heads: U64) -> Shapes:
    """Return the shapes that words 0 state."""
    parts = [(heads >> np.uint64(shift) & _PART).astype(np.int64) for shift in (16, 32, 48)]
    return Shapes(*parts)


def sums_of_rows(values: I64, counts: I64) -> I64:
    """Return the sum of each row; rows lie one after another, `counts[i]` integers each, and may be empty."""
    out: I64 = np.diff(offsets_of(values)[offsets_of(counts)])
    return out


def refuse_inconsistent(offsets: I64, words: U64) -> Shapes:
    """Return the shapes of all histograms; `ValueError` when words do not make up the histograms they say they are."""
    lengths = np.diff(offsets)
    if offsets[0] != 0 or int(offsets[-1]) != len(words) or (lengths < FIXED_WORDS).any():
        raise ValueError("histogram cut short")
    shapes = shapes_of(words[offsets[:-1]])
    spans = shapes.spans
    buckets = lengths - FIXED_WORDS - spans - shapes.custom
    if (buckets < 0).any():
        raise ValueError("histogram cut short")
    in_spans = (words[spread(offsets[:-1] + FIXED_WORDS, spans)] >> np.uint64(32)).astype(np.int64)
    if (sums_of_rows(in_spans, spans) != buckets).any():
        raise ValueError("spans and buckets differ in number")
    return shapes


def data_words(offsets: I64, shapes: Shapes) -> Mask:
    """Return which words are not said by the layout: word 0 (its flags), zero count, count, sum, buckets."""
    mask = np.ones(int(offsets[-1]), np.bool_)
    mask[offsets[:-1] + 1] = False
    mask[spread(offsets[:-1] + FIXED_WORDS, shapes.spans)] = False
    mask[spread(offsets[1:] - shapes.custom, shapes.custom)] = False
    return mask


def with_float_counts(offsets: I64, words: U64) -> U64:
    """Return the words of the same histograms with all counts as float64; counts above 2^53 are rounded."""
    heads = words[offsets[:-1]]
    integer = (heads & INTEGER_FLAG) != 0
    if not integer.any():
        return words
    counts = data_words(offsets, shapes_of(heads))
    counts[offsets[:-1]] = False
    counts[offsets[:-1] + 4] = False
    counts &= np.repeat(integer, np.diff(offsets))
    out = words.copy()
    out[counts] = words[counts].astype(np.float64).view(np.uint64)
    out[offsets[:-1]] = heads & ~INTEGER_FLAG
    return out
