"""Delivers one request after another: attempts, pauses, and what becomes of it in the end.

A receiver may refuse a request as a whole because of single samples, as Prometheus does with what is out of order.  Of a
request that may have been carried out already, without an answer that came back, that would take the good samples with
it: such a request is sent again in halves, and in halves of halves (docs/decisions/0055).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Final

import numpy as np
import structlog
import trio

from ...abc import Clock
from ...config.remote import RemoteWriteConfig
from ...exposition.remote_write_rows import SendRows
from .answers import Fate, Verdict, Written, judge
from .backoff import Backoff
from .counters import TOO_OLD, Counters
from .doubt import doubt_of
from .poster import NoAnswer, Poster
from .protocol import Protocol
from .queue import without_histograms

LOOK_EVERY_SECONDS: Final = 0.5
"""How often a pause looks whether it should end because the agent stops."""
TOLD_EVERY_SECONDS: Final = 60.0
"""Least time between two lines in the log about the same kind of trouble."""

log = structlog.get_logger("remote_write")


class GivenUp(Exception):
    """The agent stops and the destination does not answer: the rest is for the next process."""


class Sender:
    """The one that talks to a destination; all of its shards share it."""

    def __init__(
        self,
        name: str,
        config: RemoteWriteConfig,
        poster: Poster,
        protocol: Protocol,
        counters: Counters,
        clock: Clock,
        is_ending: Callable[[], bool],
    ) -> None:
        """is_ending: whether there is no time left for second attempts."""
        self._name = name
        self._config = config
        self._poster = poster
        self._protocol = protocol
        self._counters = counters
        self._clock = clock
        self._is_ending = is_ending
        self._chance = random.Random().random  # noqa: S311 - no secret hangs on it
        self._writes_in_part = False
        """Whether the receiver has been seen to keep the good samples of a request that it refused."""
        q = config.queue_config
        self.doubt = doubt_of(q.capacity, q.max_shards)
        self._told: dict[str, float] = {}
        self._troubled_at: float | None = None
        """Since when requests are not answered, or refused for the moment; None while all is well."""
        self.delivered_at = -np.inf
        """When a request was last answered for good."""

    async def deliver(self, rows: SendRows, in_doubt: bool) -> None:
        """Return when samples are delivered or refused for good; raises `GivenUp`.

        in_doubt: whether an earlier process, or an earlier reader in this one, may have delivered them already.
        """
        await self._deliver(rows, in_doubt, False)

    async def _deliver(self, rows: SendRows, in_doubt: bool, unanswered: bool) -> None:
        """Deliver samples.  unanswered: whether an attempt to send them ended without an answer."""
        pauses = self._pauses()
        for attempt in itertools.count():
            rows = self._protocol.carried(self._young(rows))
            is_2 = self._protocol.is_2
            if not len(rows) and (is_2 or not rows.lonely):
                return
            body = await self._protocol.body(rows)
            verdict = await self._attempt(body, rows, attempt)
            if verdict is None:
                unanswered = True
            elif verdict.fate is Fate.UNSUPPORTED:
                self._fall_back(verdict, is_2)
                continue
            elif verdict.fate is Fate.DELIVERED:
                self._delivered(rows, body, verdict.written if is_2 else None)
                if in_doubt:
                    self.doubt.accepted()
                return
            elif verdict.fate is Fate.REFUSED:
                doubtful = unanswered or (in_doubt and not self.doubt.is_over)
                if self._may_halve(verdict, rows, doubtful):
                    await self._in_halves(rows, in_doubt, unanswered)
                else:
                    self._refused(rows, body, verdict, doubtful)
                return
            if self._troubled_at is None:
                self._troubled_at = trio.current_time()
            self._count(self._counters.retried, rows)
            await self._pause(pauses.next(verdict.wait_seconds if verdict else None))

    async def deliver_metadata(self, body: bytes, count: int, content_type: str, version: str) -> None:
        """Send metadata of 1.0; returns when it is delivered or refused for good.  Raises `GivenUp`."""
        pauses, counters = self._pauses(), self._counters
        for attempt in itertools.count():
            verdict = await self._post(body, content_type, version, False, attempt)
            if verdict is not None and verdict.fate is Fate.DELIVERED:
                counters.sent["metadata"] += count
                counters.metadata_bytes += len(body)
                return
            if verdict is not None and verdict.fate is not Fate.AGAIN:
                counters.failed["metadata"] += count
                self._tell("metadata refused", status=verdict.status, text=verdict.text, count=count)
                return
            counters.retried["metadata"] += count
            await self._pause(pauses.next(verdict.wait_seconds if verdict else None))

    # -- one attempt -------------------------------------------------------------------------------------------

    async def _attempt(self, body: bytes, rows: SendRows, attempt: int) -> Verdict | None:
        p = self._protocol
        return await self._post(body, p.content_type, p.version, p.is_2, attempt, is_empty=not len(rows))

    async def _post(
        self, body: bytes, content_type: str, version: str, v2: bool, attempt: int, is_empty: bool = False
    ) -> Verdict | None:
        """Return what the answer to a request means, None when there was none."""
        began, counters = trio.current_time(), self._counters
        try:
            reply = await self._poster.post(body, content_type, version, attempt)
        except NoAnswer as e:
            counters.codes["none"] = counters.codes.get("none", 0) + 1
            self._tell("no answer, trying again", error=str(e))
            return None
        finally:
            counters.durations.observe(trio.current_time() - began)
        code = str(reply.status)
        counters.codes[code] = counters.codes.get(code, 0) + 1
        verdict = judge(
            reply.status,
            reply.headers,
            reply.text,
            v2=v2,
            retry_429=self._config.queue_config.retry_on_http_429,
            now_ms=self._clock.now_ms(),
            is_empty=is_empty,
        )
        if verdict.fate is Fate.AGAIN:
            self._tell("not accepted now, trying again", status=verdict.status, text=verdict.text)
        return verdict

    def _pauses(self) -> Backoff:
        q = self._config.queue_config
        return Backoff(q.min_backoff_ms / 1000, q.max_backoff_ms / 1000, self._chance)

    async def _pause(self, seconds: float) -> None:
        until = trio.current_time() + seconds
        while True:
            if self._is_ending():
                raise GivenUp
            left = until - trio.current_time()
            if left <= 0:
                return
            await trio.sleep(min(left, LOOK_EVERY_SECONDS))

    # -- what becomes of it ------------------------------------------------------------------------------------

    def _young(self, rows: SendRows) -> SendRows:
        """Return rows without those that are older than the limit of age, where there is one."""
        limit = self._config.queue_config.sample_age_limit_ms
        if not limit or not len(rows):
            return rows
        old = rows.timestamps_ms < self._clock.now_ms() - limit
        if not old.any():
            return rows
        young = without_histograms(rows, old)
        native = rows.histogram_count - young.histogram_count
        self._counters.drop("histograms", TOO_OLD, native)
        self._counters.drop("samples", TOO_OLD, len(rows) - len(young) - native)
        self._counters.drop("exemplars", TOO_OLD, rows.exemplar_count - young.exemplar_count)
        return young

    def _fall_back(self, verdict: Verdict, is_2: bool) -> None:
        if is_2 and self._protocol.is_2:
            why = "refused the message" if verdict.status == 415 else "did not say what it has written"
            log.warning(
                "the receiver does not know remote write 2.0; sending 1.0 from now on",
                remote_name=self._name,
                status=verdict.status,
                because=f"it {why}",
            )
            self._protocol.fall_back()

    def _may_halve(self, verdict: Verdict, rows: SendRows, doubtful: bool) -> bool:
        written = verdict.written
        if written is not None and not written.nothing:
            self._writes_in_part = True
        return verdict.status == 400 and doubtful and len(rows) > 1 and not self._writes_in_part

    async def _in_halves(self, rows: SendRows, in_doubt: bool, unanswered: bool) -> None:
        self._counters.halvings += 1
        middle, positions = len(rows) // 2, np.arange(len(rows))
        for part in (rows.take(positions[:middle]), rows.take(positions[middle:])):
            await self._deliver(part, in_doubt, unanswered)

    def _delivered(self, rows: SendRows, body: bytes, written: Written | None) -> None:
        counters = self._counters
        self.delivered_at = trio.current_time()
        if self._troubled_at is not None:
            seconds, self._troubled_at = self.delivered_at - self._troubled_at, None
            log.info("delivering again", remote_name=self._name, after_seconds=round(seconds, 1))
        counters.bytes += len(body)
        counters.highest_sent_ms = max(counters.highest_sent_ms, int(rows.timestamps_ms.max(initial=0)))
        sent = _counts(rows, lonely=written is None)
        missing = 0
        for kind, count in sent.items():
            done = count if written is None else min(getattr(written, kind), count)
            counters.sent[kind] += done
            counters.failed[kind] += count - done
            missing += count - done
        if written is not None:
            self._protocol.lonely_dropped(len(rows.lonely))
        if missing:
            self._tell("the receiver has written less than it was sent", missing=missing, sent=sum(sent.values()))

    def _refused(self, rows: SendRows, body: bytes, verdict: Verdict, doubtful: bool) -> None:
        counters, written = self._counters, verdict.written or Written()
        self.delivered_at = trio.current_time()
        counters.bytes += len(body)
        for kind, count in _counts(rows).items():
            done = min(getattr(written, kind), count)
            counters.sent[kind] += done
            counters.failed[kind] += count - done
        event = "samples refused; they may have been delivered before" if doubtful else "samples refused"
        if doubtful:
            self.doubt.refused()
        self._tell(event, status=verdict.status, text=verdict.text, samples=len(rows))

    def _count(self, counts: dict[str, int], rows: SendRows) -> None:
        for kind, count in _counts(rows).items():
            counts[kind] += count

    def _tell(self, event: str, **fields: object) -> None:
        """Log trouble, each kind once in a while."""
        now = trio.current_time()
        if now - self._told.get(event, -np.inf) >= TOLD_EVERY_SECONDS:
            self._told[event] = now
            log.warning(event, remote_name=self._name, **fields)


def _counts(rows: SendRows, lonely: bool = True) -> dict[str, int]:
    """Return how many there are of each kind."""
    native = rows.histogram_count
    exemplars = rows.exemplar_count - (0 if lonely else len(rows.lonely))
    return {"samples": len(rows) - native, "histograms": native, "exemplars": exemplars}
