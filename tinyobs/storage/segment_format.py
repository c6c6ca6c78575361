"""The segment file: constants, header, footer and the tables that say where everything lies.

    header | pages | value blocks | posting blocks | series blocks | names | tables | page table | footer

Not here: writing (`segment_writer.py`), reading (`segment_reader.py`), what the index blocks hold
(`segment_index.py`), what a page holds (`codec/pages.py`).  Format: `docs/format/segment.md`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..codec.compression import compress, decompress
from ..codec.integers import decode_rows, encode_rows

I64 = NDArray[np.int64]

MAGIC: Final = b"TinyObsS"
VERSION: Final = 2
"""The format of segments; version 1 had no pages with histograms or start times, and is read as well."""
HEADER: Final = MAGIC + struct.pack("<II", VERSION, 0)
SECTIONS: Final = ("names", "tables", "pages")
_SECTION: Final = struct.Struct("<QQI")
_INFO: Final = struct.Struct("<qqQQI")
_END: Final = struct.Struct("<III8s")
"""footer bytes, version, checksum of the footer before this field, magic."""
FOOTER_BYTES: Final = len(SECTIONS) * _SECTION.size + _INFO.size + _END.size

PAGE_SAMPLES: Final = 1 << 16
"""Samples that a page aims at: 64 rows of 1024, histograms by their cost.  Decoding one takes about a millisecond."""
PAGE_COST_MAX: Final = 1 << 20
"""Cost, counted in samples, above which rows with histograms are cut in time, however few samples they have."""
ROW_SAMPLES: Final = 1024
"""Rows half as long again are cut in time, into pieces of about this length, all rows of a page at the same times."""
PAGE_SERIES_MAX: Final = 1024
"""Most series in a page, where their rows are short."""
SERIES_PER_BLOCK: Final = 1024
VALUES_PER_BLOCK: Final = 4096
POSTINGS_PER_BLOCK: Final = 1 << 16
"""Postings at which a block is closed; one longer list has a block of its own."""
BLOCK_BYTES_MAX: Final = 1 << 28
"""Longest block before compression that a reader accepts, in bytes."""


@frozen
class SegmentInfo:
    """What a segment is, as its footer tells; times are those of its first and last sample."""

    name: str
    level: int
    """How often its samples were compacted; 0 is fresh from the head."""
    mint_ms: int
    maxt_ms: int
    series_count: int
    sample_count: int
    bytes: int
    """Size of the file."""


@frozen
class Section:
    """A checked run of bytes."""

    offset: int
    length: int
    checksum: int


@frozen(eq=False)
class BlockTable:
    """Blocks of one kind.  All int64[B].

    firsts: number of the first item (value, posting list, series) in each block.  sizes: bytes before compression
    where the block is one zstd frame, else 0.
    """

    firsts: I64
    offsets: I64
    lengths: I64
    sizes: I64
    checksums: I64

    def __len__(self) -> int:
        return len(self.firsts)


@frozen(eq=False)
class PageTable:
    """The pages by first series, then time.  All int64[P]; times are inclusive."""

    firsts: I64
    counts: I64
    mint_ms: I64
    maxt_ms: I64
    offsets: I64
    lengths: I64
    samples: I64

    def __len__(self) -> int:
        return len(self.firsts)


def encode_table(columns: Sequence[Sequence[int]], level: int) -> bytes:
    """Return a table of columns of equal length as integer rows."""
    flat = np.concatenate([np.array(column, np.int64) for column in columns])
    return encode_rows(flat, np.arange(len(columns) + 1, dtype=np.int64) * len(columns[0]), level)


def decode_table(data: memoryview, columns: int) -> tuple[list[I64], int]:
    """Return the columns of a table, and how many bytes it took; `ValueError` on damage."""
    rows, used = decode_rows(data)
    if len(rows.counts) != columns or (rows.counts != rows.counts[0]).any():
        raise ValueError("table of another shape")
    return list(rows.decode()[0].reshape(columns, -1)), used


def encode_names(names: list[tuple[str, int]], level: int) -> bytes:
    """Return the section of label names and, for each, its number of values."""
    encoded = [n.encode("utf-8", "surrogatepass") for n, _ in names]
    numbers = np.array([(len(e), count) for e, (_, count) in zip(encoded, names, strict=True)], "<u4")
    raw = numbers.tobytes() + b"".join(encoded)
    return struct.pack("<II", len(names), len(raw)) + compress(raw, level)


def decode_names(data: memoryview) -> list[tuple[str, int]]:
    """Return label names and their numbers of values; `ValueError` on damage."""
    if len(data) < 8:
        raise ValueError("names cut short")
    count, size = struct.unpack_from("<II", data)
    if not 8 * count <= size <= BLOCK_BYTES_MAX:
        raise ValueError("more names than bytes")
    raw = decompress(data[8:], size)
    numbers = np.frombuffer(raw, "<u4", 2 * count).reshape(-1, 2).tolist()
    out = []
    at = 8 * count
    for length, values in numbers:
        out.append((raw[at : at + length].decode("utf-8", "surrogatepass"), values))
        at += length
    if at != size:
        raise ValueError("names of another length")
    return out


def encode_footer(sections: dict[str, Section], info: SegmentInfo) -> bytes:
    """Return the end of the file; `info.name` and `info.bytes` are not stored."""
    body = b"".join(_SECTION.pack(s.offset, s.length, s.checksum) for s in (sections[n] for n in SECTIONS))
    body += _INFO.pack(info.mint_ms, info.maxt_ms, info.series_count, info.sample_count, info.level)
    body += struct.pack("<II", FOOTER_BYTES, VERSION)
    return body + struct.pack("<I8s", zlib.crc32(body), MAGIC)


def decode_footer(name: str, data: memoryview) -> tuple[dict[str, Section], SegmentInfo]:
    """Return sections and info of a whole file; `ValueError` on damage.

    The version is checked by `version_of` before.
    """
    footer = data[len(data) - FOOTER_BYTES :]
    size, _, checksum, _ = _END.unpack_from(footer, FOOTER_BYTES - _END.size)
    if size != FOOTER_BYTES or zlib.crc32(footer[: FOOTER_BYTES - 12]) != checksum:
        raise ValueError("footer does not fit its checksum")
    sections = {}
    for i, section in enumerate(SECTIONS):
        s = Section(*_SECTION.unpack_from(footer, i * _SECTION.size))
        if s.offset + s.length > len(data) - FOOTER_BYTES:
            raise ValueError(f"section {section} reaches beyond the file")
        sections[section] = s
    mint, maxt, series, samples, level = _INFO.unpack_from(footer, len(SECTIONS) * _SECTION.size)
    return sections, SegmentInfo(name, level, mint, maxt, series, samples, len(data))


def version_of(data: memoryview) -> int:
    """Return the format version by header and end of a file; `ValueError` when it is no complete segment."""
    if len(data) < len(HEADER) + FOOTER_BYTES or bytes(data[:8]) != MAGIC:
        raise ValueError("not a segment")
    if bytes(data[len(data) - 8 :]) != MAGIC:
        raise ValueError("the end is missing")
    version = int.from_bytes(data[8:12], "little")
    if version <= VERSION and (not version or bytes(data[12 : len(HEADER)]) != HEADER[12:]):
        raise ValueError("header does not fit")
    if version != int.from_bytes(data[len(data) - 16 : len(data) - 12], "little"):
        raise ValueError("header and footer differ in version")
    return version
