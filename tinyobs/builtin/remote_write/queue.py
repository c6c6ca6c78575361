"""The queue of one shard: parts of log records in order, cut into requests of a limited size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import define, evolve, frozen

from ...abc import Logged
from ...exposition.remote_write_rows import SendRows
from ...model.exemplars import Exemplar
from ...model.histograms import joined, numbers_of, renumbered

EXEMPLAR_WAIT_SECONDS: Final = 60.0
"""How long an exemplar waits for a sample of its series to go with."""
EXEMPLARS_MAX: Final = 10_000
"""How many wait at most; more are dropped."""


@define
class Settlement:
    """Counts the parts of a record that are still to be delivered."""

    logged: Logged
    settle: Callable[[Logged], None]
    parts: int = 0

    def done(self) -> None:
        """One part has been dealt with."""
        self.parts -= 1
        if self.parts == 0:
            self.settle(self.logged)


@frozen(eq=False)
class Piece:
    """Samples of one record that go through one shard."""

    rows: SendRows
    settlement: Settlement
    in_doubt: bool = False


@frozen(eq=False)
class Outgoing:
    """What goes into one request, and the parts that have been dealt with when it has."""

    rows: SendRows
    settlements: Sequence[Settlement]
    in_doubt: bool = False


class ShardQueue:
    """Pieces in order.  Times are those of a clock in seconds that the caller reads."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._done = 0
        """Samples of the first piece that have been taken."""
        self._waiting: dict[int, list[tuple[float, Exemplar]]] = {}
        self._since: deque[float] = deque()
        """When each piece came."""
        self.samples = 0
        self.histograms = 0
        self.exemplars = 0

    def put(self, piece: Piece, now: float) -> None:
        """Add a piece; it has samples."""
        self._pieces.append(piece)
        self._since.append(now)
        self.samples += len(piece.rows)
        self.histograms += piece.rows.histogram_count

    def put_exemplars(self, exemplars: Sequence[Exemplar], now: float) -> int:
        """Let exemplars wait for samples of their series; return how many there was no room for."""
        taken = exemplars[: max(EXEMPLARS_MAX - self.exemplars, 0)]
        for e in taken:
            self._waiting.setdefault(e.ref, []).append((now, e))
        self.exemplars += len(taken)
        return len(exemplars) - len(taken)

    def adopt_exemplars(self, other: ShardQueue) -> None:
        """Take over what waits in another queue."""
        for ref, waiting in other._waiting.items():
            self._waiting.setdefault(ref, []).extend(waiting)
        self.exemplars += other.exemplars

    def due(self, size: int, patience: float) -> float | None:
        """Return when a request is due: -inf for at once, None when there is nothing to send."""
        if not self._pieces:
            return None
        return float("-inf") if self.samples >= size else self._since[0] + patience

    def take(self, size: int, now: float) -> Outgoing:
        """Take the next samples, `size` at most and one at least; with exemplars, each counting as one."""
        parts: list[SendRows] = []
        settlements = []
        in_doubt, left = False, size
        while self._pieces and left:
            piece, first = self._pieces[0], self._done
            last = min(first + left, len(piece.rows))
            whole = first == 0 and last == len(piece.rows)
            parts.append(piece.rows if whole else piece.rows.take(np.arange(first, last)))
            in_doubt |= piece.in_doubt
            left -= last - first
            self._done = last
            if last == len(piece.rows):
                settlements.append(piece.settlement)
                self._pieces.popleft()
                self._since.popleft()
                self._done = 0
        rows = _in_order(_together(parts))
        self.samples -= len(rows)
        self.histograms -= rows.histogram_count
        return self._with_exemplars(Outgoing(rows, settlements, in_doubt), size - left, size, now)

    def _with_exemplars(self, out: Outgoing, used: int, size: int, now: float) -> Outgoing:
        """Add waiting exemplars whose series have a sample here, and those that have waited long enough."""
        if not self._waiting:
            return out
        room = max(size - used, max(size // 10, 1))
        found: dict[int, list[Exemplar]] = {}
        refs = out.rows.refs
        for ref in np.intersect1d(refs, np.fromiter(self._waiting, np.uint32)).tolist():
            if room <= 0:
                break
            waiting = self._waiting.pop(ref)
            if waiting[room:]:
                self._waiting[ref] = waiting[room:]
            found[int(np.flatnonzero(refs == ref)[-1])] = [e for _, e in waiting[:room]]
            room -= len(waiting)
        late = [ref for ref, waiting in self._waiting.items() if waiting[0][0] + EXEMPLAR_WAIT_SECONDS <= now]
        lonely = [e for ref in late for _, e in self._waiting.pop(ref)]
        self.exemplars -= len(lonely) + sum(map(len, found.values()))
        return evolve(out, rows=evolve(out.rows, exemplars=found, lonely=lonely))


def _together(parts: Sequence[SendRows]) -> SendRows:
    if len(parts) == 1:
        return parts[0]
    values, histograms = joined([(p.values, p.histograms) for p in parts])
    starts = None
    if any(p.starts_ms is not None for p in parts):
        starts = np.concatenate([np.zeros(len(p), np.int64) if p.starts_ms is None else p.starts_ms for p in parts])
    return SendRows(
        np.concatenate([p.refs for p in parts]),
        np.concatenate([p.timestamps_ms for p in parts]),
        values,
        starts,
        histograms,
    )


def _in_order(rows: SendRows) -> SendRows:
    """Return rows ascending in time, which those of each series must be within a request."""
    times = rows.timestamps_ms
    if (times[1:] >= times[:-1]).all():
        return rows
    return rows.take(np.argsort(times, kind="stable"))


def without_histograms(rows: SendRows, dropped: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> SendRows:
    """Return rows without those histograms that are marked (bool[n]); the table holds only what is left."""
    rows = rows.take(np.flatnonzero(~dropped))
    if rows.histograms is None:
        return rows
    values, numbers = renumbered(rows.values)
    if not len(numbers):
        return evolve(rows, histograms=None)
    return evolve(rows, values=values, histograms=rows.histograms.take(numbers))


def custom_histograms(rows: SendRows, schema: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return bool[n], where a histogram of this schema stands."""
    out = np.zeros(len(rows), np.bool_)
    if rows.histograms is not None:
        numbers = numbers_of(rows.values)
        at = np.flatnonzero(numbers >= 0)
        out[at] = rows.histograms.schemas()[numbers[at]] == schema
    return out
