"""The log as sinks see it: what was committed, in order, from a durable place of their own."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from attrs import frozen

from ..model.batch import Batch


@frozen(order=True)
class LogPosition:
    """A place between two records of the log: the number of a file and a byte offset in it."""

    file: int
    offset: int


@frozen
class CursorStart:
    """Where a cursor begins that has no place yet; of a cursor that has one it says nothing.

    age_ms: the samples that were committed at most so long ago, as far as the log still has them; 0 begins with what is
    committed from now on, None with the oldest that there is.
    """

    age_ms: int | None = 0


@frozen(eq=False)
class Logged:
    """One record of the log: the accepted samples of a batch, its exemplars (by series), or metadata.

    `batch.refs` are refs of the agent's registry, as are the exemplars' series.  end: the place behind the record.
    in_doubt: whether an earlier process may have handed it on already, because it was committed before this one began.
    """

    batch: Batch
    end: LogPosition
    in_doubt: bool = False


@frozen
class LogLoss:
    """What a cursor has missed since the last time it was asked, because the log had outgrown its limit of size or age."""

    samples: int = 0
    files: int = 0


class LogCursor(abc.ABC):
    """The durable place of one sink in the log.  Synchronous; one thread at a time calls.

    What was read and not saved is read again by the next process: every sample is handed out at least once.
    """

    name: str
    position: LogPosition
    """Up to here `read` has come."""
    saved: LogPosition
    """From here the next process reads on."""

    @abc.abstractmethod
    def read(self, samples_max: int) -> Sequence[Logged]:
        """Return the next committed records in order, until they have `samples_max` samples or more; () for no more now.

        Only what is durable is handed out.  Raises `CorruptionError` for a damaged record below what was acknowledged.
        """

    def pass_damage(self) -> None:  # noqa: B027 - where nothing is ever damaged there is nothing to pass
        """Go on behind the place that `read` raised `CorruptionError` for; what is missed counts as lost."""

    @abc.abstractmethod
    def save(self, position: LogPosition) -> None:
        """Note durably that all before this place has been dealt with; the log may drop it."""

    @abc.abstractmethod
    def bytes_behind(self) -> int:
        """Return how many bytes of the log are still to be read; any thread."""

    @abc.abstractmethod
    def take_loss(self) -> LogLoss:
        """Return what was missed since the last call."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close files; the place stays.  Idempotent."""
