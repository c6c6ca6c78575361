"""The envelope of every answer: `{"status":"success","data":...,"warnings":[...],"infos":[...]}`.

The error envelope is `tinyobs.web.problem.ApiError`.  Source: prometheus web/api/v1/api.go `Response`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ...exposition.json import dump
from ..pieces import PiecesResponse

TRUNCATED: Final = "results truncated due to limit"
JSON: Final = "application/json"
WHOLE_BYTES_MAX: Final = 4 << 20
"""An answer up to this size is sent as one piece, in characters; a larger one is made while it is sent."""


def success(data: Any, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> Response:
    """Return the answer for plain data."""
    return Response(f'{{"status":"success","data":{dump(data)}{_notes(warnings, infos)}'.encode(), media_type=JSON)


def stream(
    data: Iterator[str],
    warnings: Sequence[str] = (),
    infos: Sequence[str] = (),
    check: Callable[[], None] | None = None,
) -> Response:
    """Return the answer for data that is already JSON, in pieces.

    Blocks while the first `WHOLE_BYTES_MAX` are made: call it in the worker thread that has the data; `check` is
    called between their pieces and may raise to stop it.  The rest is made piece by piece in worker threads while it
    is sent.
    """
    pieces = chain(('{"status":"success","data":',), data, (_notes(warnings, infos),))
    first: list[str] = []
    size = 0
    for piece in pieces:
        if check is not None:
            check()
        first.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES_MAX:
            head = "".join(first)
            return PiecesResponse((p.encode() for p in chain((head,), pieces)), media_type=JSON)
    return Response("".join(first).encode(), media_type=JSON)


def _notes(warnings: Sequence[str], infos: Sequence[str]) -> str:
    out = f',"warnings":{dump(list(warnings))}' if warnings else ""
    if infos:
        out += f',"infos":{dump(list(infos))}'
    return out + "}"


async def allow(request: Request) -> Response:
    """Answer OPTIONS: browsers ask before they send a request across origins; the headers are the application's."""
    return Response(status_code=204)
