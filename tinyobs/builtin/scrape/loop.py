"""The life of one target: scrape on its schedule, store what was found, say how it went.

Every scrape stores one batch: the samples, staleness markers for series that vanished, and the synthetic series
(`up`, `scrape_duration_seconds`, ...).  A failed scrape stores markers for all series of the last one and `up` 0.
Source of the rules: prometheus scrape/scrape.go `scrapeAndReport`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import thread_time
from typing import Final

import numpy as np
import structlog
import trio
from attrs import define, field

from ...abc import Services
from ...errors import ExpositionError, LimitExceeded, PluginError, StorageError, Unavailable, WireError
from ...exposition.formats import Format
from ...exposition.negotiate import format_of
from ...exposition.parsers import BodyParser, parser_of
from ...http_client import HttpError
from ...model.batch import AppendResult, Batch, Refused
from ...model.exemplars import ExemplarRefused
from ...model.labels import Labels
from ...model.metadata import MetricMetadata
from ...model.schedule import next_tick_ms, phase_ms
from .fetch import Fetched, Requester, ScrapeError, fetch
from .outcome import Outcome, Zeros, end_batch, failed, outcome_of
from .rules import LoopRules
from .series import TargetSeries, report_refs
from .statistics import PoolCounters
from .targets import Target

TOLERANCE_MS: Final = 2
"""A scrape this close to its tick is stamped with the tick: regular timestamps compress better."""
CHANGED_IN_THREAD_BYTES: Final = 100_000
"""Bodies that differ in length from the last one by more are read in a worker thread: series that come or go take long."""
READ_IN_THREAD_BYTES: Final = 2_000_000
"""Bodies longer than this are always read in a worker thread."""
READ_IN_THREAD_SECONDS: Final = 0.005
"""Bodies are read in a worker thread when the last ones took longer than this; the thread itself costs 0.1 ms."""
READING_THREADS_MAX: Final = 4
"""Bodies that are read in worker threads at once: more would get nothing done sooner, and hold up the event loop."""
REPORTS: Final = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
EXTRA_REPORTS: Final = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")

log = structlog.get_logger("scrape")

_reading_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("scrape_reading")


@define
class Health:
    """What the targets page shows."""

    up: bool | None = None
    last_error: str = ""
    last_scrape_ms: int = 0
    last_duration_seconds: float = 0.0
    metadata: Mapping[str, MetricMetadata] = field(factory=dict)


class ScrapeLoop:
    """Scrapes one target until cancelled."""

    def __init__(
        self,
        target: Target,
        rules: LoopRules,
        client: Requester,
        services: Services,
        counters: PoolCounters,
        seed: str,
        on_failure: Callable[[ScrapeLoop, str, int], None] = lambda loop, error, at_ms: None,
        beat: int = 1,
    ) -> None:
        """beat: distance in ms of the moments that scrapes begin at (`model/schedule.py`).  on_failure: called with (loop, error, time in ms) after each failed scrape."""
        self.target = target
        self.health = Health()
        self.forced_error = ""
        """Why the pool lets every scrape fail, "" when it does not."""
        self.is_trial = False
        """Whether somebody looks at this one scrape, so that its failure need not be logged."""
        self._rules = rules
        self._client = client
        self._services = services
        self._counters = counters
        self._on_failure = on_failure
        self._began: float | None = None
        self._phase = phase_ms(target.key, seed, target.interval_ms, beat)
        self._parser: BodyParser | None = None
        self._zeros = Zeros() if rules.zeros else None
        self._known_bytes = 0
        """Length of the last body that the parser could read."""
        self._expected_seconds = 0.0
        """How long reading a body is thought to take: the last time, or half of what was thought before."""
        self._series = TargetSeries(services.registry, target.labels, rules.series)
        names = REPORTS + (EXTRA_REPORTS if rules.extra_metrics else ())
        self._told_limits: set[str] = set()
        self._report_refs = report_refs(services.registry, target.labels, names)
        timeout = f"{target.timeout_ms / 1000:g}"
        accept = rules.accept_native if target.histograms.native else rules.accept
        self._headers = {"Accept": accept, **dict(rules.headers), "X-Prometheus-Scrape-Timeout-Seconds": timeout}

    def current_series(self) -> set[Labels]:
        """Return the series of the last scrape that a marker is due for when they vanish."""
        return {self._services.registry.labels(ref) for ref in self._series.current.tolist()}

    def inherit(self, earlier: ScrapeLoop) -> None:
        """Go on where another loop of the same target stopped: its series are not new, and may vanish."""
        self._series.inherit(earlier._series)
        self.health = earlier.health
        self._began = earlier._began

    async def run(self) -> None:
        """Scrape at each tick; a tick that passes while a scrape runs is left out."""
        interval = self.target.interval_ms
        while True:
            now = self._services.clock.now_ms()
            tick = next_tick_ms(now, interval, self._phase)
            await trio.sleep((tick - now) / 1000)
            now = self._services.clock.now_ms()
            tolerance = min(TOLERANCE_MS, interval // 100)
            await self.scrape(tick if abs(now - tick) <= tolerance else now)

    async def scrape(self, at_ms: int) -> None:
        """Scrape once and store the outcome with timestamp `at_ms`."""
        began = trio.current_time()
        if self._began is not None:
            self._counters.intervals.observe(self.target.interval_ms, began - self._began)
        self._began = began
        outcome = await self._attempt(at_ms)
        took = trio.current_time() - began
        before, change = self._series.last, outcome.change
        self._series.take(change)
        report = [float(not outcome.error), took, float(outcome.scraped), float(outcome.kept), float(change.added)]
        if self._rules.extra_metrics:
            report += [self.target.timeout_ms / 1000, float(self._rules.sample_limit), float(outcome.body_bytes)]
        self._tell(outcome, at_ms, took)
        zeros = self._zeros.batch(outcome) if self._zeros is not None else None
        if zeros is not None:
            await self._store(zeros, refusable=True)
        await self._store(outcome.batch(before, self._report_refs, report, at_ms))

    async def finish(self, at_ms: int) -> None:
        """Mark all series of the target stale: it is gone for good."""
        refs, native = np.concatenate([self._series.current, self._report_refs]), self._series.last.native
        self._series.end()
        await self._store(end_batch(refs, native, at_ms))

    async def _attempt(self, at_ms: int) -> Outcome:
        """Fetch and read; an outcome with `error` holds no samples."""
        size, limit = 0, ""
        if self.forced_error:
            return failed(self._series, self.forced_error)
        try:
            with trio.fail_after(self.target.timeout_ms / 1000):
                fetched = await fetch(self._client, self.target.url, self._headers, self._rules.body_size_limit)
                size = len(fetched.body)
                outcome = await self._read(fetched, at_ms)
        except trio.TooSlowError:
            error = f"context deadline exceeded: no answer within {self.target.timeout_ms / 1000:g}s"
        except LimitExceeded as e:
            error, limit = str(e), e.limit
        except (ScrapeError, HttpError) as e:
            error = str(e)
        except Exception as e:  # what one target's answer brings about must not end the scraping of the others
            log.error("a scrape failed by a fault of ours", target=self.target.url, exc_info=e)
            self._parser = None
            error = f"internal error: {type(e).__name__}: {e}"
        else:
            return outcome
        return failed(self._series, error, limit, body_bytes=size)

    async def _read(self, fetched: Fetched, at_ms: int) -> Outcome:
        """Read a body here, or in a worker thread when that will take long.

        The thread is waited for even when the scrape is cancelled or its time is over: parser and series are never
        changed by two, and the next scrape profits from what was learned.  The outcome is then thrown away.
        """
        try:
            wanted = format_of(fetched.content_type, self._rules.fallback)
        except WireError as e:
            raise ScrapeError(str(e)) from None
        if self._parser is None or self._parser.format is not wanted or self._series.is_outdated:
            self._parser, self._known_bytes = self._new_parser(wanted), 0
            self._series.forget()
        if self._takes_long(len(fetched.body)):
            limiter = _limiter()
            outcome = await trio.to_thread.run_sync(self._outcome, self._parser, fetched.body, at_ms, limiter=limiter)
            await trio.lowlevel.checkpoint_if_cancelled()
            return outcome
        return self._outcome(self._parser, fetched.body, at_ms)

    def _new_parser(self, format: Format) -> BodyParser:
        return parser_of(format, self.target.histograms, created=self._rules.created)

    def _takes_long(self, size: int) -> bool:
        return (
            size > READ_IN_THREAD_BYTES
            or abs(size - self._known_bytes) > CHANGED_IN_THREAD_BYTES
            or self._expected_seconds > READ_IN_THREAD_SECONDS
        )

    def _outcome(self, parser: BodyParser, body: bytes, at_ms: int) -> Outcome:
        """Parse a body, decide its series and compare them with the last scrape's; runs in any thread.

        Changes nothing but what parser and series have learned.
        """
        began = thread_time()
        scraped, limit = 0, ""
        try:
            parsed = parser.parse(body)
            scraped, self._known_bytes = len(parsed.values), len(body)
            return outcome_of(parsed, self._series, self._rules, at_ms, len(body))
        except (ExpositionError, WireError, ScrapeError) as e:
            error = str(e)
        except LimitExceeded as e:
            error, limit = str(e), e.limit
        finally:
            self._expected_seconds = max(thread_time() - began, self._expected_seconds / 2)
        return failed(self._series, error, limit, scraped, len(body))

    def _tell(self, outcome: Outcome, at_ms: int, took: float) -> None:
        """Take the outcome over into what the targets page and the counters show."""
        health = self.health
        if outcome.error and outcome.error != health.last_error and not self.is_trial:
            log.warning("scrape failed", target=self.target.url, error=outcome.error)
        health.up, health.last_error = not outcome.error, outcome.error
        health.last_scrape_ms, health.last_duration_seconds = at_ms, took
        if outcome.metadata:  # none: as in the body before
            health.metadata = outcome.metadata
        self._counters.scrapes += 1
        self._counters.samples += outcome.scraped
        if outcome.error:
            self._counters.failures += 1
            if outcome.limit:
                self._count_limit(outcome.limit)
            self._on_failure(self, outcome.error, at_ms)

    async def _store(self, batch: Batch, *, refusable: bool = False) -> None:
        """Store a batch; refusable: of samples that may well be too old."""
        try:
            result = await self._services.append(batch, may_wait=True)
        except (Unavailable, StorageError, PluginError) as e:
            self._counters.skipped += 1
            log.warning("scraped samples were not stored", target=self.target.url, samples=len(batch), error=str(e))
        else:
            if not refusable:
                self._count_refused(result)

    def _count_refused(self, result: AppendResult) -> None:
        limits = {h.text for h in result.limits}
        if limits - self._told_limits:
            log.warning("series of a target are refused", target=self.target.url, limits=sorted(limits))
        self._told_limits = limits
        self._counters.late_exemplars += result.exemplars_refused.get(ExemplarRefused.OUT_OF_ORDER, 0)
        for reason, count in result.refused.items():
            if reason is Refused.DUPLICATE:
                self._counters.duplicates += count
            elif reason is Refused.OUT_OF_ORDER:
                self._counters.out_of_order += count
            elif reason in (Refused.TOO_OLD, Refused.OUT_OF_BOUNDS):
                self._counters.out_of_bounds += count

    def _count_limit(self, limit: str) -> None:
        if limit == "sample_limit":
            self._counters.sample_limit += 1
        elif limit == "body_size_limit":
            self._counters.body_size_limit += 1
        elif limit == "native_histogram_bucket_limit":
            self._counters.bucket_limit += 1
        else:
            self._counters.label_limits += 1


def _limiter() -> trio.CapacityLimiter:
    """Return what bounds the reading threads of all loops of this event loop."""
    try:
        return _reading_limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(READING_THREADS_MAX)
        _reading_limiter.set(limiter)
        return limiter
