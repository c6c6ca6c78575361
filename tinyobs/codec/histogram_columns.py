"""Which word of which histogram stands in which column: worked out from layouts alone, equally by writer and reader.

A layout is a run of words: word 0 without hint, zero threshold, spans, custom values.  It says how many data words a
histogram has (`FIXED` and one for each bucket) and what each means.  Words of equal meaning in one row of a page make
up a column.  Columns are ordered by row, then by first appearance of their meaning when layouts are sorted by schema,
side and bucket.  Format: `docs/format/page.md`, "Histograms".
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.histogram_words import INTEGER_FLAG, bucket_indexes, shapes_of, span_lengths, sums_of_rows
from ..model.ragged import offsets_of, spread, take_rows

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Mask = NDArray[np.bool_]

HINT: Final = 0
COUNT: Final = 2
SUM: Final = 3
FIXED: Final = 4
"""The data words that every histogram has: hint, zero count, count, sum."""
_FAMILY: Final = np.uint64(0x1FF)
"""Bits of word 0 that tell columns apart: the schema, and whether counts are integers."""


@frozen(eq=False)
class Layouts:
    """Distinct layouts: layout `i` is `words[offsets[i]:offsets[i+1]]`.

    widths: int64[L], data words of a histogram.  meanings: int64, for each data word of each layout the number of its
    meaning.  is_float: by meaning, whether such words are float64.
    """

    offsets: I64
    words: U64
    widths: I64
    meanings: I64
    is_float: Mask

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self.words.nbytes + self.meanings.nbytes + len(self.is_float)) + 16 * len(self.offsets)

    @classmethod
    def parse(cls, offsets: I64, words: U64, widths_max: int) -> Layouts:
        """Return the layouts; `ValueError` when they are inconsistent or have more than `widths_max` data words."""
        lengths = np.diff(offsets)
        if int(offsets[-1]) != len(words) or (lengths < 2).any():
            raise ValueError("layout cut short")
        heads = words[offsets[:-1]]
        shapes = shapes_of(heads)
        if (2 + shapes.spans + shapes.custom != lengths).any():
            raise ValueError("layout of another length than it says")
        spans = words[spread(offsets[:-1] + 2, shapes.spans)]
        widths = FIXED + sums_of_rows(span_lengths(spans), shapes.spans)
        if int(widths.sum()) > widths_max:
            raise ValueError("layouts with too many buckets")
        meanings, is_float = _meanings(heads, widths, *bucket_indexes(spans, shapes))
        return cls(offsets, words, widths, meanings, is_float)


def _meanings(heads: U64, widths: I64, indexes: I64, negative: Mask) -> tuple[I64, Mask]:
    """Return for each data word of each layout the number of its meaning; and by meaning, whether it is a float."""
    offsets = offsets_of(widths)
    index = np.empty(int(offsets[-1]), np.int64)
    kind = np.empty(len(index), np.int64)
    fixed = spread(offsets[:-1], np.full(len(widths), FIXED))
    index[fixed] = np.tile(np.arange(FIXED), len(widths))
    kind[fixed] = 0
    buckets = spread(offsets[:-1] + FIXED, widths - FIXED)
    index[buckets] = indexes
    kind[buckets] = 1 + negative
    kind += np.repeat((heads & _FAMILY).astype(np.int64) << 2, widths)
    order = np.lexsort((index, kind))
    kind, index = kind[order], index[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(kind) != 0) | (np.diff(index) != 0)
    meanings = np.empty_like(index)
    meanings[order] = np.cumsum(new) - 1
    kind, index = kind[new], index[new]
    integer = (kind >> 2 & int(INTEGER_FLAG)) != 0
    is_fixed = (kind & 3) == 0
    is_float: Mask = np.where(is_fixed & ((index == HINT) | (index == SUM)), index == SUM, ~integer)
    return meanings, is_float


@frozen(eq=False)
class Columns:
    """Columns, and where the words of runs stand in them.

    offsets: int64[C+1], of the columns' words.  is_float: bool[C].  For each data word of each run: starts, where the
    words of the run's histograms stand one after another, and columns, in which column.  entries: int64[runs+1].
    """

    offsets: I64
    is_float: Mask
    entries: I64
    starts: I32
    columns: I32

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return 8 * len(self.starts) + 8 * len(self.entries) + 9 * len(self.offsets)

    def places(self, runs: I64, ranks: I64) -> I32:
        """Return where the data words of histograms stand: those number `ranks[i]` of the run `runs[i]`."""
        out = take_rows(self.starts, self.entries, runs)
        out += np.repeat(ranks.astype(np.int32), np.diff(self.entries)[runs])
        return out

    def of_runs(self, runs: I64) -> tuple[I64, Columns]:
        """Return the ascending columns that ascending runs need; and `Columns` of just these, for just these runs."""
        at = spread(self.entries[:-1][runs], np.diff(self.entries)[runs])
        mine = np.zeros(len(self.offsets) - 1, np.bool_)
        mine[self.columns[at]] = True
        wanted = np.flatnonzero(mine)
        offsets = offsets_of(np.diff(self.offsets)[wanted])
        by = np.zeros(len(mine), np.int32)
        by[wanted] = offsets[:-1] - self.offsets[:-1][wanted]
        starts = self.starts.copy()
        starts[at] += by[self.columns[at]]
        return wanted, Columns(offsets, self.is_float[wanted], self.entries, starts, self.columns)


def arrange(layouts: Layouts, run_layouts: I64, runs: I64, rows: I64) -> Columns:
    """Return the columns of runs: `runs[i]` histograms of layout `run_layouts[i]` in row `rows[i]` of a page."""
    widths = layouts.widths[run_layouts]
    entries = offsets_of(widths)
    meanings = take_rows(layouts.meanings, offsets_of(layouts.widths), run_layouts)
    keys = meanings + np.repeat(rows * len(layouts.is_float), widths)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    ends = np.cumsum(np.repeat(runs, widths)[order])
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    first = np.flatnonzero(new)
    offsets = np.zeros(len(first) + 1, np.int64)
    offsets[1:] = ends[np.append(first[1:], len(keys)) - 1]
    starts = np.empty(len(order), np.int32)
    starts[order[1:]] = ends[:-1]
    starts[order[0]] = 0
    columns = np.empty(len(order), np.int32)
    columns[order] = np.cumsum(new) - 1
    return Columns(offsets, layouts.is_float[meanings[order][first]], entries, starts, columns)
