"""Readers of chunks, bit by bit, written from the format alone: what the encoders are tested against."""

from __future__ import annotations

import math
import struct
from itertools import accumulate

from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint

HINTS = {0x00: ResetHint.UNKNOWN, 0x40: ResetHint.NO, 0x80: ResetHint.YES, 0xC0: ResetHint.GAUGE}


class Bits:
    """Bytes as bits, the most significant first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.at = int.from_bytes(data, "big"), 8 * len(data), 0

    def take(self, width: int) -> int:
        """Return the next bits as an unsigned number."""
        assert self.at + width <= self.size, "the chunk is cut short"
        self.at += width
        return self.data >> (self.size - self.at) & (1 << width) - 1

    def double(self) -> float:
        """Return the next 64 bits as a float."""
        return double(self.take(64))

    def uvarint(self) -> int:
        """Return a varint."""
        value = shift = 0
        while True:
            byte = self.take(8)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def ones(self, most: int) -> int:
        """Return how many ones come before the next zero, which is taken too."""
        count = 0
        while count < most and self.take(1):
            count += 1
        return count

    def signed(self, width: int) -> int:
        """Return a number whose lowest value is left out in favour of one above."""
        value = self.take(width)
        return value - (1 << width) if value > 1 << (width - 1) else value

    def varbit_unsigned(self) -> int:
        """Return a number of the histogram chunks."""
        width = (0, 3, 6, 9, 12, 18, 25, 56, 64)[self.ones(8)]
        return self.take(width)

    def varbit(self) -> int:
        """Return a signed number of the histogram chunks."""
        width = (0, 3, 6, 9, 12, 18, 25, 56, 64)[self.ones(8)]
        if width == 64:
            value = self.take(64)
            return value - (1 << 64) if value >> 63 else value
        return self.signed(width) if width else 0


class Xor:
    """A float told by what differs from the one before."""

    def __init__(self, first: float) -> None:
        self.bits, self.leading, self.significant = int.from_bytes(struct.pack(">d", first), "big"), 0, 0

    def read(self, bits: Bits) -> float:
        """Return the next value."""
        if bits.take(1):
            if bits.take(1):
                self.leading, self.significant = bits.take(5), bits.take(6) or 64
            trailing = 64 - self.leading - self.significant
            self.bits ^= bits.take(self.significant) << trailing
        return double(self.bits)


def double(bits: int) -> float:
    """Return the float of 64 bits."""
    return float(struct.unpack(">d", bits.to_bytes(8, "big"))[0])


def read_xor(chunk: bytes) -> list[tuple[int, float]]:
    """Return the samples of an XOR chunk."""
    count, bits = int.from_bytes(chunk[:2], "big"), Bits(chunk[2:])
    raw = bits.uvarint()
    time = raw >> 1 ^ -(raw & 1)
    value = bits.double()
    out, xor, delta = [(time, value)], Xor(value), 0
    for i in range(1, count):
        if i == 1:
            delta = bits.uvarint()
        else:
            width = (0, 14, 17, 20, 64)[bits.ones(4)]
            if width == 64:
                again = bits.take(64)
                delta += again - (1 << 64) if again >> 63 else again
            elif width:
                delta += bits.signed(width)
        time += delta
        out.append((time, xor.read(bits)))
    assert bits.size - bits.at < 8
    return out


def read_histograms(chunk: bytes, is_integer: bool) -> list[tuple[int, Histogram]]:
    """Return the samples of a histogram chunk; after the first they have the hint that readers give them."""
    count, hint, bits = int.from_bytes(chunk[:2], "big"), HINTS[chunk[2]], Bits(chunk[3:])
    layout = read_layout(bits)
    read = read_integers if is_integer else read_floats
    out = []
    for i, (time, total, row) in enumerate(read(bits, count, layout)):
        later = hint if hint is ResetHint.GAUGE or i == 0 else ResetHint.NO
        out.append((time, histogram_of(layout, total, row, later, is_integer)))
    assert bits.size - bits.at < 8
    return out


def read_layout(bits: Bits) -> tuple[int, float, list[tuple[int, int]], list[tuple[int, int]], tuple[float, ...]]:
    """Return schema, zero threshold, spans of both sides and custom bounds."""
    byte = bits.take(8)
    threshold = 0.0 if byte == 0 else bits.double() if byte == 255 else math.ldexp(0.5, byte - 243)
    schema = bits.varbit()
    sides = []
    for _ in range(2):
        spans = []
        for _ in range(bits.varbit_unsigned()):
            length = bits.varbit_unsigned()
            spans.append((bits.varbit(), length))
        sides.append(spans)
    bounds = []
    if schema == CUSTOM_SCHEMA:
        for _ in range(bits.varbit_unsigned()):
            scaled = bits.varbit_unsigned()
            bounds.append((scaled - 1) / 1000 if scaled else bits.double())
    return schema, threshold, sides[0], sides[1], tuple(bounds)


def bucket_counts(layout):
    """Return how many buckets each side has."""
    return [sum(length for _, length in layout[i]) for i in (2, 3)]


def read_integers(bits: Bits, count: int, layout):
    """Yield (time, sum, [count, zero count, buckets...])."""
    positive, negative = bucket_counts(layout)
    last, change, xor = [], [], None
    for i in range(count):
        if i == 0:
            head = [bits.varbit(), bits.varbit_unsigned(), bits.varbit_unsigned()]
            total = bits.double()
            last = head + [bits.varbit() for _ in range(positive + negative)]
            change, xor = [0] * len(last), Xor(total)
        else:
            again = [bits.varbit() for _ in range(3)]
            total = xor.read(bits)
            again += [bits.varbit() for _ in range(positive + negative)]
            change = [c + a for c, a in zip(change, again, strict=True)]
            last = [v + c for v, c in zip(last, change, strict=True)]
        buckets = [*accumulate(last[3 : 3 + positive]), *accumulate(last[3 + positive :])]
        yield last[0], total, [last[1], last[2], *buckets]


def read_floats(bits: Bits, count: int, layout):
    """Yield (time, sum, [count, zero count, buckets...])."""
    size = 3 + sum(bucket_counts(layout))
    time, delta = bits.varbit(), 0
    row = [bits.double() for _ in range(size)]
    xors = [Xor(v) for v in row]
    for i in range(count):
        if i:
            delta += bits.varbit()
            time += delta
            row = [xor.read(bits) for xor in xors]
        yield time, row[2], [row[0], row[1], *row[3:]]


def histogram_of(layout, total: float, row, hint: ResetHint, is_integer: bool) -> Histogram:
    """Return the value of a sample."""
    schema, threshold, positive, negative, bounds = layout
    at = 2 + bucket_counts(layout)[0]
    return Histogram(
        schema, threshold, row[1], row[0], total, tuple(positive), tuple(row[2:at]), tuple(negative), tuple(row[at:]),
        bounds, hint, is_integer,
    )  # fmt: skip
