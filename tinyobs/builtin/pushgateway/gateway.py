"""The gateway: takes changes of groups in order, and makes them durable before anybody hears of them.

Changes that come while others are on their way to the disk wait and go together: their samples in one batch for each source,
their records with one fsync of the journal.  Whoever waits first commits for all that wait; no task needs to run for that.
Samples are stored first, then the journal is written; what could not be done is undone, and those who asked are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np
import structlog
import trio
from attrs import define

from ...abc import Reception, Services, Then
from ...errors import LimitExceeded, StorageError, TinyObsError, Unavailable, WireError
from ...exposition.formats import Format
from ...exposition.group_body import GroupBody, GroupReader
from ...model.batch import AppendResult, Batch, Refused
from ...model.labels import Labels
from ...receiving.outcome import over_limit, refusals
from ...storage.push_journal import PushJournal
from ...storage.push_journal_format import Deleted, Failed, Pushed, Record, Wiped
from .changes import NUMBERS, Applied, Change, Kind, Samples, batch_of, markers, stamp
from .groups import OWN_METADATA, Changed, Groups, Part
from .restoring import restored
from .settings import SECTION, PushgatewaySettings

INCONSISTENT: Final = "inconsistent"
"""The reason that inconsistent pushes are counted under."""
_FOR_GOOD: Final = (Refused.LIMIT, Refused.INVALID)
"""Reasons for which samples of a push are refused that make it fail; with the others the next value counts."""

log = structlog.get_logger("pushgateway")


@define
class Counts:
    """Numbers of a gateway."""

    commits: int = 0
    rewrites: int = 0
    again: int = 0
    expired: int = 0
    inconsistent: int = 0


class Gateway:
    """All groups of an agent, and the way in which they change.  Used in the event loop."""

    def __init__(self, services: Services, reception: Reception) -> None:
        self.counts = Counts()
        self.journal: PushJournal | None = None
        self.trouble = ""
        """Why nothing can be taken now: the journal could not be opened, or is closed already."""
        settings = self._section(services)
        self.groups = Groups(services.registry, settings.groups_max, settings.size_max_bytes)
        self._services, self._reception = services, reception
        self._readers: dict[Labels, dict[Format, GroupReader]] = {}
        self._waiting: list[Change] = []
        self._has_leader = False
        self.started_ms = services.clock.now_ms()

    @property
    def settings(self) -> PushgatewaySettings:
        """The section as configured now."""
        return self._section(self._services)

    # -- bodies ------------------------------------------------------------------------------------------------

    def take_reader(self, key: Labels, format: Format) -> GroupReader:
        """Return the reader of a group's bodies, which remembers the last one; nobody else has it meanwhile."""
        utf8 = self.settings.utf8_names
        reader = self._readers.get(key, {}).pop(format, None)
        if reader is not None and reader.utf8_names == utf8:
            return reader
        return GroupReader(key, format, self._services.registry, utf8_names=utf8)

    def give_back(self, key: Labels, reader: GroupReader) -> None:
        """Take a reader back; it is kept as long as the group is there."""
        if key in self.groups.by_key:
            self._readers.setdefault(key, {})[reader.format] = reader

    # -- changing ----------------------------------------------------------------------------------------------

    async def submit(self, change: Change) -> None:
        """Make a change; returns when it is durable.  Raises what the storage raises, `Unavailable` and `LimitExceeded`."""
        if self.trouble:
            raise Unavailable(self.trouble)
        self._waiting.append(change)
        if self._has_leader:
            try:
                await change.awake.wait()
            except trio.Cancelled:
                self._leave(change)
                raise
        if not change.is_done:
            await self._lead()
        if change.error is not None:
            raise change.error

    async def _lead(self) -> None:
        """Commit what waits, then let who came first meanwhile do the same."""
        self._has_leader = True
        changes, self._waiting = self._waiting, []
        try:
            with trio.CancelScope(shield=True):  # half a commit would be neither done nor undone
                await self._commit(changes)
        except Exception as e:
            for change in changes:
                change.error = change.error or e
            raise
        finally:
            for change in changes:
                change.is_done = True
                change.awake.set()
            self._pass_on()

    def _pass_on(self) -> None:
        self._has_leader = bool(self._waiting)
        if self._waiting:
            self._waiting[0].awake.set()

    def _leave(self, change: Change) -> None:
        """Take a change back that nobody waits for any more, unless it is being committed."""
        if change in self._waiting:
            was_next = change.awake.is_set()
            self._waiting.remove(change)
            if was_next:
                self._pass_on()

    async def _commit(self, changes: Sequence[Change]) -> None:
        self.counts.commits += 1
        made = self._apply_all(changes)
        is_persistent = await self._store(made)
        if any(change.error is not None for change, _ in made):
            self._undo(made)
            made = self._apply_all([change for change, _ in made if change.error is None])
        try:
            if not is_persistent:
                await self._persist(_records_of(made))
        except TinyObsError as e:
            self._undo(made)
            for change, _ in made:
                change.error = e
        for change, _ in made:
            if change.error is None and change.fault:
                self.counts.inconsistent += 1
                self._reception.refuse(INCONSISTENT)
        if any(change.kind is Kind.AGAIN for change in changes):
            await self._store_again()

    # -- applying ----------------------------------------------------------------------------------------------

    def _apply_all(self, changes: Sequence[Change]) -> list[tuple[Change, Applied]]:
        made = []
        for change in changes:
            try:
                made.append((change, self._apply(change)))
            except LimitExceeded as e:
                change.error = e
        return made

    def _undo(self, made: Sequence[tuple[Change, Applied]]) -> None:
        for _, applied in reversed(made):
            for changed in reversed(applied.changed):
                changed.undo()

    def _apply(self, change: Change) -> Applied:
        if change.kind in (Kind.PUSH, Kind.REPLACE):
            return self._push(change)
        applied = Applied()
        if change.kind is Kind.AGAIN:
            return applied
        keys = [change.key] if change.kind is Kind.DELETE else list(self.groups.by_key)
        for key in keys:
            changed = self.groups.delete(key)
            if changed is not None:
                self._readers.pop(key, None)
                applied.changed.append(changed)
                if len(changed.gone):
                    applied.samples.append(markers(changed.gone, stamp(changed.group, change.time_ms)))
        if applied.changed:
            whole = change.kind is Kind.WIPE
            applied.records.append(Wiped(change.time_ms) if whole else Deleted(change.key, change.time_ms))
        return applied

    def _push(self, change: Change) -> Applied:
        body = change.body
        assert body is not None
        check, fault, changed = self.settings.consistency_check, body.fault, None
        if not fault or (not check and fault == body.structure.fault):
            families = frozenset(body.structure.families)
            s = body.structure
            part = Part(s, body.values, change.time_ms, change.format, change.raw, body.histograms, families)
            outcome = self.groups.push(change.key, part, replaces=change.kind is Kind.REPLACE, check=check)
            if isinstance(outcome, str):
                fault = outcome
            else:
                changed, fault = outcome, ""
        change.fault = fault
        if changed is None:
            changed = self.groups.fail(change.key, change.time_ms)
            return Applied([changed], [self._times(changed, change.time_ms)], [Failed(change.key, change.time_ms)])
        record = Pushed(change.key, change.time_ms, change.kind is Kind.REPLACE, NUMBERS[change.format], change.raw)
        return Applied([changed], self._samples(changed, change, body), [record])

    def _samples(self, changed: Changed, change: Change, part: GroupBody) -> list[Samples]:
        group = changed.group
        at_ms = stamp(group, change.time_ms)
        s = part.structure
        metadata = {**s.families, **OWN_METADATA} if changed.structured else {}
        times = np.array([group.state.pushed_ms / 1000, group.state.failed_ms / 1000])
        refs = np.concatenate((s.refs, group.own_refs))
        samples = [Samples(refs, at_ms, np.concatenate((part.values, times)), part.histograms, metadata)]
        if len(changed.gone):
            samples.append(markers(changed.gone, at_ms))
        return samples

    def _times(self, changed: Changed, time_ms: int) -> Samples:
        group = changed.group
        times = np.array([group.state.pushed_ms / 1000, group.state.failed_ms / 1000])
        metadata = OWN_METADATA if changed.structured else {}
        return Samples(group.own_refs, stamp(group, time_ms), times, None, metadata)

    # -- storing -----------------------------------------------------------------------------------------------

    async def _store(self, made: Sequence[tuple[Change, Applied]]) -> bool:
        """Store the samples of changes, one batch for each source; notes with the changes what went wrong.

        Returns whether the records of all changes are in the journal as well.
        """
        by_source: dict[str, list[tuple[Change, Applied]]] = {}
        for change, applied in made:
            if applied.samples:
                by_source.setdefault(change.source, []).append((change, applied))
        if len(by_source) == 1:
            ((source, only),) = by_source.items()
            return await self._store_of(source, only, _records_of(made))
        async with trio.open_nursery() as nursery:
            for source, some in by_source.items():
                nursery.start_soon(self._store_of, source, some)
        return False

    async def _store_of(
        self, source: str, made: Sequence[tuple[Change, Applied]], records: Sequence[Record] = ()
    ) -> bool:
        """Store the samples of changes of one source; tell whether `records` are in the journal as well.

        That is written where the samples were, by the same thread: going to another one costs as much as all the rest.
        """
        batch = batch_of([s for _, applied in made for s in applied.samples])
        journal = self.journal
        then: Then | None = None
        if journal is not None and records and not journal.wants_rewrite:
            then = partial(_append_unless_refused, journal, records)
        try:
            result = await self._append(batch, source, then)
            if not _is_refused(result):
                return then is not None
            if len(made) > 1:  # whose samples they were is found out one by one; what is stored already stays
                for one in made:
                    await self._store_of(source, [one])
                return False
        except TinyObsError as e:
            for change, _ in made:
                change.error = e
            return False
        change = made[0][0]
        change.error = WireError("; ".join(refusals(self._services.registry, batch, result)))
        change.is_over_limit = over_limit(result) == result.refused_total
        return False

    async def _append(self, batch: Batch, source: str, then: Then | None) -> AppendResult:
        if source:
            return await self._reception.store(batch, source, then=then)
        return await self._services.append(batch, then=then)

    async def _persist(self, records: Sequence[Record]) -> None:
        journal = self.journal
        if journal is None or not records:
            return
        if journal.wants_rewrite:
            self.counts.rewrites += 1
            await trio.to_thread.run_sync(journal.rewrite, self._current(), abandon_on_cancel=False)
        else:
            await trio.to_thread.run_sync(journal.append, records, abandon_on_cancel=False)

    def _current(self) -> Iterator[Record]:
        """Yield records that make all groups as they are; nothing changes while this is read in a thread."""
        for group in self.groups:
            state = group.state
            for i, part in enumerate(sorted(state.parts, key=lambda p: p.time_ms)):
                yield Pushed(group.key, part.time_ms, i == 0, NUMBERS[part.format], part.body)
            if state.failed_ms:
                yield Failed(group.key, state.failed_ms)

    # -- by the clock ------------------------------------------------------------------------------------------

    async def _store_again(self) -> None:
        """Store the last values of all groups with the time of now; what the storage cannot take is logged."""
        now_ms = self._services.clock.now_ms()
        groups = [group for group in self.groups if group.stored_ms < now_ms]
        if not groups:
            return
        for group in groups:
            group.stored_ms = now_ms

        def make() -> Batch:
            refs, values, histograms = self.groups.columns(groups)
            return batch_of([Samples(refs, now_ms, values, histograms)])

        try:
            result = await self._services.append_from(make, sum(len(group.state.refs) for group in groups))
            self.counts.again += result.stored
        except (Unavailable, StorageError) as e:
            log.warning("values of pushed groups were not stored again", error=str(e))

    async def expire(self) -> None:
        """Delete the groups that nobody has pushed to for longer than they may be kept."""
        after_ms = self.settings.expire_after_ms
        if not after_ms:
            return
        now_ms = self._services.clock.now_ms()
        old = [g.key for g in self.groups if max(g.state.pushed_ms, g.state.failed_ms) < now_ms - after_ms]
        for key in old:
            try:
                await self.submit(Change(Kind.DELETE, "", now_ms, key))
            except TinyObsError as e:
                log.warning("an old group could not be deleted", group=dict(key), error=str(e))
                return
            self.counts.expired += 1

    def restore(self, records: Sequence[Record]) -> int:
        """Make the groups that a journal describes, instead of those there are; return how many pushes were unreadable.

        Runs in a worker thread, before anything is pushed.
        """
        settings = self.settings
        self.groups, self._readers, unreadable = restored(
            records, self._services.registry, utf8_names=settings.utf8_names
        )
        self.groups.groups_max, self.groups.bytes_max = settings.groups_max, settings.size_max_bytes
        return unreadable

    def _section(self, services: Services) -> PushgatewaySettings:
        found: PushgatewaySettings = services.config.tinyobs.section(SECTION)
        return found


def _records_of(made: Sequence[tuple[Change, Applied]]) -> list[Record]:
    return [record for _, applied in made for record in applied.records]


def _is_refused(result: AppendResult) -> bool:
    return any(reason in result.refused for reason in _FOR_GOOD)


def _append_unless_refused(journal: PushJournal, records: Sequence[Record], result: AppendResult) -> None:
    """Append records when their samples are stored; raises as `PushJournal.append` does."""
    if not _is_refused(result):
        journal.append(records)
