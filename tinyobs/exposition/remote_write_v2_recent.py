"""Requests of remote write 2.0 whose symbols and references came before, byte for byte: their keys need not be made again.

An agent that sends all its series with each scrape, and not more than fit into a request, makes the same symbols and the same
references each time.  A sender of many series does not, since its requests begin with another series each time; for it this
costs a look at the number of the symbols and at the first and last of them.  Nothing else of a request is kept until symbols with the same come for the
second time: arrays that stay are memory that is not in the processor's cache for the next request.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from .remote_write_v2_numbers import ReferenceRows, read_rows, rows_bytes

BYTES_MAX: Final = 8 << 20
"""What is remembered; of requests with 2000 series some fifty."""
ROWS_BYTES_MAX: Final = 1 << 20
"""What the references of one request may take as rows to be remembered; those of 10 000 series take less."""
SEEN_MAX: Final = 1 << 12
"""Tables of symbols that are remembered by their marks alone."""
_MARK_BYTES: Final = 192
"""Texts at either end that a mark holds; what differs between targets is mostly a label of the first series."""

U64 = NDArray[np.uint64]
Mark = tuple[int, int, bytes, bytes]
"""How many symbols there are, how long they are together, and the first and the last of them."""


@frozen(eq=False)
class _Request:
    rows: ReferenceRows
    keys: U64

    @property
    def nbytes(self) -> int:
        return self.rows.rows.nbytes + self.rows.lengths.nbytes + self.keys.nbytes


class RecentRequests:
    """Requests by their symbols, the last ones of each.  All methods may be called from any thread."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._requests: OrderedDict[bytes, _Request] = OrderedDict()
        self._bytes = 0
        self._seen: dict[Mark, None] = {}
        self._lock = threading.Lock()

    def find(self, symbols: Blocks, refs: Blocks) -> U64 | None:
        """Return the keys of the series of a request, None where it is not remembered."""
        if _mark(symbols) not in self._seen:
            return None
        found = self._requests.get(_bytes(symbols))
        return found.keys if found is not None and found.rows.are(refs) else None

    def remember(self, symbols: Blocks, refs: Blocks, keys: U64) -> None:
        """Remember a request whose symbols have come before in the place of another one with them, and forget the oldest."""
        if not self._has_seen(_mark(symbols)) or rows_bytes(refs) > ROWS_BYTES_MAX:
            return
        request, texts = _Request(read_rows(refs), keys), _bytes(symbols)
        size = request.nbytes + len(texts)
        if size > self._bytes_max // 4:
            return
        with self._lock:
            before = self._requests.pop(texts, None)
            self._requests[texts] = request
            self._bytes += size - (before.nbytes + len(texts) if before is not None else 0)
            while self._bytes > self._bytes_max:
                first, gone = self._requests.popitem(last=False)
                self._bytes -= gone.nbytes + len(first)

    def _has_seen(self, mark: Mark) -> bool:
        with self._lock:
            if mark in self._seen:
                return True
            self._seen[mark] = None
            if len(self._seen) > SEEN_MAX:
                del self._seen[next(iter(self._seen))]
        return False


def _mark(symbols: Blocks) -> Mark:
    begin, end = _span(symbols)
    size = min(end - begin, _MARK_BYTES)
    data = symbols.data
    return len(symbols), end - begin, data[begin : begin + size].tobytes(), data[end - size : end].tobytes()


def _bytes(symbols: Blocks) -> bytes:
    """Return all bytes from the first symbol to the last, with what is between them."""
    begin, end = _span(symbols)
    return symbols.data[begin:end].tobytes()


def _span(symbols: Blocks) -> tuple[int, int]:
    if not len(symbols):
        return 0, 0
    return int(symbols.starts[0]), int(symbols.starts[-1] + symbols.lengths[-1])
