"""`/federate`: the newest sample of each selected series, for another server to scrape.

Only samples within the lookback count, and series that ended (staleness markers) are left out.  External labels are
added to series that do not have them, and an empty `instance` where there is none, so that the reader does not put its
own.  Source of the rules: prometheus web/federate.go, which answers a client that prefers OpenMetrics in the text format;
here it gets what it prefers.  The format of the body is `tinyobs.exposition.federation`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

import numpy as np
import structlog
import trio
from starlette.requests import Request
from starlette.responses import Response

from ..abc import Querier, Route
from ..errors import QueryParseError, StorageError, Unavailable
from ..exposition.federation import FederatedSample, federation_pieces
from ..exposition.negotiate import Answer, choose
from ..model.columns import SeriesColumns
from ..model.histograms import numbers_of
from ..model.labels import NAME, Labels, get
from ..model.matchers import Matcher
from ..model.staleness import is_stale, is_stale_value
from ..promql.parser import parse_selector
from .api_v1.parameters import MATCHERS_MAX
from .form import read_form
from .pieces import PiecesResponse
from .problem import HttpError
from .services import ApiServices

SERIES_MAX: Final = 5_000_000
"""Series in one answer; a selector of more is answered 400."""
READ_SERIES: Final = 4096
"""Series that are read at a time."""
READERS_MAX: Final = 4
"""Answers whose samples are read at one time; more wait."""

log = structlog.get_logger("web")


class Federation:
    """The handler."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._limiter = trio.CapacityLimiter(READERS_MAX)

    async def federate(self, request: Request) -> Response:
        """Answer `/federate`."""
        form = await read_form(request)
        texts = form.all("match[]")
        if len(texts) > MATCHERS_MAX:
            raise HttpError(400, f"more than {MATCHERS_MAX} values of match[]")
        answer = choose(request.headers.get("accept", ""))
        return await trio.to_thread.run_sync(self._answer, texts, answer, limiter=self._limiter)

    def _answer(self, texts: Sequence[str], answer: Answer) -> Response:
        try:
            sets = [parse_selector(text) for text in texts]
        except QueryParseError as e:
            raise HttpError(400, str(e)) from None
        try:
            samples = self._newest(sets)
        except (StorageError, Unavailable) as e:
            self._services.statistics.count_federation_error()
            raise HttpError(503 if isinstance(e, Unavailable) else 500, str(e)) from None
        return PiecesResponse(self._write(samples, answer), headers={"content-type": answer.content_type})

    def _newest(self, sets: Sequence[Sequence[Matcher]]) -> list[FederatedSample]:
        """Return the newest samples of series that fulfil any set of matchers, sorted by name, then labels."""
        now_ms = self._services.clock.now_ms()
        found: dict[Labels, FederatedSample] = {}
        with self._services.queryable.querier(now_ms - self._services.lookback_ms, now_ms) as querier:
            for matchers in sets:
                if matchers:
                    self._select(querier, matchers, found)
        samples = [found[labels] for labels in (sorted(found) if len(sets) > 1 else found)]
        return sorted(samples, key=lambda s: get(s.labels, NAME))

    def _select(self, querier: Querier, matchers: Sequence[Matcher], found: dict[Labels, FederatedSample]) -> None:
        gone = trio.from_thread.check_cancelled  # ends the work of a client that went away
        selection = querier.select(matchers, querier.mint_ms, querier.maxt_ms, gone)
        if len(selection.labels) > SERIES_MAX:
            raise HttpError(400, f"more than {SERIES_MAX} series are selected")
        for first in range(0, len(selection.labels), READ_SERIES):
            gone()
            last = min(first + READ_SERIES, len(selection.labels))
            found.update((s.labels, s) for s in _last_samples(selection.read(first, last)))

    def _write(self, samples: Sequence[FederatedSample], answer: Answer) -> Generator[bytes]:
        external = {"instance": ""} | dict(self._services.external_labels())
        try:
            yield from federation_pieces(samples, tuple(sorted(external.items())), answer)
        except Exception:
            self._services.statistics.count_federation_error()
            raise


def _last_samples(columns: SeriesColumns) -> list[FederatedSample]:
    """Return the last sample of each series that has one which is no staleness marker."""
    ends = columns.offsets[1:]
    rows = np.flatnonzero(ends > columns.offsets[:-1])
    at = ends[rows] - 1
    values = columns.values[at]
    fresh = ~is_stale(values)
    rows, at, values = rows[fresh], at[fresh], values[fresh]
    times = columns.timestamps_ms[at].tolist()
    if columns.histograms is None:
        numbers = [-1] * len(rows)
    else:
        numbers = numbers_of(values).tolist()
    out = []
    for row, time, value, number in zip(rows.tolist(), times, values.tolist(), numbers, strict=True):
        if number < 0:
            out.append(FederatedSample(columns.labels[row], time, value))
        elif columns.histograms is not None:
            histogram = columns.histograms.one(number)
            if not is_stale_value(histogram.sum):
                out.append(FederatedSample(columns.labels[row], time, histogram))
    return out


def federation_routes(services: ApiServices) -> list[Route]:
    """Return the route of `/federate`."""
    return [Route("/federate", Federation(services).federate)]
