"""A query that is over, as logs want to know it."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from ...promql.result import QueryStatistics
from .active import Question


@frozen
class FinishedQuery:
    """seconds: from its arrival to the text of its answer, waiting included.  error: "" when it has succeeded."""

    question: Question
    ended_ms: int
    seconds: float
    queued_seconds: float
    statistics: QueryStatistics
    error: str = ""


class QueryLog(Protocol):
    """What takes note of queries.  Called in the event loop, after the answer was made; must be quick."""

    @property
    def threshold_seconds(self) -> float:
        """Queries that took less need not be noted."""

    def note(self, query: FinishedQuery) -> None:
        """Take note of one."""


class CrashFile(Protocol):
    """What remembers queries under way beyond the end of the process."""

    def enter(self, text: str) -> int:
        """Note a query; return what to strike it by."""

    def leave(self, at: int) -> None:
        """Strike a query."""
