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
    in_spans = span_lengths(words[spread(offsets[:-1] + FIXED_WORDS, spans)])
    if (sums_of_rows(in_spans, spans) != buckets).any():
        raise ValueError("spans and buckets differ in number")
    return shapes


def span_lengths(spans: U64) -> I64:
    """Return the number of buckets in each span."""
    return (spans >> np.uint64(32)).astype(np.int64)


def bucket_indexes(spans: U64, shapes: Shapes) -> tuple[I64, Mask]:
    """Return the index of each bucket, and whether it is a negative one; spans: those of all histograms."""
    lengths = span_lengths(spans)
    ends = spans.astype(np.uint32).view(np.int32) + lengths  # against where the span before ends
    sides = np.stack([shapes.positive, shapes.negative], axis=1).reshape(-1)
    before = offsets_of(ends)[offsets_of(sides)[:-1]]
    starts = np.cumsum(ends) - lengths - np.repeat(before, sides)
    negative = np.repeat((np.arange(len(sides)) & 1).astype(np.bool_), sides)
    return spread(starts, lengths), np.repeat(negative, lengths)


@frozen(eq=False)
class Buckets:
    """The buckets of many histograms: those of histogram `i` are `[offsets[i]:offsets[i+1]]`, positive ones first.

    indexes: int64[N]; bucket `i` of schema `s` ends at 2^(i / 2^s), that of custom bounds at `custom_values[i]`.
    negative: bool[N], whether the bucket is on the negative side.  counts: float64[N].
    """

    offsets: I64
    indexes: I64
    negative: Mask
    counts: F64


def buckets_of(offsets: I64, words: U64) -> Buckets:
    """Return the buckets of all histograms; integer counts above 2^53 are rounded."""
    heads = words[offsets[:-1]]
    shapes = shapes_of(heads)
    first = offsets[:-1] + FIXED_WORDS
    indexes, negative = bucket_indexes(words[spread(first, shapes.spans)], shapes)
    lengths = offsets[1:] - shapes.custom - first - shapes.spans
    return Buckets(
        offsets_of(lengths),
        indexes,
        negative,
        counts_at(offsets, words, spread(first + shapes.spans, lengths), lengths),
    )


def counts_at(offsets: I64, words: U64, places: I64, per_histogram: I64) -> F64:
    """Return counts as float64.  places: where they stand among the words, `per_histogram[i]` for histogram `i`."""
    counts = words[places]
    is_integer = (words[offsets[:-1]] & INTEGER_FLAG) != 0
    floats = counts.view(np.float64)
    if is_integer.any():
        np.copyto(floats, counts.astype(np.float64), where=np.repeat(is_integer, per_histogram))
    return floats


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
