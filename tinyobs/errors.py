"""The closed exception tree of TinyObs.

Everything that TinyObs raises on purpose derives from `TinyObsError`.  Positions are data, not only text: a tool
that shows an error can point at the place.  What is *not* here: a refused sample, which is a counted result
(`tinyobs.model.batch.AppendResult`), and bugs of our own, which are `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen


class TinyObsError(Exception):
    """The root: an operator or a client can do something about it; the message says what."""


# -- configuration ---------------------------------------------------------------------------------------------


@frozen
class Problem:
    """One thing wrong in a configuration file; `line` and `column` count from 1, 0 where unknown."""

    file: str
    line: int
    column: int
    message: str
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message}" + (f" (at {self.path})" if self.path else "")


class ConfigError(TinyObsError):
    """A configuration cannot be used; `problems` has every fault found in the one run."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class UsageError(TinyObsError):
    """A command line or a call of the library API asks for something that cannot be."""


class PluginError(TinyObsError):
    """A plugin cannot be loaded or broke the contract of a hook; the message names the plugin."""


# -- input -----------------------------------------------------------------------------------------------------


class ExpositionError(TinyObsError):
    """A scraped body is malformed at `line`, `column` (both from 1; columns count bytes)."""

    def __init__(self, reason: str, line: int, column: int = 1) -> None:
        self.reason, self.line, self.column = reason, line, column
        super().__init__(f"{line}:{column}: {reason}")


class WireError(TinyObsError):
    """A pushed message cannot be decoded; `offset` is the byte at which reading failed, -1 where unknown."""

    def __init__(self, reason: str, offset: int = -1) -> None:
        self.reason, self.offset = reason, offset
        super().__init__(reason if offset < 0 else f"{reason} at byte {offset}")


class LimitExceeded(TinyObsError):
    """A named limit was exceeded; `limit` is the setting that holds it."""

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(message)


class Unavailable(TinyObsError):
    """Not now: starting, overloaded or out of disk.  Trying again later may succeed."""


class RateLimited(TinyObsError):
    """A source pushes faster than it may; nothing was taken, and `retry_after_seconds` later it would be."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


# -- queries ---------------------------------------------------------------------------------------------------


class QueryError(TinyObsError):
    """A query failed.  `kind` is the `errorType` of the Prometheus HTTP API."""

    kind = "execution"


class QueryParseError(QueryError):
    """The text is not PromQL, or its types do not fit.  Positions are offsets in characters, from 0."""

    kind = "bad_data"

    def __init__(self, message: str, start: int, end: int, text: str) -> None:
        self.message, self.start, self.end, self.text = message, start, end, text
        before = text[: max(start, 0)]
        self.line = before.count("\n") + 1
        self.column = start - (before.rfind("\n") + 1) + 1
        where = f"{self.line}:{self.column}" if text else "unknown position"
        super().__init__(f"{where}: parse error: {message}")


class QueryExecutionError(QueryError):
    """Evaluation failed: many-to-many matching, a limit of samples, and the like."""


class QueryTimeout(QueryError):
    """The query took longer than it may."""

    kind = "timeout"


class QueryCanceled(QueryError):
    """The client went away or the daemon is stopping."""

    kind = "canceled"


# -- storage ---------------------------------------------------------------------------------------------------


class StorageError(TinyObsError):
    """The data directory cannot do what was asked."""


class CorruptionError(StorageError):
    """Damage below what was ever acknowledged, in `file` at byte `offset`."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        self.file, self.offset, self.reason = file, offset, reason
        super().__init__(f"{file}: damaged at byte {offset}: {reason}")


class LockedError(StorageError):
    """Another process holds the data directory."""


class FormatVersionError(StorageError):
    """The data directory was written by a newer TinyObs."""


class ReadOnlyError(StorageError):
    """The engine takes no more samples until restart: a write or fsync failed."""


class DiskFullError(StorageError):
    """No space left; ingestion resumes by itself when there is space again."""
