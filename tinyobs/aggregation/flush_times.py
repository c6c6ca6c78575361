"""When a rule flushes, and which samples are too old or too new for the window under way.

Without alignment windows follow one another from the start; with it they begin and end at multiples of the interval, and
what comes before the first such time goes with the first window.  Source: VictoriaMetrics lib/streamaggr (runFlusher).
"""

from __future__ import annotations

from attrs import define

from .rule import AggregationRule

AHEAD_MS_MAX = 300_000
"""How far ahead of the clock the result of a window that is cut short at the end may be."""


@define
class Due:
    """What is due at a tick: deduplication up to a time, and a flush with its timestamp where it is due."""

    dedup_ms: int
    flush_ms: int | None


class FlushTimes:
    """The schedule of one rule.  Times are those of the wall clock in milliseconds."""

    def __init__(self, rule: AggregationRule, start_ms: int) -> None:
        interval = rule.interval_ms
        self._interval = interval
        self._dedup = rule.dedup_interval_ms
        self._step = self._dedup or interval
        self._aligned = not rule.no_align_flush_to_interval
        begin = -(-start_ms // interval) * interval if self._aligned else start_ms
        self.oldest_ms = begin
        """Samples before this are late."""
        self.end_ms = begin + self._step
        """The end of the window, or of the interval of deduplication, under way."""
        self._flush_ms = begin + interval
        self.tick_ms = self.end_ms
        """When to look again."""

    def tick(self, now_ms: int) -> Due:
        """Return what is due, and go on to the next; called at `tick_ms` or later."""
        due = Due(self.end_ms, self._flush_ms if self._flush_ms <= self.end_ms else None)
        self.oldest_ms = self.end_ms
        if due.flush_ms is not None:
            self._flush_ms = _later(self._flush_ms, self._interval, now_ms)
        self.end_ms = _later(self.end_ms, self._dedup, now_ms) if self._dedup else self._flush_ms
        self.tick_ms = _later(self.tick_ms, self._step, now_ms)
        return due

    def last_ms(self, now_ms: int) -> int:
        """Return the timestamp of what is flushed when the process ends."""
        return min(self._flush_ms, now_ms + AHEAD_MS_MAX) if self._aligned else now_ms


def _later(time_ms: int, step: int, now_ms: int) -> int:
    """Return the first time after now, and after the one given, in steps from that."""
    return time_ms + max(1, (now_ms - time_ms) // step + 1) * step
