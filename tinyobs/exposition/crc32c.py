"""CRC-32C (Castagnoli), the checksum of streamed remote read.

The standard library has another polynomial only.  Long data are taken as rows that are worked through side by side, two
bytes at a time, and the checksums of neighbours are then joined: what zeros behind data make of a checksum is a linear
map.  Rows of zeros before the data change nothing, so that the number of rows can be a power of two.
Source of the parameters: RFC 3720, appendix B.4.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]

POLYNOMIAL: Final = 0x82F63B78
"""Reversed."""
ROW_BYTES: Final = 64
LONG_BYTES_MIN: Final = 1024
"""Data from this length on are worked through in rows."""
_FULL: Final = 0xFFFF_FFFF


def crc32c(data: bytes) -> int:
    """Return the checksum of some bytes."""
    if len(data) < LONG_BYTES_MIN:
        return _step(data, _FULL) ^ _FULL
    count = len(data) // ROW_BYTES
    height = 1 << (count - 1).bit_length()
    words = np.zeros((height, ROW_BYTES // 2), np.uint32)
    words[height - count :] = np.frombuffer(data, "<u2", count * ROW_BYTES // 2).reshape(count, -1)
    registers = np.zeros(height, np.uint32)
    registers[height - count] = _FULL
    table = _word_table()
    for column in np.ascontiguousarray(words.T):
        registers = table[(registers ^ column) & 0xFFFF] ^ (registers >> 16)
    level = 0
    while len(registers) > 1:
        registers = _apply(_after_rows(level), registers[0::2]) ^ registers[1::2]
        level += 1
    return _step(data[count * ROW_BYTES :], int(registers[0])) ^ _FULL


def _step(data: bytes, register: int) -> int:
    table = _plain_table()
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


def _zero_bits(registers: U32, count: int) -> U32:
    """Return what some zero bits make of registers."""
    for _ in range(count):
        registers = np.where(registers & 1, registers >> 1 ^ np.uint32(POLYNOMIAL), registers >> 1)
    return registers


@cache
def _word_table() -> U32:
    return _zero_bits(np.arange(1 << 16, dtype=np.uint32), 16)


@cache
def _plain_table() -> tuple[int, ...]:
    return tuple(_zero_bits(np.arange(256, dtype=np.uint32), 8).tolist())


@cache
def _after_rows(level: int) -> U32:
    """Return the map of 2^level rows of zeros: uint32[4, 256], the image of each value of each byte of a register."""
    values = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]
    if level == 0:
        return _zero_bits(values, 8 * ROW_BYTES)
    half = _after_rows(level - 1)
    return _apply(half, _apply(half, values.ravel())).reshape(4, 256)


def _apply(images: U32, registers: U32) -> U32:
    """Return the registers after a linear map."""
    out: U32 = images[0][registers & 0xFF]
    for i in (1, 2, 3):
        out = out ^ images[i][registers >> np.uint32(8 * i) & 0xFF]
    return out
