"""The envelope of every answer: `{"status":"success","data":...,"warnings":[...],"infos":[...]}`.

The error envelope is `tinyobs.web.problem.ApiError`.  Source: prometheus web/api/v1/api.go `Response`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from attrs import Factory, frozen
from starlette.requests import Request
from starlette.responses import Response

from ...errors import LimitExceeded
from ...exposition.json import dump
from ...promql.limits import MemoryPool
from ..pieces import PiecesResponse
from ..problem import ApiError

TRUNCATED: Final = "results truncated due to limit"
JSON: Final = "application/json"
ANSWER_LIMIT: Final = "query_answer_max"
"""The name of the limit on the size of answers."""
WHOLE_BYTES_MAX: Final = 4 << 20
"""An answer up to this size is sent as one piece, in characters; a larger one is made while it is sent."""


@frozen
class Bounds:
    """What an answer may cost: its size before compression, 0 for no limit, and the seconds that sending it may take.

    memory, held: where the memory of what it is made of is counted while it is sent, and how much that is.
    """

    bytes_max: int = 0
    seconds: float = math.inf
    memory: MemoryPool = Factory(MemoryPool)
    held: int = 0

    def refusal(self) -> str:
        """Return what is said of an answer that is too large."""
        return f"the answer would be larger than the limit of {self.bytes_max} bytes ({ANSWER_LIMIT})"


UNBOUNDED: Final = Bounds()


def success(data: Any, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> Response:
    """Return the answer for plain data."""
    return Response(f'{{"status":"success","data":{dump(data)}{_notes(warnings, infos)}'.encode(), media_type=JSON)


def stream(
    data: Iterator[str],
    warnings: Sequence[str] = (),
    infos: Sequence[str] = (),
    check: Callable[[], None] | None = None,
    bounds: Bounds = UNBOUNDED,
) -> Response:
    """Return the answer for data that is already JSON, in pieces; see `streamed`."""
    pieces = chain(('{"status":"success","data":',), data, (_notes(warnings, infos),))
    return streamed(pieces, JSON, check, bounds)


def streamed(
    pieces: Iterator[str] | Iterator[bytes],
    media_type: str,
    check: Callable[[], None] | None = None,
    bounds: Bounds = UNBOUNDED,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer whose body is made in pieces.

    Blocks while the first `WHOLE_BYTES_MAX` are made: call it in the worker thread that has the data; `check` is
    called between their pieces and may raise to stop it.  The rest is made piece by piece in worker threads while it
    is sent.  Raises `ApiError` when the part up to there is larger than the bounds allow; a rest that is too large
    cuts the answer off.
    """
    first: list[Any] = []
    size = 0
    for piece in pieces:
        if check is not None:
            check()
        first.append(piece)
        size += len(piece)
        if bounds.bytes_max and size > bounds.bytes_max:
            raise ApiError("execution", bounds.refusal())
        if size > WHOLE_BYTES_MAX:
            rest = _rest(_encoded(first), pieces, bounds)
            return PiecesResponse(rest, media_type=media_type, headers=headers, seconds=bounds.seconds)
    return Response(_encoded(first), headers=headers, media_type=media_type)


def _encoded(pieces: list[Any]) -> bytes:
    """Return pieces of text, or of bytes, as one; that is faster than to encode each of them."""
    return "".join(pieces).encode() if isinstance(pieces[0], str) else b"".join(pieces)


def _rest(head: bytes, pieces: Iterator[str] | Iterator[bytes], bounds: Bounds) -> Generator[bytes]:
    size = 0
    bounds.memory.hold(bounds.held)
    try:
        for piece in chain((head,), (_encoded([p]) for p in pieces)):
            size += len(piece)
            if bounds.bytes_max and size > bounds.bytes_max:
                raise LimitExceeded(ANSWER_LIMIT, bounds.refusal())
            yield piece
    finally:
        bounds.memory.give(bounds.held)


def _notes(warnings: Sequence[str], infos: Sequence[str]) -> str:
    out = f',"warnings":{dump(list(warnings))}' if warnings else ""
    if infos:
        out += f',"infos":{dump(list(infos))}'
    return out + "}"


async def allow(request: Request) -> Response:
    """Answer OPTIONS: browsers ask before they send a request across origins; the headers are the application's."""
    return Response(status_code=204)
