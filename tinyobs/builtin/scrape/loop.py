"""The life of one target: scrape on its schedule, store what was found, say how it went.

Every scrape stores one batch: the samples, staleness markers for series that vanished, and the synthetic series
(`up`, `scrape_duration_seconds`, ...).  A failed scrape stores markers for all series of the last one and `up` 0.
Source of the rules: prometheus scrape/scrape.go `scrapeAndReport`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Final

import numpy as np
import structlog
import trio
from attrs import define, field, frozen
from numpy.typing import NDArray

from ...abc import Services
from ...errors import ExpositionError, LimitExceeded, StorageError, Unavailable, WireError
from ...exposition.formats import Format
from ...exposition.negotiate import format_of
from ...exposition.scrape_parser import NO_TIMESTAMP, Parsed, ScrapeParser
from ...http_client import HttpError
from ...model.batch import AppendResult, Batch, Refused
from ...model.labels import Labels
from ...model.metadata import MetricMetadata
from ...model.schedule import next_tick_ms, phase_ms
from ...model.staleness import STALE_NAN, is_stale
from .fetch import Fetched, Requester, ScrapeError, fetch
from .series import DROPPED, Change, SeriesRules, TargetSeries, report_refs
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


@frozen
class LoopRules:
    """How a pool scrapes its targets; a limit of 0 is none."""

    series: SeriesRules
    headers: tuple[tuple[str, str], ...]
    """Request headers but the timeout's, `Accept` among them."""
    fallback: Format | None = None
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    sample_limit: int = 0
    body_size_limit: int = 0
    extra_metrics: bool = False


@define
class Health:
    """What the targets page shows."""

    up: bool | None = None
    last_error: str = ""
    last_scrape_ms: int = 0
    last_duration_seconds: float = 0.0
    metadata: dict[str, MetricMetadata] = field(factory=dict)


@define
class _Outcome:
    """What one scrape came to."""

    refs: NDArray[np.uint32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    change: Change
    scraped: int = 0
    kept: int = 0
    body_bytes: int = 0
    error: str = ""
    limit: str = ""
    """The setting whose limit was exceeded."""
    metadata: dict[str, MetricMetadata] = field(factory=dict)


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
        self._parser: ScrapeParser | None = None
        self._known_bytes = 0
        """Length of the last body that the parser could read."""
        self._expected_seconds = 0.0
        """How long reading a body is thought to take: the last time, or half of what was thought before."""
        self._series = TargetSeries(services.registry, target.labels, rules.series)
        names = REPORTS + (EXTRA_REPORTS if rules.extra_metrics else ())
        self._report_refs = report_refs(services.registry, target.labels, names)
        timeout = f"{target.timeout_ms / 1000:g}"
        self._headers = {**dict(rules.headers), "X-Prometheus-Scrape-Timeout-Seconds": timeout}

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
        change = outcome.change
        self._series.take(change)
        report = [float(not outcome.error), took, float(outcome.scraped), float(outcome.kept), float(change.added)]
        if self._rules.extra_metrics:
            report += [self.target.timeout_ms / 1000, float(self._rules.sample_limit), float(outcome.body_bytes)]
        self._tell(outcome, at_ms, took)
        await self._store(_join(outcome, change.gone, self._report_refs, report, at_ms))

    async def finish(self, at_ms: int) -> None:
        """Mark all series of the target stale: it is gone for good."""
        refs = np.concatenate([self._series.current, self._report_refs])
        times = np.full(len(refs), at_ms, np.int64)
        self._series.end()
        await self._store(Batch(refs, times, np.full(len(refs), STALE_NAN), "scrape"))

    async def _attempt(self, at_ms: int) -> _Outcome:
        """Fetch and read; an outcome with `error` holds no samples."""
        size, limit = 0, ""
        if self.forced_error:
            return self._failed(self.forced_error)
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
        return self._failed(error, limit, body_bytes=size)

    async def _read(self, fetched: Fetched, at_ms: int) -> _Outcome:
        """Read a body here, or in a worker thread when that will take long.

        The thread is waited for even when the scrape is cancelled or its time is over: parser and series are never
        changed by two, and the next scrape profits from what was learned.  The outcome is then thrown away.
        """
        try:
            wanted = format_of(fetched.content_type, self._rules.fallback)
        except WireError as e:
            raise ScrapeError(str(e)) from None
        if self._parser is None or self._parser.format is not wanted:
            self._parser, self._known_bytes = ScrapeParser(wanted), 0
            self._series.forget()
        if self._takes_long(len(fetched.body)):
            limiter = _limiter()
            outcome = await trio.to_thread.run_sync(self._outcome, self._parser, fetched.body, at_ms, limiter=limiter)
            await trio.lowlevel.checkpoint_if_cancelled()
            return outcome
        return self._outcome(self._parser, fetched.body, at_ms)

    def _takes_long(self, size: int) -> bool:
        return (
            size > READ_IN_THREAD_BYTES
            or abs(size - self._known_bytes) > CHANGED_IN_THREAD_BYTES
            or self._expected_seconds > READ_IN_THREAD_SECONDS
        )

    def _outcome(self, parser: ScrapeParser, body: bytes, at_ms: int) -> _Outcome:
        """Parse a body, decide its series and compare them with the last scrape's; runs in any thread.

        Changes nothing but what parser and series have learned.
        """
        began = thread_time()
        scraped, limit = 0, ""
        try:
            parsed = parser.parse(body)
            scraped, self._known_bytes = len(parsed.values), len(body)
            return self._samples(parsed, at_ms, len(body))
        except (ExpositionError, ScrapeError) as e:
            error = str(e)
        except LimitExceeded as e:
            error, limit = str(e), e.limit
        finally:
            self._expected_seconds = max(thread_time() - began, self._expected_seconds / 2)
        return self._failed(error, limit, scraped, len(body))

    def _samples(self, parsed: Parsed, at_ms: int, size: int) -> _Outcome:
        found = self._series.refs(parsed.series, parsed.new, parsed.metadata)
        keep = found != DROPPED
        kept = int(np.count_nonzero(keep))
        if self._rules.sample_limit and kept > self._rules.sample_limit:
            raise LimitExceeded("sample_limit", "sample limit exceeded")
        refs, values = found[keep].astype(np.uint32), parsed.values[keep]
        times = np.full(kept, at_ms, np.int64)
        fresh = ~is_stale(values)
        if self._rules.honor_timestamps and parsed.timestamps_ms is not None:
            own = parsed.timestamps_ms[keep]
            explicit = own != NO_TIMESTAMP
            times[explicit] = own[explicit]
            if not self._rules.track_timestamps_staleness:
                fresh &= ~explicit
        change = self._series.compare(refs[fresh])
        return _Outcome(refs, times, values, change, len(parsed.values), kept, size, metadata=dict(parsed.metadata))

    def _failed(self, error: str, limit: str = "", scraped: int = 0, body_bytes: int = 0) -> _Outcome:
        """Return an outcome without samples: all series of the last scrape have vanished."""
        refs = np.empty(0, np.uint32)
        change = self._series.compare(refs)
        return _Outcome(refs, np.empty(0, np.int64), np.empty(0), change, scraped, 0, body_bytes, error, limit)

    def _tell(self, outcome: _Outcome, at_ms: int, took: float) -> None:
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

    async def _store(self, batch: Batch) -> None:
        try:
            result = await self._services.append(batch)
        except (Unavailable, StorageError) as e:
            self._counters.skipped += 1
            log.warning("scraped samples were not stored", target=self.target.url, samples=len(batch), error=str(e))
        else:
            self._count_refused(result)

    def _count_refused(self, result: AppendResult) -> None:
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


def _join(
    outcome: _Outcome, gone: NDArray[np.uint32], report_refs: NDArray[np.uint32], report: list[float], at_ms: int
) -> Batch:
    """Return the samples, the markers for vanished series and the synthetic series as one batch."""
    extra = len(gone) + len(report)
    return Batch(
        np.concatenate([outcome.refs, gone, report_refs]),
        np.concatenate([outcome.times, np.full(extra, at_ms, np.int64)]),
        np.concatenate([outcome.values, np.full(len(gone), STALE_NAN), np.array(report)]),
        "scrape",
        outcome.metadata,
    )
