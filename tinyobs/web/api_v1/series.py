"""`/labels`, `/label/<name>/values` and `/series`: what is stored, without samples."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

import trio
from starlette.requests import Request
from starlette.responses import Response

from ...abc import Querier
from ...exposition.json import LabelWriter, dump
from ...model.labels import Labels
from ...model.matchers import Matcher
from ..form import Form, read_form
from ..inbox import Receive, while_client_stays
from ..problem import ApiError
from ..services import ApiServices
from . import parameters
from .envelope import TRUNCATED, stream
from .pace import Pace, TooSlowInline, inline_check, question_key, seconds_alone, span_key

PIECE_SERIES: Final = 1000
"""Label sets written per piece of an answer."""

_ESCAPED = re.compile(r"_(?:(_)|([0-9a-fA-F]{1,6})_)")
_TIMES = frozenset(("start", "end"))
"""Parameters that differ from one refresh of a dashboard to the next; their rounded values count (`span_key`)."""
_Item = TypeVar("_Item", str, Labels)
Check = Callable[[], None]
ReadOne = Callable[[Querier, Sequence[Matcher]], Sequence[_Item]]


class SeriesApi:
    """The handlers; each reads in a worker thread, unless it is known to be quick (`pace.py`)."""

    def __init__(self, services: ApiServices, concurrent_max: int) -> None:
        self._services = services
        self._limiter = trio.CapacityLimiter(concurrent_max)
        self._pace = Pace()

    async def names(self, request: Request) -> Response:
        """Answer `/labels`."""
        return await self._texts(request, lambda querier, m: querier.label_names(m))

    async def values(self, request: Request) -> Response:
        """Answer `/label/{name}/values`."""
        name = unescape_name(request.path_params["name"])
        if not is_label_name(name):
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise ApiError("bad_data", f'invalid label name: "{shown}"')
        return await self._texts(request, lambda querier, m: querier.label_values(name, m))

    async def series(self, request: Request) -> Response:
        """Answer `/series`."""
        form = await read_form(request)
        if not form.all("match[]"):
            raise ApiError("bad_data", "no match[] parameter provided")

        def select() -> list[tuple[Matcher, ...]]:
            try:
                return parameters.selectors(form.all("match[]"))
            except ApiError as e:
                raise parameters.invalid("match[]", e) from None

        return await self._run(request, form, select, lambda querier, m: querier.series(m), LabelWriter().write)

    async def _texts(self, request: Request, read_one: ReadOne[str]) -> Response:
        form = await read_form(request)
        return await self._run(request, form, lambda: parameters.selectors(form.all("match[]")) or [()], read_one, dump)

    async def _run(
        self,
        request: Request,
        form: Form,
        select: Callable[[], Sequence[tuple[Matcher, ...]]],
        read_one: ReadOne[_Item],
        write: Callable[[_Item], str],
    ) -> Response:
        """Answer what any selector finds; long selectors take long to parse, so `select` runs where the reading does."""
        limit = parameters.limit(form)
        start_ms, end_ms = _span(form)

        def read(check: Check) -> Response:
            chosen = select()
            if end_ms < start_ms:
                return stream(iter(["[]"]))
            parts = []
            with self._services.queryable.querier(start_ms, end_ms) as querier:
                for matchers in chosen:
                    check()
                    parts.append(read_one(querier, matchers))
            check()
            found = _union(parts)
            cut = 0 < limit < len(found)
            return stream(_array(found[:limit] if cut else found, write), (TRUNCATED,) if cut else (), check=check)

        asked: list[str] = [f"{name}={text}" for name in form.values.keys() - _TIMES for text in form.all(name)]
        span = span_key(start_ms, end_ms, self._services.clock.now_ms())
        key = question_key((request.url.path, *sorted(asked)), span, self._services.series_count().bit_length())
        return await self._where_cheapest(key, read, request.receive)

    async def _where_cheapest(self, key: int | None, read: Callable[[Check], Response], receive: Receive) -> Response:
        """Read in a worker thread, or here when the same question was answered quickly the last time."""

        def timed(check: Check) -> Response:
            started, begun_at = time.monotonic(), time.thread_time()
            try:
                return read(check)
            finally:
                elapsed, processor = time.monotonic() - started, time.thread_time() - begun_at
                self._pace.note(key, elapsed if check is not _never else seconds_alone(elapsed, processor))

        if self._pace.is_quick(key):
            try:
                return timed(inline_check())
            except TooSlowInline:
                pass  # what it took is noted: the next time begins in a thread
        return await while_client_stays(receive, partial(trio.to_thread.run_sync, timed, _never, limiter=self._limiter))


def unescape_name(name: str) -> str:
    """Return a label name from its `U__` form (`U__my_2e_name` is `my.name`), or as it is.

    Source: prometheus/common model/metric.go `UnescapeName`; a text that is not well escaped stays as it is.
    """
    if not name.startswith("U__"):
        return name
    escaped = name.removeprefix("U__")
    out, at = [], 0
    while at < len(escaped):
        if escaped[at] != "_":
            out.append(escaped[at])
            at += 1
            continue
        found = _ESCAPED.match(escaped, at)
        code = int(found.group(2), 16) if found and found.group(2) else ord("_")
        if found is None or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            return name
        out.append(chr(code))
        at = found.end()
    return "".join(out)


def is_label_name(name: str) -> bool:
    """Tell whether a text can be a label's name: not empty and valid UTF-8."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _never() -> None:
    """The check of reading in a thread: it is not stopped."""


def _span(form: Form) -> tuple[int, int]:
    return (
        parameters.time_or(form, "start", parameters.TIME_MS_MIN),
        parameters.time_or(form, "end", parameters.TIME_MS_MAX),
    )


def _union(parts: Sequence[Sequence[_Item]]) -> list[_Item]:
    if len(parts) == 1:
        return list(parts[0])
    return sorted({item for part in parts for item in part})


def _array(items: Sequence[_Item], write: Callable[[_Item], str]) -> Iterator[str]:
    yield "["
    for first in range(0, len(items), PIECE_SERIES):
        text = ",".join(map(write, items[first : first + PIECE_SERIES]))
        yield f",{text}" if first else text
    yield "]"
