"""Keys that the entries of every section of sinks have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from ..abc import CursorStart
from ..config.fields import Fault, setting
from ..errors import QueryParseError
from ..model.durations import parse_duration
from ..promql.parser import parse_selector

NOW: Final = "now"
OLDEST: Final = "oldest"
NAME_MAX: Final = 60
"""Longest name of a sink, in characters."""


@frozen(kw_only=True)
class SinkSettings:
    """One sink: what it is called, which series it takes and where it begins."""

    name: str = setting()
    """What the cursor, the logs and the metrics call it."""
    match: tuple[str, ...] = setting(default=())
    """Selectors; series that fulfil any of them are taken.  Default: all."""
    start: str = setting(default=NOW)
    """Where a new sink begins: `now`, `oldest` (all that the log still has), or an age such as 1d; default now."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the name, the selectors and the start."""
        if not 0 < len(self.name) <= NAME_MAX or not self.name.isprintable():
            yield Fault(f"a name has 1 to {NAME_MAX} printable characters", "name")
        for text in self.match:
            try:
                parse_selector(text)
            except QueryParseError as e:
                yield Fault(f"{text!r} is not a series selector: {e}", "match")
        try:
            self.cursor_start()
        except ValueError as e:
            yield Fault(f"start: {NOW}, {OLDEST} or an age, not {self.start!r}: {e}", "start")

    def cursor_start(self) -> CursorStart:
        """Return where a new cursor begins."""
        if self.start == OLDEST:
            return CursorStart(None)
        return CursorStart(0 if self.start == NOW else parse_duration(self.start))
