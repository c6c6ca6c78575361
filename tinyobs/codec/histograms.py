"""Native histograms of a page: what their layouts share is said once, what counts becomes integer rows over time.

The words of a histogram (`model/histograms.py`) are split.  Its *layout* is what seldom changes: schema, zero threshold,
spans, custom values; distinct layouts are stored once, and successive histograms of one row with one layout are a *run*.
The rest is *data*: hint, zero count, count, sum and a word per bucket.  All data of one row of the page with one meaning
(the count of bucket 17, say) is a *column*, in order of time, whichever layouts it comes from: a bucket that appears
later begins a column there and disturbs no other.  Columns are integer rows (`integers.py`), floats scaled before
(`floats.py`).  Which word belongs to which column follows from the layouts alone (`histogram_columns.py`).

Any words come back exactly.  Format: `docs/format/page.md`, "Histograms".
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.histogram_words import INTEGER_FLAG, data_words, refuse_inconsistent, shapes_of
from ..model.histograms import Histograms
from ..model.ragged import cut_rows, offsets_of, put_rows, spread, take_rows
from .compression import compress, decompress
from .floats import BITS, SCALE_MAX, to_floats, to_integers
from .histogram_columns import COUNT, FIXED, HINT, SUM, Columns, Layouts, arrange
from .integers import ROWS_MAX, IntegerRows, decode_rows, encode_rows
from .shuffle import shuffle, unshuffle
from .timestamps import share

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]

WORDS_MAX: Final = 1 << 24
"""Most words of histograms in a page: 128 MiB decoded.  Pages in use have a few hundred thousand."""
HEADER: Final = struct.Struct("<IIIIIII")
"""stretches, runs, layouts, words of layouts, columns, patches, bytes of the table."""
_HINT_SHIFT: Final = np.uint64(9)
_HINT_MASK: Final = np.uint64(0x7F << 9)
"""Bits of word 0 that are data: all flags but the lowest."""


def encode_histograms(table: Histograms, places: I64, offsets: I64, level: int) -> bytes:
    """Return the section of histograms of a page.

    table: the histograms in order of appearance, at least one and at most `WORDS_MAX` words.  places: int64[H], the
    samples that they are, ascending.  offsets: int64[R+1], of the page's samples.  `ValueError` when the table is
    inconsistent.
    """
    assert len(table.words) <= WORDS_MAX
    layout, layouts, data = _split(table)
    rows = np.searchsorted(offsets, places, side="right") - 1
    first = np.flatnonzero(np.diff(layout, prepend=-1) | np.diff(rows, prepend=-1))
    runs = np.diff(first, append=len(rows))
    columns = arrange(layouts, layout[first], runs, rows[first])
    flat = np.empty(len(data), np.uint64)
    flat[columns.places(np.repeat(np.arange(len(runs)), runs), _ranks(runs))] = data
    integers, scales, patched, patches = _scale(flat.view(np.int64), columns)
    stretches = _stretches(places, int(offsets[-1]))
    numbers = [stretches, layout[first], runs, np.diff(layouts.offsets), patched]
    packed = compress(
        scales.tobytes()
        + b"".join(shuffle(n.astype("<u4")) for n in numbers)
        + shuffle(patches.astype("<u8"))
        + layouts.words.astype("<u8").tobytes(),
        level,
    )
    sizes = (len(stretches), len(runs), len(layouts.offsets) - 1, len(layouts.words), len(scales), len(patched))
    blocks = []
    for a in range(0, len(scales), ROWS_MAX):
        piece = columns.offsets[a : a + ROWS_MAX + 1]
        blocks.append(encode_rows(integers[piece[0] : piece[-1]], piece - piece[0], level))
    return HEADER.pack(*sizes, len(packed)) + packed + b"".join(blocks)


@frozen(eq=False)
class PackedHistograms:
    """The histograms of a parsed page, decompressed but not decoded."""

    _ends: I64
    """Where stretches of samples end; floats and histograms in turn."""
    _before: I64
    """Histograms before each stretch."""
    _run_layouts: I64
    _run_offsets: I64
    _layouts: Layouts
    _columns: Columns
    _scales: U8
    _patched: I64
    _patches: U64
    _blocks: tuple[IntegerRows, ...]

    def __len__(self) -> int:
        return int(self._run_offsets[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        small = 16 * (len(self._ends) + len(self._run_offsets) + len(self._patched)) + len(self._scales)
        return small + self._layouts.nbytes + self._columns.nbytes + sum(b.nbytes for b in self._blocks)

    def find(self, samples: I64) -> tuple[I64, I64]:
        """Return which of some samples of the page are histograms, and the numbers of those histograms."""
        stretch = np.searchsorted(self._ends, samples, side="right")
        at = np.flatnonzero(stretch & 1)
        stretch = stretch[at]
        return at, self._before[stretch] + samples[at] - self._ends[stretch - 1]

    def take(self, numbers: I64) -> Histograms:
        """Return the histograms with these numbers, in this order."""
        runs = np.searchsorted(self._run_offsets, numbers, side="right") - 1
        wanted, columns = None, self._columns
        if len(numbers) < len(self):
            mine = np.zeros(len(self._run_layouts), np.bool_)
            mine[runs] = True
            wanted, columns = columns.of_runs(np.flatnonzero(mine))
        words = self._words(wanted, columns.offsets)
        data = words[columns.places(runs, numbers - self._run_offsets[runs])]
        return _unite(self._layouts, self._run_layouts[runs], data)

    def _words(self, wanted: I64 | None, offsets: I64) -> U64:
        """Return the words of ascending columns, one column after another; offsets: of the result."""
        parts = []
        for i, block in enumerate(self._blocks):
            rows = None
            if wanted is not None:
                a, b = np.searchsorted(wanted, [i * ROWS_MAX, (i + 1) * ROWS_MAX])
                rows = wanted[a:b] - i * ROWS_MAX
            parts.append(block.decode(rows)[0])
        integers = parts[0] if len(parts) == 1 else np.concatenate(parts)
        scales = self._scales if wanted is None else self._scales[wanted]
        decimal = np.flatnonzero(scales != BITS)
        if len(decimal):
            counts = np.diff(offsets)[decimal]
            values = to_floats(cut_rows(integers, offsets[:-1][decimal], counts), scales[decimal], counts)
            integers[spread(offsets[:-1][decimal], counts)] = values.view(np.int64)
        words = integers.view(np.uint64)
        if len(self._patched):
            self._patch(words, wanted, offsets)
        return words

    def _patch(self, words: U64, wanted: I64 | None, offsets: I64) -> None:
        column = np.searchsorted(self._columns.offsets, self._patched, side="right") - 1
        inside = self._patched - self._columns.offsets[column]
        patches = self._patches
        if wanted is not None and len(wanted):
            place = np.minimum(np.searchsorted(wanted, column), len(wanted) - 1)
            mine = wanted[place] == column
            column, inside, patches = place[mine], inside[mine], patches[mine]
        words[offsets[column] + inside] = patches


def decode_histograms(data: memoryview, offsets: I64) -> tuple[PackedHistograms, int]:
    """Return the section at the beginning of `data`, and how many bytes it took; `ValueError` on damage.

    offsets: int64[R+1], of the page's samples.
    """
    if len(data) < HEADER.size:
        raise ValueError("histograms cut short")
    sizes = HEADER.unpack_from(data)
    stretch_count, run_count, layout_count, word_count, column_count, patch_count, packed = sizes
    at, samples = HEADER.size + packed, int(offsets[-1])
    if at > len(data) or max(word_count, column_count, patch_count) > WORDS_MAX:
        raise ValueError("too many words of histograms, or their table cut short")
    if stretch_count > samples + 1 or not 0 < run_count <= samples or layout_count > run_count:
        raise ValueError("more runs, stretches or layouts than histograms")
    small = (stretch_count, run_count, run_count, layout_count, patch_count)
    lengths = [column_count, *(4 * n for n in small), 8 * patch_count, 8 * word_count]
    table = np.frombuffer(decompress(data[HEADER.size : at], sum(lengths)), np.uint8)
    scales, *columns, patches, words = np.split(table, np.cumsum(lengths[:-1]))
    stretches, run_layouts, runs, layout_lengths, patched = (unshuffle(c, "<u4").astype(np.int64) for c in columns)
    layouts = Layouts.parse(offsets_of(layout_lengths), words.view("<u8").astype(np.uint64), WORDS_MAX)
    run_offsets, ends = offsets_of(runs), np.cumsum(stretches)
    before = offsets_of(np.where(np.arange(stretch_count) & 1, stretches, 0))
    if stretch_count == 0 or int(ends[-1]) != samples or int(before[-1]) != int(run_offsets[-1]):
        raise ValueError("stretches and samples differ in number")
    if int(run_layouts.max()) >= layout_count or int(runs.min()) < 1:
        raise ValueError("empty run, or run of an unknown layout")
    if int((runs * layouts.widths[run_layouts]).sum()) > WORDS_MAX:
        raise ValueError("too many words of histograms")
    arranged = arrange(layouts, run_layouts, runs, _rows_of_runs(run_offsets, offsets, ends, before))
    _refuse_scales(scales, arranged)
    blocks = []
    for a in range(0, column_count, ROWS_MAX):
        block, used = decode_rows(data[at:], WORDS_MAX)
        if not np.array_equal(block.counts, np.diff(arranged.offsets[a : a + ROWS_MAX + 1])):
            raise ValueError("columns of histograms have another length than their layouts say")
        blocks.append(block)
        at += used
    if patch_count and (int(patched[-1]) >= int(arranged.offsets[-1]) or (np.diff(patched) <= 0).any()):
        raise ValueError("patches of histograms out of order")
    bits = unshuffle(patches, "<u8").astype(np.uint64)
    found = PackedHistograms(
        ends, before, run_layouts, run_offsets, layouts, arranged, scales, patched, bits, tuple(blocks)
    )
    return found, at


# -- words to layouts and data, and back -----------------------------------------------------------------------


def _split(table: Histograms) -> tuple[I64, Layouts, U64]:
    """Return for each histogram the number of its layout, the distinct layouts, and the data of all histograms."""
    shapes = refuse_inconsistent(table.offsets, table.words)
    mask = data_words(table.offsets, shapes)
    heads = table.words[table.offsets[:-1]]
    data = table.words[mask]
    np.logical_not(mask, out=mask)
    mask[table.offsets[:-1]] = True
    words = table.words[mask]
    starts = offsets_of(2 + shapes.spans + shapes.custom)
    words[starts[:-1]] = heads & ~_HINT_MASK
    numbers, distinct, offsets = share(words.view(np.int64), starts)
    layouts = Layouts.parse(offsets, distinct.view(np.uint64), WORDS_MAX)
    at = offsets_of(layouts.widths[numbers])
    data[at[:-1]] = (heads & _HINT_MASK) >> _HINT_SHIFT
    integer = at[:-1][(heads & INTEGER_FLAG) != 0]
    data[integer + COUNT] -= _rests(data, at)[(heads & INTEGER_FLAG) != 0]
    return numbers, layouts, data


def _unite(layouts: Layouts, numbers: I64, data: U64) -> Histograms:
    """Return the histograms with these layouts and data; the opposite of `_split`."""
    lengths = np.diff(layouts.offsets)[numbers]
    at = offsets_of(layouts.widths[numbers])
    heads = layouts.words[layouts.offsets[:-1]][numbers]
    is_integer = (heads & INTEGER_FLAG) != 0
    data[at[:-1][is_integer] + COUNT] += _rests(data, at)[is_integer]
    offsets = offsets_of(lengths + np.diff(at) - 1)
    heads |= data[at[:-1]] << _HINT_SHIFT & _HINT_MASK
    mask = data_words(offsets, shapes_of(heads))
    words = np.empty(int(offsets[-1]), np.uint64)
    words[mask] = data
    np.logical_not(mask, out=mask)
    mask[offsets[:-1]] = True
    words[mask] = take_rows(layouts.words, layouts.offsets, numbers)
    words[offsets[:-1]] = heads
    return Histograms(offsets, words)


def _rests(data: U64, at: I64) -> U64:
    """Return the zero count plus all buckets of each histogram, modulo 2^64: what an integer count is stored against."""
    if not len(data):
        return data
    total: U64 = np.add.reduceat(data, at[:-1])
    for word in (HINT, COUNT, SUM):
        total -= data[at[:-1] + word]
    return total


# -- small pieces ----------------------------------------------------------------------------------------------


def _ranks(counts: I64) -> I64:
    """Return 0 .. counts[i] - 1 for each run."""
    return spread(np.zeros(len(counts), np.int64), counts)


def _stretches(places: I64, samples: int) -> I64:
    """Return the lengths of stretches of floats and of histograms, in turn, that make up all samples."""
    breaks = np.flatnonzero(np.diff(places) != 1)
    borders = np.empty((len(breaks) + 1, 2), np.int64)
    borders[:, 0] = places[np.concatenate([[0], breaks + 1])]
    borders[:, 1] = places[np.append(breaks, len(places) - 1)] + 1
    flat = borders.reshape(-1)
    return np.diff(flat, prepend=0) if flat[-1] == samples else np.diff(flat, prepend=0, append=samples)


def _rows_of_runs(run_offsets: I64, offsets: I64, ends: I64, before: I64) -> I64:
    """Return the row of the page that each run belongs to; `ValueError` when a run crosses the end of a row."""
    stretch = np.searchsorted(ends, offsets, side="right")
    inside = (stretch & 1).astype(np.bool_) & (stretch < len(ends))
    ranks = before[np.minimum(stretch, len(before) - 1)]
    ranks[inside] += offsets[inside] - ends[stretch[inside] - 1]
    rows = np.searchsorted(ranks, run_offsets[:-1], side="right") - 1
    if (run_offsets[1:] > ranks[rows + 1]).any():
        raise ValueError("run of histograms crosses the end of a row")
    return rows


def _scale(words: I64, columns: Columns) -> tuple[I64, U8, I64, U64]:
    """Return (integers, scales, patched, patches): the words with decimal floats as integers, in place."""
    counts = np.diff(columns.offsets)
    scales = np.full(len(counts), BITS, np.uint8)
    floats = np.flatnonzero(columns.is_float)
    starts = offsets_of(counts[floats])
    scaled = to_integers(take_rows(words, columns.offsets, floats).view(np.float64), starts)
    scales[floats] = scaled.scales
    put_rows(words, columns.offsets, floats, scaled.integers)
    row = np.searchsorted(starts, scaled.patched, side="right") - 1
    return words, scales, columns.offsets[floats[row]] + scaled.patched - starts[row], scaled.patches


def _refuse_scales(scales: U8, columns: Columns) -> None:
    if len(scales) != len(columns.offsets) - 1:
        raise ValueError("columns and layouts of histograms differ in number")
    if ((scales != BITS) & ((scales > SCALE_MAX) | ~columns.is_float)).any():
        raise ValueError("unknown scale of a column of histograms")


assert FIXED == SUM + 1
