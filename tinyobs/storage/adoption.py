"""Taking over finished segments that an importer put into `incoming/`.

A sound file gets a second name among the segments, one manifest lists it, and only then the first name goes; whoever
crashes in between finds the file in `incoming/` again, and the one that is listed already is known by its footer.
Adopted segments stand before all others in age, so that what was stored live wins over what was imported for the same
series and time.  A file that is no sound segment is put aside as `NAME.bad`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import CorruptionError, FormatVersionError, StorageError
from .jobs import Job, Work
from .layout import INCOMING_FOLDER, SEGMENT_SUFFIX, bad, incoming_name, segment_name
from .manifest import SegmentEntry
from .segment_format import FOOTER_BYTES
from .segment_reader import SegmentReader
from .segment_set import entry_of

if TYPE_CHECKING:
    from .engine import Engine

LOOK_EVERY_MS: Final = 5000
"""How often the folder is listed."""


class Adoption:
    """Plans the taking over of what is in the folder."""

    def __init__(self) -> None:
        self._look_at_ms = -(2**63)
        self._waiting: list[str] = []
        self.stuck: set[str] = set()
        """Files that were taken over and cannot be removed: taken again, they would bring back what is deleted later."""

    def plan(self, engine: Engine, now_ms: int) -> Job | None:
        """Return the job for the next file; raises `OSError`."""
        if not self._waiting:
            if 0 <= self._look_at_ms - now_ms <= LOOK_EVERY_MS:
                return None
            self._look_at_ms = now_ms + LOOK_EVERY_MS
            found = engine.disk.list(INCOMING_FOLDER)
            self.stuck &= set(found)
            self._waiting = [f for f in reversed(found) if f.endswith(SEGMENT_SUFFIX) and f not in self.stuck]
            for file in sorted(self.stuck):
                _remove(engine, file)
        return AdoptJob(engine, self._waiting.pop()) if self._waiting else None

    def adopt_now(self, engine: Engine) -> None:
        """Take over all that waits, in one go; raises `StorageError` when that fails.  No job may be in progress."""
        self._waiting = []
        try:
            for file in engine.disk.list(INCOMING_FOLDER):
                if file.endswith(SEGMENT_SUFFIX) and file not in self.stuck:
                    _adopt(AdoptJob(engine, file))
        except OSError as e:
            raise StorageError(f"what waits in {INCOMING_FOLDER}/ cannot be taken over: {e}") from e


class AdoptJob(Job):
    """One file."""

    kind = "adopt"

    def __init__(self, engine: Engine, file: str) -> None:
        self._engine, self._name = engine, incoming_name(file)
        self._entry: SegmentEntry | None = None
        self.work = Work()

    def step(self) -> bool:
        """Look at the file and give it its second name."""
        engine = self._engine
        reader = self._open()
        if reader is None or self._is_listed(reader):
            return False
        sequence = engine.segments.take_sequence()
        engine.disk.link(self._name, segment_name(sequence))
        self._entry = entry_of(sequence, reader.info)
        self.work = Work(self._entry.samples, self._entry.samples, 0, 0, self._entry.bytes)
        return False

    def finish(self) -> None:
        """List the segment and take the first name away; where that fails it is done by a later look."""
        engine, entry = self._engine, self._entry
        if entry is not None:
            self._entry = None  # from here on a manifest may list it
            engine.segments.replace((), (entry,), engine.publish, at_front=True)
            engine.changes.note(entry.mint_ms)
            engine.upkeep.counts.adopted += 1
        _remove(engine, self._name.removeprefix(f"{INCOMING_FOLDER}/"))

    def abort(self) -> None:
        """Take the second name away again."""
        if self._entry is not None:
            self._engine.disk.remove(segment_name(self._entry.sequence))

    def _open(self) -> SegmentReader | None:
        """Return a reader of a sound segment; put anything else aside."""
        engine = self._engine
        try:
            reader = SegmentReader(engine.disk, self._name, engine.segments.cache)
            if reader.info.sample_count and reader.info.series_count and reader.info.mint_ms <= reader.info.maxt_ms:
                return reader
            reason = "a segment without samples"
        except (CorruptionError, FormatVersionError) as e:
            reason = str(e)
        engine.disk.rename(self._name, bad(self._name))
        engine.disk.sync_folder(INCOMING_FOLDER)
        engine.upkeep.counts.rejected += 1
        engine.upkeep.last_failure = f"{self._name} was put aside as {bad(self._name)}: {reason}"
        engine.notices.note(f"{engine.upkeep.last_failure}; nothing of it was taken in: import it again")
        return None

    def _is_listed(self, reader: SegmentReader) -> bool:
        """Tell whether a crash or a failure came between listing a segment and taking its first name away.

        The footer has the checksums of all tables, so two different segments do not have the same.
        """
        engine, info = self._engine, reader.info
        footer = bytes(engine.disk.map(self._name)[-FOOTER_BYTES:])
        for e in engine.segments.entries:
            same = (e.mint_ms, e.maxt_ms, e.samples, e.bytes) == (
                info.mint_ms,
                info.maxt_ms,
                info.sample_count,
                info.bytes,
            )
            if same and bytes(engine.disk.map(segment_name(e.sequence))[-FOOTER_BYTES:]) == footer:
                return True
        return False


def _adopt(job: AdoptJob) -> None:
    try:
        job.step()
        job.finish()
    except BaseException:
        job.abort()
        raise


def _remove(engine: Engine, file: str) -> None:
    """Take away the first name of what was taken over."""
    try:
        if file in engine.disk.list(INCOMING_FOLDER):
            engine.disk.remove(incoming_name(file))
            engine.upkeep.adoption.stuck.discard(file)
            engine.disk.sync_folder(INCOMING_FOLDER)
    except OSError as e:
        engine.upkeep.adoption.stuck.add(file)
        engine.upkeep.last_failure = f"{incoming_name(file)} was taken over but cannot be removed: {e}; remove it"
