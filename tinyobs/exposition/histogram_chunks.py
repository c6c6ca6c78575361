"""Native histograms -> chunks as Prometheus stores and streams them, integer and float ones.

All histograms of a chunk have one layout (schema, zero threshold, spans, custom bounds), which stands at its beginning,
and but for gauges none after the first may be a counter reset: readers take that for granted.  `split` cuts samples
accordingly, `encode` writes one chunk.  Source: prometheus tsdb/chunkenc/histogram.go, float_histogram.go,
histogram_meta.go and varbit.go.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from ..model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint
from .bits import pack
from .xor_chunks import CHUNK_SAMPLES, LEADING_MAX

_FLAGS: Final = {ResetHint.UNKNOWN: 0x00, ResetHint.NO: 0x40, ResetHint.YES: 0x80, ResetHint.GAUGE: 0xC0}
_VARBITS: Final = ((3, 0b10, 2), (6, 0b110, 3), (9, 0b1110, 4), (12, 0b11110, 5), (18, 0b111110, 6))
_WIDE: Final = ((25, 0b1111110, 7), (56, 0b11111110, 8))
_BOUND_MAX: Final = 33_554_430
"""The largest custom bound in thousandths that is written as an integer."""
_double = struct.Struct(">d")
_bits = struct.Struct(">Q")


def split(histograms: Sequence[Histogram]) -> Iterator[tuple[int, int, ResetHint]]:
    """Yield (first, end, hint of the first) of the chunks that samples in order of time make up."""
    first, hint = 0, histograms[0].reset_hint if histograms else ResetHint.UNKNOWN
    for i, (before, h) in enumerate(pairwise(histograms), 1):
        reset = h.reset_hint is not ResetHint.GAUGE and _is_reset(before, h)
        if reset or i - first == CHUNK_SAMPLES or _layout(before) != _layout(h):
            yield first, i, hint
            first, hint = i, ResetHint.YES if reset else h.reset_hint
    if histograms:
        yield first, len(histograms), hint


def encode(times: Sequence[int], histograms: Sequence[Histogram], hint: ResetHint) -> bytes:
    """Return the chunk of samples that `split` put together."""
    writer = _Writer()
    head = histograms[0]
    _write_layout(writer, head)
    if head.is_integer:
        _write_integers(writer, times, histograms)
    else:
        _write_floats(writer, times, histograms)
    return len(times).to_bytes(2, "big") + bytes((_FLAGS[hint],)) + writer.bytes()


def _layout(h: Histogram) -> tuple[object, ...]:
    gauge = h.reset_hint is ResetHint.GAUGE
    return (
        *(h.is_integer, gauge, h.schema, h.zero_threshold),
        *(h.positive_spans, h.negative_spans, h.custom_values),
    )


def _is_reset(before: Histogram, h: Histogram) -> bool:
    if h.reset_hint is ResetHint.YES:
        return True
    old = (before.count, before.zero_count, *before.positive_buckets, *before.negative_buckets)
    new = (h.count, h.zero_count, *h.positive_buckets, *h.negative_buckets)
    return _layout(before) == _layout(h) and any(b < a for a, b in zip(old, new, strict=True))


class _Writer:
    """Collects codes."""

    def __init__(self) -> None:
        self._codes: list[int] = []
        self._widths: list[int] = []

    def write(self, code: int, width: int) -> None:
        """Add the lower bits of a code."""
        self._codes.append(code & (1 << width) - 1)
        self._widths.append(width)

    def signed(self, n: int) -> None:
        """Add a signed number in as few bits as its class takes; one beyond 64 bits wraps, as in Go."""
        n = (n + (1 << 63)) % (1 << 64) - (1 << 63)
        self._classed(n, [-(1 << (w - 1)) + 1 <= n <= 1 << (w - 1) for w, _, _ in (*_VARBITS, *_WIDE)])

    def unsigned(self, n: int) -> None:
        """Add an unsigned number likewise."""
        self._classed(n, [n < 1 << w for w, _, _ in (*_VARBITS, *_WIDE)])

    def double(self, value: float) -> None:
        """Add the 64 bits of a float."""
        self.write(_bits_of(value), 64)

    def bytes(self) -> bytes:
        """Return what was added."""
        codes = np.array(self._codes, np.uint64)
        return pack(codes, np.array(self._widths, np.int64), np.zeros(1, np.int64))[0]

    def _classed(self, n: int, fits: list[bool]) -> None:
        if n == 0:
            self.write(0, 1)
            return
        for (width, prefix, size), fit in zip((*_VARBITS, *_WIDE), fits, strict=True):
            if fit:
                self.write(prefix, size)
                self.write(n, width)
                return
        self.write(0xFF, 8)
        self.write(n, 64)


class _Xor:
    """Writes floats as what differs from the float before; `window` is (leading, trailing) zeros, as last told."""

    def __init__(self, writer: _Writer, first: float) -> None:
        self._writer, self._last = writer, _bits_of(first)
        self._window: tuple[int, int] | None = None

    def write(self, value: float) -> None:
        """Add the next float."""
        new = _bits_of(value)
        xor, self._last = new ^ self._last, new
        if not xor:
            self._writer.write(0, 1)
            return
        leading, trailing = min(64 - xor.bit_length(), LEADING_MAX), (xor & -xor).bit_length() - 1
        if self._window is not None and leading >= self._window[0] and trailing >= self._window[1]:
            leading, trailing = self._window
            self._writer.write(0b10, 2)
        else:
            self._window = leading, trailing
            self._writer.write(0b11 << 11 | leading << 6 | (64 - leading - trailing) & 63, 13)
        self._writer.write(xor >> trailing, 64 - leading - trailing)


def _write_layout(writer: _Writer, h: Histogram) -> None:
    threshold, exponent = math.frexp(h.zero_threshold)
    if h.zero_threshold == 0:
        writer.write(0, 8)
    elif threshold == 0.5 and -242 <= exponent <= 11:
        writer.write(exponent + 243, 8)
    else:
        writer.write(255, 8)
        writer.double(h.zero_threshold)
    writer.signed(h.schema)
    for spans in (h.positive_spans, h.negative_spans):
        writer.unsigned(len(spans))
        for offset, length in spans:
            writer.unsigned(length)
            writer.signed(offset)
    if h.schema == CUSTOM_SCHEMA:
        writer.unsigned(len(h.custom_values))
        for bound in h.custom_values:
            _write_bound(writer, bound)


def _write_bound(writer: _Writer, bound: float) -> None:
    """Write a custom bound: thousandths where these are exactly it, else a zero and the float."""
    scaled = bound * 1000
    if 0 <= scaled <= _BOUND_MAX and scaled == math.floor(scaled) and scaled / 1000 == bound:
        writer.unsigned(int(scaled) + 1)
    else:
        writer.write(0, 1)
        writer.double(bound)


def _write_integers(writer: _Writer, times: Sequence[int], histograms: Sequence[Histogram]) -> None:
    """Write the times, counts and buckets (as differences) as differences of differences, sums as floats."""
    xor = _Xor(writer, histograms[0].sum)
    last: list[int] = []
    change: list[int] = []
    for i, (time, h) in enumerate(zip(times, histograms, strict=True)):
        row = [
            time,
            int(h.count),
            int(h.zero_count),
            *_differences(h.positive_buckets),
            *_differences(h.negative_buckets),
        ]
        if i == 0:
            writer.signed(time)
            writer.unsigned(row[1])
            writer.unsigned(row[2])
            writer.double(h.sum)
            for n in row[3:]:
                writer.signed(n)
            change = [0] * len(row)
        else:
            deltas = [b - a for a, b in zip(last, row, strict=True)]
            again = [b - a for a, b in zip(change, deltas, strict=True)]
            for n in again[:3]:
                writer.signed(n)
            xor.write(h.sum)
            for n in again[3:]:
                writer.signed(n)
            change = deltas
        last = row


def _write_floats(writer: _Writer, times: Sequence[int], histograms: Sequence[Histogram]) -> None:
    """Write times as differences of differences, and all else as floats."""
    rows = [(h.count, h.zero_count, h.sum, *h.positive_buckets, *h.negative_buckets) for h in histograms]
    writer.signed(times[0])
    for value in rows[0]:
        writer.double(value)
    xors = [_Xor(writer, value) for value in rows[0]]
    delta = 0
    for (before, time), row in zip(pairwise(times), rows[1:], strict=True):
        writer.signed(time - before - delta)
        delta = time - before
        for xor, value in zip(xors, row, strict=True):
            xor.write(value)


def _differences(buckets: Sequence[float]) -> list[int]:
    return [int(b) - int(a) for a, b in pairwise((0, *buckets))]


def _bits_of(value: float) -> int:
    found: int = _bits.unpack(_double.pack(value))[0]
    return found
