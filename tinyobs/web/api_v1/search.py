"""`/search/metric_names`, `/search/label_names` and `/search/label_values`: what fits what somebody types.

The answer is a line of JSON for each batch of results and one at the end.  Needs the feature `search-api`.  Parameters
and texts: prometheus web/api/v1/search.go; the measures are `search_scores.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final

import trio
from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from ...abc import Querier
from ...errors import StorageError, Unavailable
from ...exposition.json import dump
from ...model.labels import NAME
from ...model.matchers import Matcher
from ...model.metadata import MetricMetadata
from ..form import Form, read_form
from ..options import WebOptions
from ..pieces import PiecesResponse
from ..problem import ApiError
from ..services import ApiServices
from . import parameters
from .search_scores import ALGORITHMS, Score, scorer

TERMS_MAX: Final = 32
"""Values of `search[]` in one request."""
DEFAULT: Final = 100
"""Results, and results of a batch, where nothing is said."""
SPAN_MS: Final = 3_600_000
"""How long before now the range begins where nothing is said."""
SEARCHES_MAX: Final = 8
"""Searches at one time; more wait."""
_KIND: Final = {"content-type": "application/x-ndjson; charset=utf-8"}

Found = Callable[[Querier, Sequence[Matcher]], Iterable[str]]


@frozen
class _Asked:
    """The parameters of a search."""

    start_ms: int
    end_ms: int
    sets: Sequence[tuple[Matcher, ...]]
    score: Score
    order: str
    """alpha, dsc (the alphabet backwards) or score."""
    limit: int
    batch: int
    with_score: bool


class SearchApi:
    """The handlers."""

    def __init__(self, services: ApiServices, options: WebOptions) -> None:
        self._services, self._limit_max = services, options.search_limit_max
        self._limiter = trio.CapacityLimiter(SEARCHES_MAX)

    async def metric_names(self, request: Request) -> Response:
        """Answer `/search/metric_names`."""
        form = await self._form(request)
        asked = self._asked(form, "metric_names")
        described = self._metadata() if _boolean(form, "include_metadata", False) else {}
        return await self._answer(asked, lambda querier, m: querier.label_values(NAME, m), described)

    async def label_names(self, request: Request) -> Response:
        """Answer `/search/label_names`."""
        asked = self._asked(await self._form(request), "label_names")
        return await self._answer(asked, lambda querier, m: querier.label_names(m))

    async def label_values(self, request: Request) -> Response:
        """Answer `/search/label_values`."""
        form = await self._form(request)
        asked, label = self._asked(form, "label_values"), form.get("label")
        if not label:
            raise ApiError("bad_data", 'missing required parameter "label"')
        return await self._answer(asked, lambda querier, m: querier.label_values(label, m))

    async def _form(self, request: Request) -> Form:
        if not self._services.search_enabled():
            raise ApiError("unavailable", "search API disabled")
        return await read_form(request)

    def _asked(self, form: Form, endpoint: str) -> _Asked:
        """Return what is asked for; raises `ApiError`."""
        now_ms = self._services.clock.now_ms()
        start_ms, end_ms = _time(form, "start", now_ms - SPAN_MS), _time(form, "end", now_ms)
        if end_ms < start_ms:
            raise ApiError("bad_data", "end timestamp must not be before start timestamp")
        sets = parameters.selectors(form.all("match[]")) or [()]
        terms = form.all("search[]")
        if len(terms) > TERMS_MAX:
            raise ApiError("bad_data", f"too many search[] terms: got {len(terms)}, maximum is {TERMS_MAX}")
        threshold = _number(form, "fuzz_threshold", 0, "must be 0-100", 100)
        algorithm = form.get("fuzz_alg") or ALGORITHMS[0]
        if algorithm not in ALGORITHMS:
            known = " ".join(ALGORITHMS)
            raise ApiError("bad_data", f'unsupported fuzz_alg "{algorithm}": must be one of [{known}]')
        case = _boolean(form, "case_sensitive", True)
        with_score = _boolean(form, "include_score", False)
        order = _order(form, endpoint, bool(terms))
        limit, batch = (
            self._limit(form),
            _number(form, "batch_size", DEFAULT, "must be non-negative integer") or DEFAULT,
        )
        score = scorer(terms, algorithm, threshold / 100.0, case_sensitive=case)
        return _Asked(start_ms, end_ms, sets, score, order, limit, batch, with_score)

    def _limit(self, form: Form) -> int:
        most = self._limit_max
        default = min(DEFAULT, most) if most else DEFAULT
        given = _number(form, "limit", default, "must be non-negative integer") or default
        if most and given > most:
            text = f"limit {given} exceeds the configured maximum ({most}, see --web.search.max-limit)"
            raise ApiError("bad_data", text)
        return given

    def _metadata(self) -> Mapping[str, MetricMetadata]:
        """Return what is said of metrics: by the first target that says something, else what came by remote write."""
        found = dict(self._services.metadata())
        for target in reversed(self._services.targets().active):
            found.update(target.metadata)
        return found

    async def _answer(
        self, asked: _Asked, find: Found, described: Mapping[str, MetricMetadata] | None = None
    ) -> Response:
        def work() -> list[tuple[str, float]]:
            with self._services.queryable.querier(asked.start_ms, asked.end_ms) as querier:
                names = dict.fromkeys(name for matchers in asked.sets for name in find(querier, matchers))
            scored = [(name, score) for name in names if (score := asked.score(name)) is not None]
            return _sorted(scored, asked.order)

        try:
            found = await trio.to_thread.run_sync(work, limiter=self._limiter)
        except Unavailable as e:
            raise ApiError("unavailable", str(e)) from None
        except StorageError as e:
            raise ApiError("internal", str(e)) from None
        return PiecesResponse(_lines(asked, found, described or {}), headers=_KIND)


def _sorted(scored: list[tuple[str, float]], order: str) -> list[tuple[str, float]]:
    if order == "score":
        return sorted(scored, key=lambda s: (-s[1], s[0]))
    return sorted(scored, reverse=order == "dsc")


def _lines(
    asked: _Asked, found: Sequence[tuple[str, float]], described: Mapping[str, MetricMetadata]
) -> Generator[bytes]:
    shown = found[: asked.limit]
    for first in range(0, max(len(shown), 1), asked.batch):
        results = [_result(asked, described, *one) for one in shown[first : first + asked.batch]]
        yield dump({"results": results}).encode() + b"\n"
    yield dump({"status": "success", "has_more": len(found) > asked.limit}).encode() + b"\n"


def _result(asked: _Asked, described: Mapping[str, MetricMetadata], name: str, score: float) -> dict[str, Any]:
    out: dict[str, Any] = {"name": name}
    if asked.with_score:
        out["score"] = score
    known = described.get(name)
    if known is not None:
        texts = {"type": str(known.type), "help": known.help, "unit": known.unit}
        out.update((key, text) for key, text in texts.items() if text)
    return out


def _order(form: Form, endpoint: str, has_terms: bool) -> str:
    by, direction = form.get("sort_by"), form.get("sort_dir")
    if direction and not by:
        raise ApiError("bad_data", "sort_dir is only valid when sort_by is set")
    if direction and by == "score":
        raise ApiError("bad_data", "sort_dir is not supported for sort_by=score")
    if direction not in ("", "asc", "dsc"):
        raise ApiError("bad_data", f'invalid sort_dir "{direction}": must be "asc" or "dsc"')
    if by == "score" and not has_terms:
        raise ApiError("bad_data", "sort_by=score requires search[] to be set")
    if by not in ("", "alpha", "score"):
        raise ApiError("bad_data", f'invalid sort_by "{by}" for {endpoint}: must be "alpha" or "score"')
    return "score" if by == "score" else direction if direction == "dsc" else "alpha"


def _time(form: Form, name: str, default: int) -> int:
    try:
        return parameters.time_or(form, name, default)
    except ApiError as e:
        raise ApiError("bad_data", e.message.removeprefix(f'invalid parameter "{name}": ')) from None


def _number(form: Form, name: str, default: int, rule: str, most: int | None = None) -> int:
    text = form.get(name)
    if not text:
        return default
    try:
        found = parameters.integer(text)
    except ValueError:
        found = -1
    if found < 0 or (most is not None and found > most):
        raise ApiError("bad_data", f'invalid {name} "{text}": {rule}')
    return found


def _boolean(form: Form, name: str, default: bool) -> bool:
    text = form.get(name)
    if text and text not in parameters.BOOLEANS:
        raise ApiError("bad_data", f'invalid {name} "{text}": must be boolean')
    return parameters.BOOLEANS[text] if text else default
