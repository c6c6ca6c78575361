"""CRC-32C (Castagnoli), the checksum of streamed remote read.

The standard library has another polynomial only.  Long data are taken as rows that are worked through side by side, and
the checksums of the rows are then joined: appending zeros to data is a linear map of the checksum.
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
ROWS: Final = 512
LONG_BYTES_MIN: Final = 4096
"""Data from this length on are worked through in rows."""
_FULL: Final = 0xFFFF_FFFF


def crc32c(data: bytes) -> int:
    """Return the checksum of some bytes."""
    if len(data) < LONG_BYTES_MIN:
        return _step(data, _FULL) ^ _FULL
    width = len(data) // ROWS
    rows = np.frombuffer(data, np.uint8, ROWS * width).reshape(ROWS, width)
    table = _table()
    registers = np.zeros(ROWS, np.uint32)
    registers[0] = _FULL
    for column in np.ascontiguousarray(rows.T):
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    shift = _zeros(width)
    while len(registers) > 1:
        registers = _apply(shift, registers[0::2]) ^ registers[1::2]
        shift = _apply(shift, shift)
    return _step(data[ROWS * width :], int(registers[0])) ^ _FULL


def _step(data: bytes, register: int) -> int:
    table = _plain_table()
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
    return register


@cache
def _table() -> U32:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    return table


@cache
def _plain_table() -> tuple[int, ...]:
    return tuple(_table().tolist())


@cache
def _zeros(count: int) -> U32:
    """Return what `count` zero bytes after the data make of each bit of the register, as uint32[32]."""
    result, power = np.uint32(1) << np.arange(32, dtype=np.uint32), _one_zero()
    while count:
        if count & 1:
            result = _apply(power, result)
        power, count = _apply(power, power), count >> 1
    return result


def _one_zero() -> U32:
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    out: U32 = _table()[bits & 0xFF] ^ (bits >> 8)
    return out


def _apply(operator: U32, registers: U32) -> U32:
    """Return the registers after a linear map, given as the images of the 32 bits."""
    out = np.zeros(len(registers), np.uint32)
    for bit in range(32):
        out ^= np.where(registers >> np.uint32(bit) & np.uint32(1), operator[bit], np.uint32(0))
    return out
