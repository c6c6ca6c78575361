"""`/targets/relabel_steps`, `/scrape_pools/config` and `/relabel/preview`: what relabelling does, and what it would do."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from ...errors import ConfigError, LimitExceeded, StorageError
from ...model.cardinality import CardinalityQuery
from ...model.label_text import labels_of_json
from ...model.labels import Labels
from ...model.matchers import Matcher
from ...relabel import Preview, PreviewBounds, Rule, Step, preview, trace
from ..form import Form, read_form
from ..inbox import while_client_stays
from ..problem import ApiError
from ..services import ApiServices
from . import parameters
from .envelope import TRUNCATED, success

PREVIEW_SERIES_MAX: Final = 2_000_000
"""Series that one preview looks at; it remembers what each becomes, at worst half a KiB."""
PREVIEWS_MAX: Final = 1
"""Previews that run at one time; more wait."""
EXAMPLES_DEFAULT: Final = 10
EXAMPLES_MAX: Final = 1000
PREVIEW_SECONDS_MAX: Final = 600.0
RULES_BYTES_MAX: Final = 64 << 10
"""Size of the rules of a preview, in characters."""
RULES_MAX: Final = 1000
REPLACEMENT_LENGTH_MAX: Final = 1000
"""Longest `replacement` of a preview, in characters: it may be put in once for each character of a value."""
METRICS_SHOWN_MAX: Final = 100
"""Metrics that a list of a preview has."""
METRIC_SIZES_MAX: Final = 10_000
"""Metrics whose sizes are looked at to estimate what would be saved."""


class RelabelApi:
    """The handlers."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._limiter = trio.CapacityLimiter(PREVIEWS_MAX)

    async def steps(self, request: Request) -> Response:
        """Answer `/targets/relabel_steps`."""
        form = await read_form(request)
        stage = form.get("stage")
        pool, remote, text = form.get("scrapePool"), form.get("remoteWrite"), form.get("labels")
        if not pool and stage in ("", "target", "metric"):
            raise ApiError("bad_data", "no scrapePool parameter provided")
        if not text:
            raise ApiError("bad_data", "no labels parameter provided")
        try:
            labels = labels_of_json(json.loads(text))
        except (ValueError, RecursionError) as e:
            raise ApiError("bad_data", f"error parsing labels: {e}") from None
        try:
            rules = self._services.relabelling.rules(stage or "target", remote if stage == "write" else pool)
        except LookupError as e:
            raise ApiError("bad_data", f"error retrieving scrape config: {e.args[0]}") from None
        _, steps = trace(labels, rules)
        return success({"steps": [self._step(step, with_details=bool(stage)) for step in steps]})

    def _step(self, step: Step, *, with_details: bool) -> dict[str, Any]:
        shown = {"rule": self._services.relabelling.show(step.rule), "output": dict(step.after), "keep": step.keep}
        if with_details:
            shown |= {"input": dict(step.before), "matched": step.matched, "reason": step.reason}
        return shown

    async def pool_config(self, request: Request) -> Response:
        """Answer `/scrape_pools/config`."""
        form = await read_form(request)
        pool = form.get("scrapePool")
        if not pool:
            raise ApiError("bad_data", "no scrapePool parameter provided")
        try:
            return success({"yaml": self._services.relabelling.pool_yaml(pool)})
        except LookupError as e:
            raise ApiError("bad_data", f"error retrieving scrape config: {e.args[0]}") from None

    async def preview(self, request: Request) -> Response:
        """Answer `/relabel/preview`."""
        form = await read_form(request)
        rules = self._rules_of(form)
        selectors = parameters.selectors(form.all("match[]")) or [()]
        start = parameters.time_or(form, "start", parameters.TIME_MS_MIN)
        end = parameters.time_or(form, "end", parameters.TIME_MS_MAX)
        given = parameters.limit(form)
        examples = given if form.get("limit") else EXAMPLES_DEFAULT
        if examples > EXAMPLES_MAX:
            raise parameters.invalid("limit", f"at most {EXAMPLES_MAX} examples are shown")
        work = partial(self._preview, rules, selectors, start, end, examples)
        run = partial(trio.to_thread.run_sync, work, limiter=self._limiter)
        return await while_client_stays(request.receive, run)

    def _rules_of(self, form: Form) -> Sequence[Rule]:
        text, asked = form.get("rules"), form.get("extended")
        if not text:
            raise ApiError("bad_data", "no rules parameter provided")
        if len(text) > RULES_BYTES_MAX:
            raise parameters.invalid("rules", f"more than {RULES_BYTES_MAX} characters")
        try:
            rules = self._services.relabelling.parse(text, asked.lower() not in ("0", "false") if asked else None)
        except ConfigError as e:
            raise parameters.invalid("rules", "; ".join(str(p) for p in e.problems)) from None
        except ValueError as e:
            raise parameters.invalid("rules", e) from None
        if len(rules) > RULES_MAX:
            raise parameters.invalid("rules", f"more than {RULES_MAX} rules")
        if any(len(rule.replacement) > REPLACEMENT_LENGTH_MAX for rule in rules):
            raise parameters.invalid("rules", f"a replacement is longer than {REPLACEMENT_LENGTH_MAX} characters")
        return rules

    def _preview(
        self, rules: Sequence[Rule], selectors: Sequence[Sequence[Matcher]], start: int, end: int, examples: int
    ) -> Response:
        """Look at the series; runs in a worker thread."""
        until = time.monotonic() + PREVIEW_SECONDS_MAX

        def check() -> None:
            trio.from_thread.check_cancelled()
            if time.monotonic() > until:
                what = f"the preview took longer than {PREVIEW_SECONDS_MAX:g} s: choose fewer series with match[]"
                raise LimitExceeded("preview_seconds_max", what)

        try:
            return self._look(rules, selectors, start, end, examples, check)
        except LimitExceeded as e:
            raise ApiError("bad_data", str(e)) from None
        except StorageError as e:
            raise ApiError("internal", str(e)) from None

    def _look(
        self,
        rules: Sequence[Rule],
        selectors: Sequence[Sequence[Matcher]],
        start: int,
        end: int,
        examples: int,
        check: Callable[[], None],
    ) -> Response:
        with self._services.queryable.querier(start, end) as querier:
            found = _distinct([querier.series(matchers) for matchers in selectors])
            check()
            out = preview(islice(found, PREVIEW_SERIES_MAX), rules, examples, check, PreviewBounds())
            cut = next(found, None) is not None
        data = preview_json(out, self._services.relabelling.show)
        data["saved"] = self._saved(out)
        return success(data, (TRUNCATED,) if cut else ())

    def _saved(self, out: Preview) -> dict[str, int] | None:
        """Return what the dropped series take up now, estimated from the sizes of their metrics; None: not known."""
        try:
            sizes = self._services.cardinality(CardinalityQuery(METRIC_SIZES_MAX)).metrics
        except StorageError:
            return None
        samples = size = 0.0
        for metric in sizes:
            dropped = out.dropped_by_metric.get(metric.name, 0)
            if dropped:
                share = dropped / max(metric.series, out.series_by_metric[metric.name])
                samples, size = samples + share * metric.samples, size + share * metric.bytes
        return {"samples": round(samples), "bytes": round(size)}


def preview_json(out: Preview, show: Callable[[Rule], dict[str, object]]) -> dict[str, Any]:
    """Return a preview as data for JSON."""
    return {
        "series": out.series,
        "kept": out.kept,
        "dropped": out.dropped,
        "changed": out.changed,
        "collided": out.collided,
        "collisions": out.collisions,
        "rules": [{"rule": show(r.rule), "dropped": r.dropped, "changed": r.changed} for r in out.rules],
        "labels": {
            name: {"added": e.added, "removed": e.removed, "changed": e.changed}
            for name, e in sorted(out.labels.items())
        },
        "droppedByMetric": [{"name": name, "value": n} for name, n in _top(out.dropped_by_metric)],
        "renamedMetrics": [{"from": a, "to": b, "value": n} for (a, b), n in _top(out.renamed)],
        "examples": {
            "dropped": [{"labels": dict(e.labels), "rule": e.rule, "reason": e.reason} for e in out.dropped_examples],
            "changed": [{"from": dict(e.before), "to": dict(e.after)} for e in out.changed_examples],
            "collided": [
                {"to": dict(e.after), "from": [dict(labels) for labels in e.before], "count": e.count}
                for e in out.collision_examples
            ],
        },
    }


def _top(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:METRICS_SHOWN_MAX]


def _distinct(parts: Sequence[Sequence[Labels]]) -> Any:
    """Return an iterator over the label sets of several selections, each once."""
    return iter(parts[0]) if len(parts) == 1 else iter(dict.fromkeys(chain(*parts)))
