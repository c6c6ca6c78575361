"""A page: the samples of neighbouring series, compressed, checked and self-contained.

A page is what a segment reads and a query decodes; the head keeps its sealed rows in the same form.  It holds rows of
samples (CSR, empty rows allowed): the distinct timestamp columns (`timestamps.py`), which row uses which, and the
values as scaled integers (`floats.py`), both as integer rows (`integers.py`); where there are any, also start times,
native histograms (`histograms.py`) and corrections (`near_decimals.py`).  Parsing decompresses; reading then touches only the rows that are wanted.  Format: `docs/format/page.md`.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.columns import SharedTimes
from ..model.histograms import NO_HISTOGRAMS, Histograms, handles, is_handle, numbers_of, without_handles
from ..model.ragged import cut_rows, offsets_of, spread, take_rows
from .compression import DENSE, FAST, compress, decompress
from .floats import BITS, NEAR, SCALE_MAX, to_floats, to_integers
from .histograms import PackedHistograms, decode_histograms, encode_histograms
from .integers import ROWS_MAX, IntegerRows, decode_rows, encode_rows
from .near_decimals import find_near_decimals
from .shuffle import shuffle, unshuffle
from .timestamps import share

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Samples: TypeAlias = tuple[I64, I64, F64, Histograms | None, I64 | None]
"""(offsets, timestamps_ms, values, histograms, starts_ms) in the order and meaning of `model.columns.SeriesColumns`."""

MAGIC: Final = 0x50
VERSION: Final = 1
FLOATS: Final = 1
"""The kind of a page of float64 samples."""
MIXED: Final = 2
"""The kind of a page with start times, with native histograms among the samples, or with corrections."""
STARTS: Final = 1
HISTOGRAMS: Final = 2
CORRECTIONS: Final = 4
"""Bits that say which sections a mixed page has."""
SAMPLES_MAX: Final = 1 << 22
"""Most samples in a page: 64 MiB decoded.  Pages in use have a few ten thousand."""
TIME_MIN: Final = -(1 << 63)
TIME_MAX: Final = (1 << 63) - 1
HEADER: Final = struct.Struct("<BBBBIIIII")
"""magic, version, kind, sections, checksum of the rest, body bytes, rows, patches, bytes of the row table."""


class UnknownPageError(ValueError):
    """A sound page that a newer release wrote."""


def encode_page(
    offsets: I64,
    timestamps_ms: I64,
    values: F64,
    level: int = FAST,
    *,
    histograms: Histograms | None = None,
    starts_ms: I64 | None = None,
) -> bytes:
    """Return the page of rows `[offsets[i]:offsets[i+1]]`.

    offsets: int64[R+1] from 0 to N.  timestamps_ms: int64[N].  values: float64[N].  level: zstd level (see
    `compression`).  histograms: what handles in `values` stand for; only those in use are stored.  starts_ms: int64[N].
    At most `integers.ROWS_MAX` rows, `SAMPLES_MAX` samples and `histograms.WORDS_MAX` words of histograms in use.
    `ValueError` when one of these is inconsistent.
    """
    assert len(values) <= SAMPLES_MAX
    sections, more = 0, b""
    if starts_ms is not None and starts_ms.any():
        sections |= STARTS
        more += encode_rows(starts_ms, offsets, level)
    if histograms is not None:
        values, places, table = _without_histograms(values, offsets, histograms)
        if len(places):
            sections |= HISTOGRAMS
            more += encode_histograms(table, places, offsets, level)
    columns, times, times_offsets = share(timestamps_ms, offsets)
    scaled = to_integers(values, offsets)
    if level >= DENSE:
        scaled, corrections, corrections_offsets = find_near_decimals(values, offsets, scaled)
        if len(corrections):
            sections |= CORRECTIONS
            more += encode_rows(corrections, corrections_offsets, level)
    row_table = scaled.scales.tobytes() + shuffle(columns.astype("<u4"))
    row_table += shuffle(scaled.patched.astype("<u4")) + shuffle(scaled.patches.astype("<u8"))
    packed = compress(row_table, level)
    body = packed + encode_rows(times, times_offsets, level) + encode_rows(scaled.integers, offsets, level) + more
    sizes = (len(body), len(columns), len(scaled.patched), len(packed))
    head = (MAGIC, VERSION, MIXED if sections else FLOATS, sections)
    checksum = zlib.crc32(body, zlib.crc32(struct.pack("<BBBBIIII", *head, *sizes)))
    return HEADER.pack(*head, checksum, *sizes) + body


def _without_histograms(values: F64, offsets: I64, table: Histograms) -> tuple[F64, I64, Histograms]:
    """Return the values, the places of handles among them, and the histograms there.

    A handle is replaced by the float before it in the row, else the first one, else 0: what costs least to store.
    """
    hits = is_handle(values)
    places = np.flatnonzero(hits)
    if not len(places):
        return values, places, NO_HISTOGRAMS
    floats = np.concatenate([[-1], np.flatnonzero(~hits), [len(values)]])
    row = np.searchsorted(offsets, places, side="right") - 1
    after = np.searchsorted(floats, places)
    source = np.where(floats[after - 1] >= offsets[row], floats[after - 1], floats[after])
    filled = values.copy()
    filled[places] = np.where(source < offsets[row + 1], values[np.minimum(source, len(values) - 1)], 0.0)
    numbers = numbers_of(values[places])
    if int(numbers.max()) >= len(table):
        raise ValueError("handle of a histogram that is not in the table")
    return filled, places, table.take(numbers)


def encode_block(timestamps_ms: NDArray[np.integer], values: F64, level: int = FAST) -> bytes:
    """Return the page of rows of equal length: timestamps_ms, values of shape [R, K]; uint32 offsets do as well."""
    rows, k = values.shape
    times = np.ascontiguousarray(timestamps_ms, dtype=np.int64).reshape(-1)
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    return encode_page(np.arange(rows + 1, dtype=np.int64) * k, times, flat, level)


@frozen(eq=False)
class Page:
    """A parsed page, decompressed but not decoded.  counts: int64[R], samples per row."""

    counts: I64
    nbytes: int
    """Bytes of memory that the page occupies."""
    _columns: I64
    _scales: NDArray[np.uint8]
    _patched: I64
    _patches: NDArray[np.uint64]
    _times: IntegerRows
    _integers: IntegerRows
    _starts: IntegerRows | None = None
    _histograms: PackedHistograms | None = None
    _corrections: IntegerRows | None = None

    def read(self, rows: I64 | None = None, mint_ms: int = TIME_MIN, maxt_ms: int = TIME_MAX) -> Samples:
        """Return (offsets, timestamps_ms, values, histograms, starts_ms) of ascending `rows`, all of them by default.

        histograms: what the handles in values stand for, numbered in order of appearance; None where there are none.
        starts_ms: None where the page has none.  Only samples with mint_ms <= time <= maxt_ms; the timestamps of each row must ascend where that leaves some out.
        """
        scales = self._scales if rows is None else self._scales[rows]
        integers, offsets = self._integers.decode(rows)
        if self._integers.length and len(self._times.counts) == 1:
            times = self._times.decode()[0]
            first = int(np.searchsorted(times, mint_ms))
            last = max(int(np.searchsorted(times, maxt_ms, side="right")), first)
            low = np.full(len(scales), first)
            counts = np.full(len(scales), last - first)
            clipped = np.arange(len(scales) + 1) * (last - first)
            integers = integers.reshape(-1, len(times))[:, first:last].reshape(-1)
            times = np.tile(times[first:last], len(scales))
        else:
            low, counts, times = self._times_of(rows, mint_ms, maxt_ms)
            clipped = offsets_of(counts)
            if len(integers) > len(times):
                integers = cut_rows(integers, offsets[:-1] + low, counts)
        values = to_floats(integers, scales, counts)
        if self._corrections is not None:
            self._correct(values, rows, clipped, low)
        if len(self._patched):
            self._patch(values, rows, clipped, low)
        if self._starts is None and self._histograms is None:
            return clipped, times, values, None, None
        return (
            clipped,
            times,
            values,
            self._put_histograms(values, rows, low, counts),
            self._starts_of(rows, low, counts),
        )

    def read_shared(self, rows: I64 | None = None) -> tuple[SharedTimes, I64, F64] | None:
        """Return (timestamps as the columns that rows share, offsets, values) of ascending `rows`, all by default.

        None where the page has start times or native histograms: `read` gives those.
        """
        if self._starts is not None or self._histograms is not None:
            return None
        integers, offsets = self._integers.decode(rows)
        counts = self.counts if rows is None else self.counts[rows]
        values = to_floats(integers, self._scales if rows is None else self._scales[rows], counts)
        nothing_before = np.zeros(len(counts), np.int64)
        if self._corrections is not None:
            self._correct(values, rows, offsets, nothing_before)
        if len(self._patched):
            self._patch(values, rows, offsets, nothing_before)
        times, times_offsets = self._times.decode()
        return (
            SharedTimes(self._columns if rows is None else self._columns[rows], times, times_offsets),
            offsets,
            values,
        )

    def _times_of(self, rows: I64 | None, mint_ms: int, maxt_ms: int) -> tuple[I64, I64, I64]:
        """Return for each row how many samples lie before the range and how many in it; and the times of those."""
        columns, wanted = self._columns, None
        if rows is not None:
            wanted, columns = np.unique(columns[rows], return_inverse=True)
        times, offsets = self._times.decode(wanted)
        low, high = _inside(times, offsets, mint_ms, maxt_ms)
        counts = (high - low)[columns]
        if int(counts.sum()) == int(np.diff(offsets)[columns].sum()):
            return low[columns], counts, take_rows(times, offsets, columns)
        low = low[columns]
        return low, counts, cut_rows(times, offsets[:-1][columns] + low, counts)

    def _correct(self, values: F64, rows: I64 | None, offsets: I64, low: I64) -> None:
        """Add what decimals miss; `low` is how many samples of each row were left out before."""
        assert self._corrections is not None
        near = _is_near(self._scales)
        mine = np.flatnonzero(near if rows is None else near[rows])
        if not len(mine):
            return
        wanted = None if rows is None else (np.cumsum(near) - 1)[rows[mine]]
        corrections, starts = self._corrections.decode(wanted)
        counts = np.diff(offsets)[mine]
        if len(corrections) > int(counts.sum()):
            corrections = cut_rows(corrections, starts[:-1] + low[mine], counts)
        values.view(np.int64)[spread(offsets[:-1][mine], counts)] += corrections

    def _starts_of(self, rows: I64 | None, low: I64, counts: I64) -> I64 | None:
        if self._starts is None:
            return None
        starts, offsets = self._starts.decode(rows)
        return starts if len(starts) == int(counts.sum()) else cut_rows(starts, offsets[:-1] + low, counts)

    def _put_histograms(self, values: F64, rows: I64 | None, low: I64, counts: I64) -> Histograms | None:
        """Put handles into decoded values and return their table; `low` as for `_patch`."""
        if self._histograms is None:
            return None
        values[:] = without_handles(values)  # a float with such bits is not this page's to give away
        firsts = np.cumsum(self.counts) - self.counts
        samples = spread((firsts if rows is None else firsts[rows]) + low, counts)
        at, numbers = self._histograms.find(samples)
        if not len(at):
            return None
        values[at] = handles(0, len(at))
        return self._histograms.take(numbers)

    def _patch(self, values: F64, rows: I64 | None, offsets: I64, low: I64) -> None:
        """Put the bits of patched samples in place; `low` is how many samples of each row were left out before."""
        starts = np.cumsum(self.counts) - self.counts
        row = np.searchsorted(starts, self._patched, side="right") - 1
        inside = self._patched - starts[row]
        bits = self._patches
        if rows is not None:
            place = np.full(len(self.counts), -1, np.int64)
            place[rows] = np.arange(len(rows))
            row = place[row]
            mine = row >= 0
            row, inside, bits = row[mine], inside[mine], bits[mine]
        at = offsets[row] + inside - low[row]
        mine = (inside >= low[row]) & (at < offsets[row + 1])
        values.view(np.uint64)[at[mine]] = bits[mine]


def _is_near(scales: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (scales >= NEAR) & (scales <= NEAR + SCALE_MAX)


def _inside(times: I64, offsets: I64, mint_ms: int, maxt_ms: int) -> tuple[I64, I64]:
    """Return for each ascending column the positions (first, last + 1) of the times in the inclusive range."""
    counts = np.diff(offsets)
    if mint_ms == TIME_MIN and maxt_ms == TIME_MAX:
        return np.zeros_like(counts), counts
    low, high = (
        np.diff(np.concatenate([[0], np.cumsum(where)])[offsets]) for where in (times < mint_ms, times <= maxt_ms)
    )
    return low, np.maximum(high, low)


def decode_page(data: memoryview | bytes) -> Page:
    """Return the page that `data` holds; `ValueError` when it is damaged, `UnknownPageError` when it is newer."""
    view = memoryview(data)
    if len(view) < HEADER.size:
        raise ValueError("page cut short")
    magic, version, kind, sections, checksum, body, rows, patches, packed = HEADER.unpack_from(view)
    if magic != MAGIC or body != len(view) - HEADER.size:
        raise ValueError("not a page, or of another length")
    if zlib.crc32(view[HEADER.size :], zlib.crc32(view[8 : HEADER.size], zlib.crc32(view[:4]))) != checksum:
        raise ValueError("checksum does not fit")
    if version != VERSION or kind not in (FLOATS, MIXED):
        raise UnknownPageError(f"page of version {version}, kind {kind} is not known to this release")
    if kind == MIXED and not 0 < sections <= STARTS | HISTOGRAMS | CORRECTIONS:
        raise UnknownPageError(f"page whose sections {sections} are not known to this release")
    at = HEADER.size + packed
    if rows > ROWS_MAX or at > len(view):
        raise ValueError("too many rows, or row table cut short")
    table_end = at
    times, used = decode_rows(view[at:], SAMPLES_MAX)
    at += used
    integers, used = decode_rows(view[at:], SAMPLES_MAX)
    at += used
    total = int(integers.counts.sum())
    if patches > total:
        raise ValueError("more patches than samples")
    table = np.frombuffer(decompress(view[HEADER.size : table_end], 5 * rows + 12 * patches), np.uint8)
    scales = table[:rows]
    columns = unshuffle(table[rows : 5 * rows], "<u4").astype(np.int64)
    patched = unshuffle(table[5 * rows : 5 * rows + 4 * patches], "<u4").astype(np.int64)
    bits = unshuffle(table[5 * rows + 4 * patches :], "<u8").astype(np.uint64)
    _validate(rows, scales, columns, patched, times, integers)
    more = _decode_sections(view[at:], sections if kind == MIXED else 0, integers.counts, _is_near(scales))
    memory = times.nbytes + integers.nbytes + 9 * rows + 16 * patches
    memory += sum(part.nbytes for part in more if part is not None)
    return Page(integers.counts, memory, columns, scales, patched, bits, times, integers, *more)


def _decode_sections(
    data: memoryview, sections: int, counts: I64, near: NDArray[np.bool_]
) -> tuple[IntegerRows | None, PackedHistograms | None, IntegerRows | None]:
    """Return start times, histograms and corrections, which `data` holds to its end."""
    starts = histograms = corrections = None
    if sections & STARTS:
        starts, used = decode_rows(data, SAMPLES_MAX)
        data = data[used:]
        if not np.array_equal(starts.counts, counts):
            raise ValueError("a row and its start times differ in length")
    if sections & HISTOGRAMS:
        histograms, used = decode_histograms(data, offsets_of(counts))
        data = data[used:]
    if sections & CORRECTIONS:
        corrections, used = decode_rows(data, SAMPLES_MAX)
        data = data[used:]
    if not np.array_equal(counts[near], () if corrections is None else corrections.counts):
        raise ValueError("a row and its corrections differ in length")
    if len(data):
        raise ValueError("bytes left over")
    return starts, histograms, corrections


def _validate(
    rows: int, scales: NDArray[np.uint8], columns: I64, patched: I64, times: IntegerRows, integers: IntegerRows
) -> None:
    if len(integers.counts) != rows:
        raise ValueError("row table and values differ in length")
    if rows and (int(columns.max()) >= len(times.counts) or (times.counts[columns] != integers.counts).any()):
        raise ValueError("a row and its timestamps differ in length")
    if ((scales > SCALE_MAX) & (scales != BITS) & ~_is_near(scales)).any():
        raise ValueError("unknown scale")
    if len(patched) and (int(patched[-1]) >= int(integers.counts.sum()) or (np.diff(patched) <= 0).any()):
        raise ValueError("patches out of order")
