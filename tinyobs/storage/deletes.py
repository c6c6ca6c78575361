"""A delete as a value: which samples it takes away, as text in the manifest, as a record in the log.

A delete holds for what was stored before it: for the samples of the head at its place in the log, and for segments
with a number below its own, which is taken from the same sequence.  What comes later in its range is stored as ever.

Not here: what a delete does to the head (`deletion.py`) and to what segments show (`masking.py`).
Formats: docs/format/manifest.md, docs/format/wal.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from ..codec.compression import FAST, compress, decompress
from ..errors import LimitExceeded
from ..model.matchers import Matcher, MatchType

DELETES_MAX: Final = 1000
"""Deletes that may wait for their segments to be rewritten: each costs every reader of the segments a look."""
TEXT_MAX: Final = 1 << 20
"""Characters that the matchers of one delete may have."""

_SIZE: Final = struct.Struct("<I")

MatcherSets = tuple[tuple[Matcher, ...], ...]


@frozen
class Delete:
    """Samples from `mint_ms` to `maxt_ms` (both included) of series that fulfil any of the matcher sets.

    below: it holds for segments with a number below this one.  No two deletes have the same, so it names the delete.
    """

    below: int
    mint_ms: int
    maxt_ms: int
    matcher_sets: MatcherSets

    def overlaps(self, mint_ms: int, maxt_ms: int) -> bool:
        """Tell whether the range has a time in common with another one."""
        return self.mint_ms <= maxt_ms and self.maxt_ms >= mint_ms


def check_size(matcher_sets: Sequence[Sequence[Matcher]]) -> None:
    """Raise `LimitExceeded` for matchers that are too long for a record."""
    size = sum(len(m.name) + len(m.value) for matchers in matcher_sets for m in matchers)
    if size > TEXT_MAX:
        raise LimitExceeded("TEXT_MAX", f"matchers of {size} characters; the limit is {TEXT_MAX}")


def to_plain(delete: Delete) -> dict[str, Any]:
    """Return a delete as JSON has it."""
    match = [[[str(m.type), m.name, m.value] for m in matchers] for matchers in delete.matcher_sets]
    return {"below": delete.below, "mint_ms": delete.mint_ms, "maxt_ms": delete.maxt_ms, "match": match}


def from_plain(plain: dict[str, Any]) -> Delete:
    """Return the delete of a JSON object; raises `KeyError`, `TypeError` or `ValueError`."""
    sets = tuple(
        tuple(Matcher(MatchType(kind), str(name), str(value)) for kind, name, value in matchers)
        for matchers in plain["match"]
    )
    numbers = (plain["below"], plain["mint_ms"], plain["maxt_ms"])
    if not all(isinstance(n, int) for n in numbers):
        raise ValueError("a delete with bounds that are no numbers")
    return Delete(*numbers, sets)


def encode_delete(delete: Delete) -> bytes:
    """Return the payload of a record of the log: u32 size, one zstd frame with the JSON object."""
    data = json.dumps(to_plain(delete), separators=(",", ":")).encode()
    return _SIZE.pack(len(data)) + compress(data, FAST)


def decode_delete(payload: memoryview) -> Delete:
    """Return the delete of a record; raises `ValueError` or another error that the log's reader expects."""
    (size,) = _SIZE.unpack_from(payload)
    if size > 16 * TEXT_MAX:
        raise ValueError(f"delete of {size} bytes")
    plain = json.loads(decompress(payload[_SIZE.size :], size))
    if not isinstance(plain, dict):
        raise ValueError("not a delete")
    return from_plain(plain)
