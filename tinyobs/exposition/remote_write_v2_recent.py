"""Requests of remote write 2.0 whose symbols and references came before, byte for byte: their keys need not be made again.

An agent that sends all its series with each scrape, and not more than fit into a request, makes the same symbols and the same
references each time.  A sender of many series does not, since its requests begin with another series each time; for it this
costs a hash over the bytes of the symbols.  Nothing else of a request is kept until its symbols come for the second time: arrays
that stay are memory that is not in the processor's cache for the next request.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from .remote_write_v2_numbers import ReferenceRows

BYTES_MAX: Final = 8 << 20
"""What is remembered; of requests with 2000 series some fifty."""
SEEN_MAX: Final = 1 << 12
"""Tables of symbols that are remembered by their hash alone."""

U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]


@frozen(eq=False)
class _Request:
    rows: ReferenceRows
    keys: U64
    sound: Bools

    @property
    def nbytes(self) -> int:
        return self.rows.rows.nbytes + self.rows.lengths.nbytes + self.keys.nbytes + self.sound.nbytes


class RecentRequests:
    """Requests by their symbols, the last ones of each.  All methods may be called from any thread."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._requests: OrderedDict[bytes, _Request] = OrderedDict()
        self._bytes = 0
        self._seen: dict[int, None] = {}
        self._lock = threading.Lock()

    def find(self, symbols: bytes, rows: ReferenceRows) -> tuple[U64, Bools] | None:
        """Return (keys, which series are sound) of a request, None where it is not remembered."""
        found = self._requests.get(symbols)
        if found is None or not found.rows.are(rows):
            return None
        return found.keys, found.sound

    def remember(self, symbols: bytes, rows: ReferenceRows, keys: U64, sound: Bools) -> None:
        """Remember a request whose symbols have come before in the place of another one with them, and forget the oldest."""
        if not self._has_seen(hash(symbols)):
            return
        request = _Request(rows, keys, sound)
        size = request.nbytes + len(symbols)
        if size > self._bytes_max // 4:
            return
        with self._lock:
            before = self._requests.pop(symbols, None)
            self._requests[symbols] = request
            self._bytes += size - (before.nbytes + len(symbols) if before is not None else 0)
            while self._bytes > self._bytes_max:
                first, gone = self._requests.popitem(last=False)
                self._bytes -= gone.nbytes + len(first)

    def _has_seen(self, table: int) -> bool:
        with self._lock:
            if table in self._seen:
                return True
            self._seen[table] = None
            if len(self._seen) > SEEN_MAX:
                del self._seen[next(iter(self._seen))]
        return False


def symbol_bytes(symbols: Blocks) -> bytes:
    """Return all bytes from the first symbol to the last, with what is between them."""
    if not len(symbols):
        return b""
    return symbols.data[int(symbols.starts[0]) : int(symbols.starts[-1] + symbols.lengths[-1])].tobytes()
