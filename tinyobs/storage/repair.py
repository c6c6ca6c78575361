"""Repairs a damaged directory: first a plan that changes nothing, then the plan carried out, wherever it may stop.

Nothing is deleted.  What is taken out of use goes to `damaged/<time>/` under the name it had: unreadable segments, the
originals of segments that are written anew from their sound pages, of log files that are cut, of the manifest, and a
damaged journal of pushed groups.

Order of work, so that a crash anywhere leaves a directory from which the same repair can be begun again and in which
every original is still there: keep the originals (second names or copies); write new segments; replace log files, the
last one first, as the first damage keeps the directory from being opened; switch the manifest; remove the first names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import attrs
import numpy as np
from attrs import define, field

from ..errors import CorruptionError
from ..model import labels as lb
from ..model.columns import SeriesColumns
from .deletes import Delete
from .disk import Disk
from .findings import Finding, Severity
from .layout import (
    MANIFEST,
    PUSH_JOURNAL,
    PUSHGATEWAY_FOLDER,
    SEGMENT_FOLDER,
    WAL_FOLDER,
    damaged_folder,
    segment_name,
    segment_sequence,
    temporary,
    wal_sequence,
)
from .log_examination import LogExamination, examine_log
from .manifest import Manifest, SegmentEntry, read_manifest, write_manifest
from .masking import without, without_empty
from .page_cache import PageCache
from .runs import runs_of
from .segment_reader import SegmentReader
from .segment_salvage import Salvage
from .segment_set import entry_of
from .segment_writer import SegmentWriter
from .tiers import TIER_LEVEL, kept_fresh, widened
from .time_text import moment_name, range_text
from .verify import CACHE_BYTES, check_journal, check_segment

PATCH = "repair"
"""A log file is written under this name, which the next start removes, before it takes the place of the damaged one."""


@define(eq=False)
class RepairPlan:
    """What a repair would do.  steps: in words, for an operator; empty when there is nothing to do.

    manifest: what holds now, or what was worked out from the files.  rewritten: segments to be written anew from what
    is sound.  dropped: segments that the manifest lists and of which nothing can be read.  unreadable: names of files
    in the folder of segments that are none.  corrected: entries that differ from their footers -> what is right.
    """

    manifest: Manifest
    steps: list[str] = field(factory=list)
    manifest_lost: bool = False
    rewritten: list[SegmentEntry] = field(factory=list)
    dropped: list[SegmentEntry] = field(factory=list)
    unreadable: list[str] = field(factory=list)
    corrected: dict[int, SegmentEntry] = field(factory=dict)
    patches: dict[str, memoryview] = field(factory=dict)
    journal_lost: bool = False

    @property
    def changes_manifest(self) -> bool:
        """Whether there will be another manifest."""
        return bool(self.manifest_lost or self.rewritten or self.dropped or self.corrected)


def plan_repair(disk: Disk, progress: Callable[[str], None] = lambda file: None) -> RepairPlan:
    """Look at a directory that nobody has open and return what would be done.

    Raises `FormatVersionError`: what a newer version wrote is not damaged.
    """
    manifest: Manifest | None = None
    reason = "missing"
    try:
        manifest = read_manifest(disk)
    except CorruptionError as e:
        reason = e.reason
    files = disk.list(SEGMENT_FOLDER) + disk.list(WAL_FOLDER)
    if manifest is None and (files or reason != "missing"):
        plan, log = _without_manifest(disk, reason, progress)
    else:
        plan = RepairPlan(manifest or Manifest(0))
        log = examine_log(disk, plan.manifest.wal_first) if plan.manifest.wal_first else LogExamination()
    for entry in plan.manifest.segments:
        progress(segment_name(entry.sequence))
        _plan_segment(disk, entry, plan)
    _drop_remade(plan)
    plan.patches = log.patches
    plan.steps += [
        f"{f.file}: {_log_step(plan, f)} ({f.problem} at byte {f.offset}); lost: {f.lost}"
        for f in log.findings
        if f.severity is Severity.DAMAGE
    ]
    for f in check_journal(disk):
        plan.journal_lost = True
        plan.steps.append(f"{f.file}: take it out of use ({f.problem} at byte {f.offset}); lost: {f.lost}")
    return plan


def _log_step(plan: RepairPlan, finding: Finding) -> str:
    size = len(plan.patches[finding.file])
    return f"cut to its first {size} bytes" if finding.offset else f"begin it anew, {size} bytes"


def _without_manifest(disk: Disk, reason: str, progress: Callable[[str], None]) -> tuple[RepairPlan, LogExamination]:
    """Work out from the files what the manifest may have said."""
    entries, unreadable, steps = [], [], []
    for file in disk.list(SEGMENT_FOLDER):
        name, sequence = f"{SEGMENT_FOLDER}/{file}", segment_sequence(file)
        progress(name)
        try:
            info = SegmentReader(disk, name, PageCache(CACHE_BYTES)).info
        except CorruptionError as e:
            unreadable.append(name)
            steps.append(f"{name}: take it out of use ({e.reason}); if it was in use, all of its samples are lost")
            continue
        if sequence is None:
            unreadable.append(name)
            steps.append(f"{name}: take it out of use (its name is not that of a segment)")
        elif info.level >= TIER_LEVEL:  # which stretch it stands for is written in the manifest only
            unreadable.append(name)
            steps.append(f"{name}: take it out of use (of a tier); it is made again where raw samples are still there")
        else:
            entries.append(entry_of(sequence, info))
    entries.sort(key=lambda e: e.sequence)
    candidates = sorted(n for n in map(wal_sequence, disk.list(WAL_FOLDER)) if n is not None)
    wal_first, log = 0, LogExamination()
    for first in candidates:  # files that are no longer needed may be there, and do not make sense by themselves
        found = examine_log(disk, first)
        if not wal_first or (not found.patches and log.patches):
            wal_first, log = first, found
        if not found.patches:
            break
    highest = max([e.sequence for e in entries] + [n for n in map(_number_in, unreadable) if n], default=0)
    manifest = Manifest(wal_first, highest + 1, tuple(entries))
    said = f"{len(entries)} segments by number, log from file {wal_first}"
    lost = "deletes that were not worked off yet are forgotten, and segments that were merged may be there twice"
    step = f"{MANIFEST}: write it anew from the files that are there ({reason}): {said}; {lost}"
    return RepairPlan(manifest, [step, *steps], manifest_lost=True, unreadable=unreadable), log


def _number_in(name: str) -> int | None:
    return segment_sequence(name.rpartition("/")[2])


def _plan_segment(disk: Disk, entry: SegmentEntry, plan: RepairPlan) -> None:
    name = segment_name(entry.sequence)
    whole = f"{entry.samples} samples of {entry.series} series {range_text(entry.mint_ms, entry.maxt_ms)}"
    findings = check_segment(disk, entry)
    if not findings:
        return
    try:
        reader = SegmentReader(disk, name, PageCache(CACHE_BYTES))
        salvage = Salvage(reader)
    except (CorruptionError, FileNotFoundError):
        plan.dropped.append(entry)
        plan.steps.append(f"{name}: take it out of use ({findings[0].problem}); lost: {whole}")
        return
    if salvage.is_sound and len(findings) == 1 and "differ: " in findings[0].problem:
        right = attrs.evolve(
            entry_of(entry.sequence, reader.info), tier_ms=entry.tier_ms, covers=entry.covers, source=entry.source
        )
        plan.corrected[entry.sequence] = right
        plan.steps.append(f"{MANIFEST}: correct what it says of {name}; nothing is lost")
        return
    plan.rewritten.append(entry)
    lost = salvage.lost_text() or "nothing"
    plan.steps.append(f"{name}: write it anew from what is sound ({findings[0].problem}); lost: {lost}")


def _drop_remade(plan: RepairPlan) -> None:
    """Take a damaged stretch of a tier out of use as a whole where it can be made again from raw samples."""
    entries = plan.manifest.segments
    damaged = [e for e in (*plan.rewritten, *plan.dropped) if e.tier_ms and e.covers is not None]
    raw_since = min((e.mint_ms for e in entries if not e.tier_ms), default=None)
    for stretch in {(e.tier_ms, e.covers) for e in damaged}:
        if raw_since is None or stretch[1] is None or raw_since > stretch[1][0]:
            continue
        whole = [e for e in entries if (e.tier_ms, e.covers) == stretch]
        plan.rewritten = [e for e in plan.rewritten if e not in whole]
        plan.dropped = [e for e in plan.dropped if e not in whole] + whole
        names = ", ".join(segment_name(e.sequence) for e in whole)
        plan.steps.append(f"{names}: take them out of use, nothing is lost: the tier is made again from raw samples")


# -- carrying it out ---------------------------------------------------------------------------------------------


def apply_repair(disk: Disk, plan: RepairPlan, now_ms: int, progress: Callable[[str], None] = lambda file: None) -> str:
    """Carry out a plan made from the directory as it is; return the folder with the originals, "" when none were kept.

    The caller holds the lock of the directory.  Raises `OSError`, after which a new plan can be made.
    """
    taken = [segment_name(e.sequence) for e in (*plan.rewritten, *plan.dropped)] + plan.unreadable
    taken = [n for n in taken if n.rpartition("/")[2] in disk.list(SEGMENT_FOLDER)]
    kept = [n for n in plan.patches if n.rpartition("/")[2] in disk.list(WAL_FOLDER)]
    if plan.changes_manifest and MANIFEST in disk.list(""):
        kept.append(MANIFEST)
    if plan.journal_lost:
        kept.append(PUSH_JOURNAL)
    folder = damaged_folder(moment_name(now_ms)) if taken or kept else ""
    if folder:
        _keep(disk, folder, taken, kept)
    manifest = _rewrite(disk, plan, progress)
    for name in sorted(plan.patches, reverse=True):
        progress(name)
        _replace_file(disk, name, plan.patches[name])
    if plan.changes_manifest:
        write_manifest(disk, manifest)
    for name in taken:
        disk.remove(name)
    if taken:
        disk.sync_folder(SEGMENT_FOLDER)
    if plan.journal_lost:
        disk.remove(PUSH_JOURNAL)
        disk.sync_folder(PUSHGATEWAY_FOLDER)
    return folder


def _keep(disk: Disk, folder: str, taken: Sequence[str], kept: Sequence[str]) -> None:
    """Give segments a second name, and copy what will be written to, so that it stays as it is."""
    parts = ["", SEGMENT_FOLDER, WAL_FOLDER, *[PUSHGATEWAY_FOLDER] * (PUSH_JOURNAL in kept)]
    for part in parts:
        disk.make_folder(f"{folder}/{part}".rstrip("/"))
    for name in taken:
        if name.rpartition("/")[2] not in disk.list(f"{folder}/{SEGMENT_FOLDER}"):
            disk.link(name, f"{folder}/{name}")
    for name in kept:
        _write(disk, f"{folder}/{name}", disk.map(name))
    for part in parts:
        disk.sync_folder(f"{folder}/{part}".rstrip("/"))


def _write(disk: Disk, name: str, data: memoryview) -> None:
    if name.rpartition("/")[2] in disk.list(name.rpartition("/")[0]):
        disk.remove(name)
    file = disk.create(name)
    try:
        file.append(data)
        file.sync()
    finally:
        file.close()


def _replace_file(disk: Disk, name: str, data: memoryview) -> None:
    unfinished = temporary(PATCH)
    _write(disk, unfinished, data)
    disk.rename(unfinished, name)
    disk.sync_folder(name.rpartition("/")[0])
    disk.sync_folder("")


def _rewrite(disk: Disk, plan: RepairPlan, progress: Callable[[str], None]) -> Manifest:
    """Write the segments anew and return the manifest that will list them where the damaged ones stood."""
    dropped = {e.sequence for e in plan.dropped}
    rewritten = {e.sequence for e in plan.rewritten}
    in_use = [n for n in map(segment_sequence, disk.list(SEGMENT_FOLDER)) if n is not None]
    following = max([plan.manifest.next_segment, *(n + 1 for n in in_use)])
    live: list[SegmentEntry] = []
    for entry in plan.manifest.segments:
        if entry.sequence in rewritten:
            progress(segment_name(entry.sequence))
            deletes = [widened(d, entry) for d in plan.manifest.deletes if entry.sequence < d.below]
            written = _salvage(disk, entry, following, deletes)
            following += max(len(written), 1)
            live += written
        elif entry.sequence not in dropped:
            live.append(plan.corrected.get(entry.sequence, entry))
    if rewritten:
        disk.sync_folder(SEGMENT_FOLDER)
    # What tiers made of the samples that are lost now must not be made again from those that are left.
    added = [e for e in live if e.sequence >= plan.manifest.next_segment]
    kept = kept_fresh(plan.manifest.segments, [*plan.rewritten, *plan.dropped], added, live)
    return attrs.evolve(plan.manifest, segments=kept, next_segment=following)


def _salvage(disk: Disk, entry: SegmentEntry, sequence: int, deletes: Sequence[Delete]) -> list[SegmentEntry]:
    """Write what is sound of a segment as segments from a number on; their entries.

    The deletes that hold for it are worked off on the way: they do not hold for segments with higher numbers.
    """
    reader = SegmentReader(disk, segment_name(entry.sequence), PageCache(CACHE_BYTES))
    salvage = Salvage(reader)
    written: list[SegmentEntry] = []
    for number in range(salvage.passes):
        name = segment_name(sequence)
        writer = SegmentWriter(disk, name, level=entry.level)
        try:
            for columns in salvage.read(number):
                writer.add(without_empty(_without_deleted(columns, deletes)))
            fresh = entry_of(sequence, writer.finish())
        except BaseException:
            with contextlib.suppress(OSError):
                writer.abort()
            raise
        if not fresh.samples:
            disk.remove(name)
            continue
        written.append(attrs.evolve(fresh, tier_ms=entry.tier_ms, covers=entry.covers, source=entry.source))
        sequence += 1
    return written


def _without_deleted(columns: SeriesColumns, deletes: Sequence[Delete]) -> SeriesColumns:
    for delete in deletes:
        chosen = np.array([_fulfils(series, delete) for series in columns.labels], np.bool_)
        if not chosen.any():
            continue
        times = columns.timestamps_ms
        dropped = np.repeat(chosen, np.diff(columns.offsets)) & (times >= delete.mint_ms) & (times <= delete.maxt_ms)
        columns = without(runs_of(columns), dropped).columns(columns.labels)
    return columns


def _fulfils(series: lb.Labels, delete: Delete) -> bool:
    return any(all(m.matches(lb.get(series, m.name)) for m in matchers) for matchers in delete.matcher_sets)
