"""Native histograms as samples: one value type, and the table in which many travel.

A histogram sample stands among float samples: its place in a `values` column holds a *handle*, a NaN whose lower 48
bits are the number of the histogram in the table that travels with the column.  Filtering, sorting and joining of
samples therefore treat all samples alike; only where columns with different tables come together are handles
renumbered (`Histograms.joined`).  No arithmetic makes such a NaN; a float sample that carries these bits is stored as
the ordinary NaN (`without_handles`).

In a table each histogram is a run of 64-bit words, exact for integers and floats:

    word 0      schema (low 8 bits, signed), flags (8), positive spans (16), negative spans (16), custom values (16)
    words 1-4   zero threshold, zero count, count, sum
    then        positive spans, negative spans (low 32 bits: offset, signed; high 32 bits: length),
                positive buckets, negative buckets (absolute counts), custom values

Flags: bit 0 integer counts, bits 1-2 the counter reset hint.  Counts (zero count, count, buckets) are unsigned
integers in an integer histogram and float64 in a float histogram; all other numbers are float64.  Meaning of the
fields: prometheus model/histogram and prompb/types.proto.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .histogram_words import (
    FIXED_WORDS,
    INTEGER_FLAG,
    Buckets,
    buckets_of,
    counts_at,
    refuse_inconsistent,
    with_float_counts,
)
from .ragged import offsets_of, take_rows
from .staleness import NORMAL_NAN_BITS, STALE_NAN

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

HANDLE_PREFIX: Final = 0xFFFD
"""The upper 16 bits of a handle: a quiet NaN with the sign set, which no processor and no program makes."""
DIGEST_PREFIX: Final = 0xFFFE
"""The upper 16 bits of what stands for a histogram where samples are compared (`comparable_bits`)."""
CUSTOM_SCHEMA: Final = -53
"""The schema of histograms with custom bucket bounds (`custom_values`)."""
PARTS_MAX: Final = (1 << 16) - 1
"""Spans on one side, and custom values, that a histogram may have."""
BUCKETS_MAX: Final = 1 << 20
"""Buckets that a histogram may have."""

_INDEX_MASK: Final = np.uint64((1 << 48) - 1)
_HEAD = struct.Struct("<bBHHH")
_SPAN = struct.Struct("<iI")


class ResetHint(IntEnum):
    """What the sender knows of a counter reset before this sample; the numbers are those of the wire formats."""

    UNKNOWN = 0
    YES = 1
    NO = 2
    GAUGE = 3


@frozen
class Histogram:
    """One native histogram.

    Spans are (offset, length): empty buckets before the span, since the span before it, and buckets in it.  Buckets are
    absolute counts, not deltas.  Counts are `int` in an integer histogram (`is_integer`), else `float`.
    """

    schema: int
    zero_threshold: float
    zero_count: float
    count: float
    sum: float
    positive_spans: tuple[tuple[int, int], ...] = ()
    positive_buckets: tuple[float, ...] = ()
    negative_spans: tuple[tuple[int, int], ...] = ()
    negative_buckets: tuple[float, ...] = ()
    custom_values: tuple[float, ...] = ()
    reset_hint: ResetHint = ResetHint.UNKNOWN
    is_integer: bool = False


@frozen(eq=False)
class Histograms:
    """Native histograms by number: histogram `i` is `words[offsets[i]:offsets[i+1]]`.  Never changed in place."""

    offsets: I64
    words: U64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self.offsets.nbytes + self.words.nbytes)

    def take(self, numbers: I64) -> Histograms:
        """Return the histograms with these numbers, in this order."""
        if len(numbers) == len(self) and (numbers == np.arange(len(numbers))).all():
            return self
        lengths = np.diff(self.offsets)[numbers]
        return Histograms(offsets_of(lengths), take_rows(self.words, self.offsets, numbers))

    def one(self, number: int) -> Histogram:
        """Return one histogram."""
        return unpack(self.words[int(self.offsets[number]) : int(self.offsets[number + 1])].tobytes())

    def validate(self) -> None:
        """Raise `ValueError` when the words do not make up the histograms that they say they are."""
        refuse_inconsistent(self.offsets, self.words)

    def schemas(self) -> I64:
        """Return int64[H], the schema of each histogram."""
        return self._fixed(0).astype(np.uint8).view(np.int8).astype(np.int64)

    def reset_hints(self) -> I64:
        """Return int64[H], the number of the `ResetHint` of each histogram."""
        return (self._fixed(0) >> np.uint64(9) & np.uint64(3)).astype(np.int64)

    def are_integers(self) -> NDArray[np.bool_]:
        """Return bool[H], which histograms have integer counts."""
        found: NDArray[np.bool_] = (self._fixed(0) & INTEGER_FLAG) != 0
        return found

    def zero_thresholds(self) -> F64:
        """Return float64[H], the end of the zero bucket of each histogram."""
        return self._fixed(1).view(np.float64)

    def zero_counts(self) -> F64:
        """Return float64[H], the count of the zero bucket of each histogram."""
        return self._counts(2)

    def counts(self) -> F64:
        """Return float64[H], the number of observations of each histogram."""
        return self._counts(3)

    def sums(self) -> F64:
        """Return float64[H], the sum of observations of each histogram; of a staleness marker it is that marker."""
        return self._fixed(4).view(np.float64)

    def buckets(self) -> Buckets:
        """Return the buckets of all histograms."""
        return buckets_of(self.offsets, self.words)

    def to_float(self) -> Histograms:
        """Return the same histograms with all counts as floats; counts above 2^53 are rounded."""
        return Histograms(self.offsets, with_float_counts(self.offsets, self.words))

    def with_reset_hints(self, hints: I64) -> Histograms:
        """Return the same histograms with other hints.  hints: int64[H], numbers of `ResetHint`."""
        words = self.words.copy()
        words[self.offsets[:-1]] &= ~np.uint64(3 << 9)
        words[self.offsets[:-1]] |= hints.astype(np.uint64) << np.uint64(9)
        return Histograms(self.offsets, words)

    def _fixed(self, word: int) -> U64:
        return self.words[self.offsets[:-1] + word]

    def _counts(self, word: int) -> F64:
        places = self.offsets[:-1] + word
        return counts_at(self.offsets, self.words, places, np.ones(len(places), np.int64))

    def digests(self) -> U64:
        """Return for each histogram 48 bits of the BLAKE2 digest of its words below `DIGEST_PREFIX`."""
        data, blake = self.words.astype("<u8", copy=False).tobytes(), hashlib.blake2b
        digests = [blake(data[a:b], digest_size=8).digest() for a, b in pairwise((self.offsets * 8).tolist())]
        found = np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
        return (found & _INDEX_MASK) | np.uint64(DIGEST_PREFIX << 48)


NO_HISTOGRAMS: Final = Histograms(np.zeros(1, np.int64), np.empty(0, np.uint64))


def histograms_of(histograms: Iterable[Histogram]) -> Histograms:
    """Return the table of some histograms, in order."""
    return from_blobs([pack(h) for h in histograms])


def from_blobs(blobs: Sequence[bytes]) -> Histograms:
    """Return the table of packed histograms; `ValueError` when one is not made of whole words."""
    lengths = np.fromiter(map(len, blobs), np.int64, len(blobs))
    if (lengths & 7).any():
        raise ValueError("histogram of broken words")
    lengths //= 8
    return Histograms(offsets_of(lengths), np.frombuffer(b"".join(blobs), "<u8").astype(np.uint64, copy=False))


def handles(first: int, last: int) -> F64:
    """Return the handles of the histograms number `first` .. `last - 1`, to stand in a column of values."""
    return (np.arange(first, last, dtype=np.uint64) | np.uint64(HANDLE_PREFIX << 48)).view(np.float64)


def is_handle(values: F64) -> NDArray[np.bool_]:
    """Return where a value stands for a histogram."""
    found: NDArray[np.bool_] = (np.ascontiguousarray(values).view(np.uint64) >> np.uint64(48)) == HANDLE_PREFIX
    return found


def numbers_of(values: F64) -> I64:
    """Return the number of the histogram behind each value, -1 for floats."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    return np.where(is_handle(values), (bits & _INDEX_MASK).astype(np.int64), np.int64(-1))


def shifted(values: F64, by: int) -> F64:
    """Return the values with all handles renumbered upwards: their table now stands behind `by` other histograms."""
    if not by:
        return values
    bits = np.ascontiguousarray(values).view(np.uint64)
    return (bits + np.where(is_handle(values), np.uint64(by), np.uint64(0))).view(np.float64)


def renumbered(values: F64) -> tuple[F64, I64]:
    """Return the values with handles 0, 1, 2 ... in order of appearance, and the numbers they had before.

    For columns that were cut from longer ones: `table.take(numbers)` is the table of just these.
    """
    at = np.flatnonzero(is_handle(values))
    if not len(at):
        return values, np.empty(0, np.int64)
    numbers = numbers_of(values[at])
    out = values.copy()
    out[at] = handles(0, len(at))
    return out, numbers


def without_handles(values: F64) -> F64:
    """Return float samples as they may be stored: bits that would mean a histogram become the ordinary NaN."""
    hits = is_handle(values)
    if not hits.any():
        return values
    bits = values.view(np.uint64).copy()
    bits[hits] = NORMAL_NAN_BITS
    return bits.view(np.float64)


def joined(columns: Sequence[tuple[F64, Histograms | None]]) -> tuple[F64, Histograms | None]:
    """Return columns of values with their tables as one column with one table; without any table, None."""
    values = [v for v, _ in columns]
    tables = [t for _, t in columns if t is not None]
    if tables:
        before = 0
        for i, (v, table) in enumerate(columns):
            if table is not None:
                values[i] = shifted(v, before)
                before += len(table)
    together = values[0] if len(values) == 1 else np.concatenate(values)
    return together, stacked(tables) if tables else None


def stacked(tables: Sequence[Histograms]) -> Histograms:
    """Return the histograms of all tables, one table after the other."""
    if len(tables) == 1:
        return tables[0]
    lengths = np.concatenate([np.diff(t.offsets) for t in tables])
    return Histograms(offsets_of(lengths), np.concatenate([t.words for t in tables]))


def comparable_bits(values: F64, table: Histograms | None) -> U64:
    """Return bits that are equal where samples are: those of the float, or a digest of the histogram.

    Two different histograms have the same digest with a chance of one in 2^48.
    """
    bits = np.ascontiguousarray(values).view(np.uint64)
    if table is None:
        return bits
    at = np.flatnonzero(is_handle(values))
    if len(at):
        bits = bits.copy()
        bits[at] = table.take(numbers_of(values[at])).digests()
    return bits


# -- one histogram ---------------------------------------------------------------------------------------------


def pack(h: Histogram) -> bytes:
    """Return the words of a histogram as little-endian bytes; `ValueError` when it is inconsistent or too large."""
    _refuse_inconsistent(h)
    flags = int(h.is_integer) | int(h.reset_hint) << 1
    kind = "Q" if h.is_integer else "d"
    counts = (*h.positive_buckets, *h.negative_buckets)
    try:
        head = _HEAD.pack(h.schema, flags, len(h.positive_spans), len(h.negative_spans), len(h.custom_values))
        fixed = struct.pack(f"<d{kind}{kind}d", h.zero_threshold, h.zero_count, h.count, h.sum)
        spans = b"".join(_SPAN.pack(*s) for s in (*h.positive_spans, *h.negative_spans))
        buckets = struct.pack(f"<{len(counts)}{kind}", *counts)
        return head + fixed + spans + buckets + struct.pack(f"<{len(h.custom_values)}d", *h.custom_values)
    except (struct.error, OverflowError) as e:
        raise ValueError(f"histogram with a number out of range: {e}") from None


def unpack(blob: bytes | memoryview) -> Histogram:
    """Return the histogram of packed words; `ValueError` when they are inconsistent."""
    try:
        schema, flags, positive, negative, custom = _HEAD.unpack_from(blob)
        kind = "Q" if flags & 1 else "d"
        zero_threshold, zero_count, count, total = struct.unpack_from(f"<d{kind}{kind}d", blob, 8)
        at = 8 * FIXED_WORDS
        spans = [_SPAN.unpack_from(blob, at + 8 * i) for i in range(positive + negative)]
        at += 8 * len(spans)
        in_positive, in_negative = (sum(length for _, length in s) for s in (spans[:positive], spans[positive:]))
        if len(blob) != at + 8 * (in_positive + in_negative + custom):
            raise ValueError("spans and buckets differ in number")
        buckets = struct.unpack_from(f"<{in_positive + in_negative}{kind}", blob, at)
        values = struct.unpack_from(f"<{custom}d", blob, at + 8 * len(buckets))
    except struct.error as e:
        raise ValueError(f"histogram cut short: {e}") from None
    return Histogram(
        schema,
        zero_threshold,
        zero_count,
        count,
        total,
        tuple(spans[:positive]),
        buckets[:in_positive],
        tuple(spans[positive:]),
        buckets[in_positive:],
        values,
        ResetHint(flags >> 1 & 3),
        bool(flags & 1),
    )


def stale_histogram() -> Histogram:
    """Return the staleness marker of a series of histograms: a float histogram whose sum is the marker."""
    return Histogram(0, 0.0, 0.0, 0.0, STALE_NAN)


def _refuse_inconsistent(h: Histogram) -> None:
    for spans, buckets in ((h.positive_spans, h.positive_buckets), (h.negative_spans, h.negative_buckets)):
        if sum(length for _, length in spans) != len(buckets):
            raise ValueError("spans and buckets differ in number")
        if len(spans) > PARTS_MAX or len(buckets) > BUCKETS_MAX:
            raise ValueError("too many spans or buckets")
    if len(h.custom_values) > PARTS_MAX:
        raise ValueError("too many custom values")
    if not -128 <= h.schema <= 127:
        raise ValueError(f"schema {h.schema} is out of range")
