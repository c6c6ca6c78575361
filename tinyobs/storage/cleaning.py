"""Rewriting segments without what was deleted, so that the space comes back and readers have less to look at.

Done a minute after the delete, so that many small deletes cost one rewriting, or at once when asked for
(`clean_tombstones`), oldest segments first.  A delete that takes nothing from any segment any more is struck off the
manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .jobs import Job, Watch, Work
from .masking import MaskedReader
from .merging import MergeJob

if TYPE_CHECKING:
    from .engine import Engine

CLEAN_AFTER_MS: Final = 60_000
"""How long a delete waits for others before segments are rewritten."""


class Cleaning:
    """Plans the rewriting; remembers since when deletes wait."""

    def __init__(self) -> None:
        self.is_urgent = False
        self._since_ms: dict[int, int] = {}

    def plan(self, engine: Engine, now_ms: int) -> Job | None:
        """Return the next job: a segment to rewrite, or deletes to strike off."""
        deletes = engine.segments.deletes
        if not deletes:
            self._since_ms, self.is_urgent = {}, False
            return None
        self._since_ms = {d.below: min(self._since_ms.get(d.below, now_ms), now_ms) for d in deletes}
        if not self.is_urgent and now_ms - max(self._since_ms.values()) < CLEAN_AFTER_MS:
            return None
        return self._next(engine)

    def _next(self, engine: Engine) -> Job | None:
        watch = Watch()
        needed: set[int] = set()
        for entry, reader in engine.segments.pairs:
            if not isinstance(reader, MaskedReader):
                continue
            if entry.sequence in engine.upkeep.damaged:
                needed.update(d.below for d in reader.deletes)
            elif reader.touched_count:
                return MergeJob(engine, "rewrite", [(entry, reader)], entry.level)
            if watch.is_up:  # what was looked up is remembered: the next call comes further
                return None
        done = [d.below for d in engine.segments.deletes if d.below not in needed]
        if not done:
            self.is_urgent = False  # what is left cannot be read
            return None
        return _StrikeJob(engine, done)


class _StrikeJob(Job):
    """Deletes that take nothing from any segment go off the manifest."""

    kind = "clean"

    def __init__(self, engine: Engine, done: list[int]) -> None:
        self._engine, self._done = engine, done
        self.work = Work()

    def step(self) -> bool:
        """Do nothing: all happens at once."""
        return False

    def finish(self) -> None:
        """Write the manifest."""
        left = tuple([d for d in self._engine.segments.deletes if d.below not in self._done])
        self._engine.segments.replace((), (), self._engine.publish, deletes=left)

    def abort(self) -> None:
        """Nothing was begun."""
