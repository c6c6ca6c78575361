"""What an operator has to be told of: kept until the daemon fetches it for its log.

A notice is one line that says which file and byte, what was lost, and what to do.  Counting is done elsewhere; an error
that is raised to somebody is told by whoever gets it.  The table of all messages: docs/operations.md.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..abc import Notice
from ..errors import CorruptionError
from .layout import MANIFEST

if TYPE_CHECKING:
    from .recovery import Recovered

NOTICES_MAX: Final = 1000
"""Notices that wait to be fetched; beyond it the oldest go."""
PLACES_MAX: Final = 10_000
"""Damaged places that are remembered as told."""
NAMES_SHOWN: Final = 5
ON_START: Final = "run `tinyobs tsdb verify`, which says what is lost; then `tinyobs tsdb repair`, or restore a backup"
"""What to do where damage keeps the engine from opening."""
NO_ROOM: Final = (
    "the disk is full: no log file can be created, and no sample is taken until there is space; what is stored can be "
    "asked for"
)
"""What is told of a start on a full disk."""
WHILE_RUNNING: Final = (
    "queries and background work that need it fail, all else goes on; run `tinyobs tsdb verify --while-running`, "
    "which says what is lost; then stop the daemon and run `tinyobs tsdb repair`, or restore a backup"
)
"""What to do where damage is met later."""


class Notices:
    """Notices in the order of their coming.  Any thread."""

    def __init__(self) -> None:
        self._waiting: deque[Notice] = deque(maxlen=NOTICES_MAX)
        self._told: set[tuple[str, int]] = set()
        self._telling = threading.Lock()

    def note(self, text: str, *, is_fault: bool = True) -> None:
        """Keep a line."""
        self._waiting.append(Notice(text, is_fault))

    def note_damage(self, error: CorruptionError) -> None:
        """Keep a line about damage, one for each place however often it is met."""
        place = (error.file, error.offset)
        with self._telling:  # queries that run side by side meet the same damage
            if place in self._told or len(self._told) >= PLACES_MAX:
                return
            self._told.add(place)
        self.note(f"{error}; {WHILE_RUNNING}")

    def note_recovery(self, recovered: Recovered) -> None:
        """Keep what opening the directory had to tidy up."""
        removed, report = recovered.removed, recovered.report
        if removed:
            names = ", ".join(removed[:NAMES_SHOWN]) + (", ..." if len(removed) > NAMES_SHOWN else "")
            counted = f"{len(removed)} file{'s' if len(removed) > 1 else ''}"
            text = f"removed {counted} that {MANIFEST} does not list, as is normal after a crash: {names}"
            self.note(text, is_fault=False)
        if report.torn_bytes:
            self.note(
                f"{report.torn_file}: cut off {report.torn_bytes} bytes at byte {report.torn_at} that were never "
                "completely written, as is normal after a crash; nothing that was acknowledged is lost",
                is_fault=False,
            )

    def take(self) -> Sequence[Notice]:
        """Return what came since the last call."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]
