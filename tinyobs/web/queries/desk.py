"""Where queries are taken in: each is run where it is cheapest, within the limits of all of them together.

A query that was quick the last time runs in the event loop (`../api_v1/pace.py`).  Any other takes a slot
(`slots.py`), a thread, and its turns at computing (`turns.py`), and is listed meanwhile (`active.py`).  What evaluating
and answering mean is the caller's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import trio
from attrs import define, field, frozen

from ...errors import QueryCanceled, QueryTimeout
from ...promql.limits import MemoryPool
from ...promql.result import QueryStatistics
from ..api_v1.pace import Pace, TooSlowInline, inline_check, seconds_alone
from ..inbox import Receive, while_client_stays
from ..options import WebOptions
from ..problem import ApiError
from .active import ActiveQueries, ActiveQuery, Meter, Question
from .finished import CrashFile, FinishedQuery, QueryLog
from .slots import QuerySlots
from .turns import Turns

T = TypeVar("T")
Check = Callable[[], None]
NO_STATISTICS: Final = QueryStatistics()


@frozen
class QueryDeskStatistics:
    """How the queries of clients fare."""

    computing: int
    """Queries that compute now; as many as there are threads for it."""
    in_slots: int
    """Queries that are evaluated, in turns."""
    queued: int = field(metadata={"metric": "tinyobs_query_queue_length"})
    """Queries that wait for a slot."""
    refused_total: int
    """Queries refused because too many were waiting."""
    queue_timeouts_total: int
    """Queries whose time was up before they got a slot."""
    inline_total: int
    """Queries that were answered in the event loop, being known as quick."""
    canceled_total: int
    """Queries that somebody stopped."""


@define(eq=False)
class Place:
    """What a query gets to run in.

    check: raises when the query has to stop; called between pieces of work.  queued_seconds: how long it has waited.
    watch: takes the meter of the evaluation; None where nobody can look at it.  statistics: what it has cost, put there
    by the work.
    """

    check: Check
    queued_seconds: float = 0.0
    watch: Callable[[Meter], None] | None = None
    statistics: QueryStatistics = NO_STATISTICS


class QueryDesk:
    """Takes queries in.  `run` is called in the event loop; what it is given runs there or in a thread."""

    def __init__(self, options: WebOptions, now_ms: Callable[[], int], memory: MemoryPool | None = None) -> None:
        """Take limits and clock; memory: that of all running queries, where answers that are being sent count too."""
        self._now_ms = now_ms
        self.memory = memory or MemoryPool()
        self._slots = QuerySlots(options.queries_max, options.queries_queued_max)
        self._turns = Turns(_threads(options))
        self._pace = Pace()
        self._inline = self._canceled = 0
        self.active = ActiveQueries()
        self.options = options
        self.log: QueryLog | None = None
        self.crash_file: CrashFile | None = None

    def reconfigure(self, options: WebOptions) -> None:
        """Take other limits for the queries that come from now on."""
        self.options = options
        self._slots.resize(options.queries_max, options.queries_queued_max)
        self._turns.resize(_threads(options))

    def cancel(self, number: int) -> bool:
        """Stop a query; tell whether there was one of that number."""
        found = self.active.cancel(number)
        self._canceled += found
        return found

    def statistics(self) -> QueryDeskStatistics:
        """Return the figures."""
        slots = self._slots.statistics()
        return QueryDeskStatistics(
            computing=self._turns.statistics()[0],
            in_slots=slots.running,
            queued=slots.waiting,
            refused_total=slots.refused_total,
            queue_timeouts_total=slots.late_total,
            inline_total=self._inline,
            canceled_total=self._canceled,
        )

    def queue_figures(self) -> tuple[int, float]:
        """Return how many queries wait for slots now, and how many seconds queries have waited, summed up."""
        slots = self._slots.statistics()
        return slots.waiting, slots.wait_seconds

    async def run(
        self,
        question: Question,
        key: int | None,
        seconds: float,
        work: Callable[[Place], T],
        receive: Receive = trio.sleep_forever,
    ) -> T:
        """Do the work of a query where that is cheapest; `seconds` is what it may take, waiting included.

        key: what its pace is remembered by.  receive: that of the request, to stop a query whose client has gone.
        """
        begun = time.monotonic()
        if seconds > 0 and self._pace.is_quick(key):
            place = Place(inline_check())
            try:
                found = work(place)
                self._inline += 1
                self._note(question, place, begun)
                return found
            except TooSlowInline:
                pass
            except Exception as e:
                self._note(question, place, begun, e)
                raise
            finally:
                self._pace.note(key, time.monotonic() - begun)
        query = self.active.add(question, self._now_ms())
        place = Place(_thread_check(query, begun + seconds), watch=query.watch)
        try:
            job = partial(self._run_in_thread, query, place, key, begun, seconds, work)
            found = await while_client_stays(receive, job)
        except Exception as e:
            self._note(question, place, begun, e)
            raise
        finally:
            self.active.remove(query)
        self._note(question, place, begun)
        return found

    async def _run_in_thread(
        self,
        query: ActiveQuery,
        place: Place,
        key: int | None,
        begun: float,
        seconds: float,
        work: Callable[[Place], T],
    ) -> T:
        client = query.question.client
        queue_seconds = self.options.query_queue_seconds
        patience = min(seconds, queue_seconds) if queue_seconds else seconds
        with query.waiting:
            await self._slots.take(client, self._pace.expected(key), patience)
        if query.waiting.cancelled_caught:
            raise ApiError("canceled", "query was canceled in query queue")
        crash_file = self.crash_file
        at = 0 if crash_file is None else crash_file.enter(query.question.text)
        try:
            query.running = True
            # The slots have bounded the threads; this limiter only says so to trio.
            job = partial(self._in_thread, client, place, key, begun, work)
            return await trio.to_thread.run_sync(job, limiter=trio.CapacityLimiter(1))
        finally:
            self._slots.leave(client)
            if crash_file is not None:
                crash_file.leave(at)

    def _in_thread(self, client: str, place: Place, key: int | None, begun: float, work: Callable[[Place], T]) -> T:
        """Do the work in turns."""
        unwanted = place.check
        turn = self._turns.begin(client, unwanted)
        place.queued_seconds = time.monotonic() - begun

        def check() -> None:
            unwanted()
            self._turns.rest(turn, unwanted)

        place.check = check
        begun_at = time.thread_time()
        try:
            return work(place)
        finally:
            self._pace.note(key, seconds_alone(self._turns.end(turn), time.thread_time() - begun_at))

    def _note(self, question: Question, place: Place, begun: float, error: Exception | None = None) -> None:
        """Tell the log of a query that is over, unless its text made no sense."""
        log = self.log
        if log is None or (isinstance(error, ApiError) and error.kind == "bad_data"):
            return
        seconds = time.monotonic() - begun
        if seconds >= log.threshold_seconds:
            text = "" if error is None else str(error) or type(error).__name__
            log.note(FinishedQuery(question, self._now_ms(), seconds, place.queued_seconds, place.statistics, text))


def _thread_check(query: ActiveQuery, deadline: float) -> Check:
    """Return the `check` of a query in a worker thread: is it still wanted, is its time up?"""

    def check() -> None:
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            # In a thread, where cancellation is no longer trio's business but the engine's.
            raise QueryCanceled("query was canceled in expression evaluation") from None  # noqa: ASYNC104
        query.check()
        if time.monotonic() > deadline:
            raise QueryTimeout("query timed out in expression evaluation")

    return check


def _threads(options: WebOptions) -> int:
    """Return how many queries compute at one time: one processor is left for the event loop and the writers."""
    return options.query_threads or max(1, (os.cpu_count() or 1) - 1)


def client_of(scope: Any) -> tuple[str, str]:
    """Return whose share of the slots a request takes, and the address of its peer.

    A user that was authenticated, else the peer's address.  Headers say nothing: anybody may write anything there.
    """
    peer = scope.get("client")
    address = peer[0] if peer else ""
    user = scope.get("user")
    return (f"user:{user}" if user else address), address
