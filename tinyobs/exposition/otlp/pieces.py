"""A large `ExportMetricsServiceRequest` in pieces, which are requests with the same resources, scopes and metrics around the points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..message_pieces import Check, Level, cut_message
from .walk import DATA_TAGS

_DATA: Final = Level({0x0A: None})
_METRIC: Final = Level(dict.fromkeys(DATA_TAGS, _DATA))
_SCOPE: Final = Level({0x12: _METRIC})
_RESOURCE: Final = Level({0x12: _SCOPE})
_REQUEST: Final = Level({0x0A: _RESOURCE})


def request_pieces(body: bytes, bytes_max: int, check: Check = lambda: None) -> Iterator[bytes]:
    """Yield requests of about `bytes_max` bytes at most; calls `check`, and raises, as `cut_message` does."""
    return cut_message(body, _REQUEST, bytes_max, check)
