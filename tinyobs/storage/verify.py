"""Looks at a whole data directory without changing it and says what is damaged, what that costs and what to do.

Everything is checked that has a checksum or an invariant: the manifest, every page, index block and footer of every
listed segment, the order of series and samples, what the manifest says of each segment, the log from its first file
on, files that importers left, the journal of pushed groups, and files that nothing lists.

Not here: repairing (`repair.py`).  What each finding means: docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import numpy as np

from ..codec.framing import Damage, frames
from ..errors import CorruptionError, StorageError
from .cursor_file import read_places
from .disk import Disk
from .findings import Finding, Severity, VerifyReport
from .layout import (
    INCOMING_FOLDER,
    MANIFEST,
    PUSH_JOURNAL,
    SEGMENT_FOLDER,
    SEGMENT_SUFFIX,
    TEMPORARY,
    WAL_FOLDER,
    cursor_file,
    incoming_name,
    segment_name,
    segment_sequence,
    wal_name,
    wal_sequence,
)
from .log_examination import ADVICE, examine_log
from .manifest import Manifest, SegmentEntry, read_manifest
from .page_cache import PageCache
from .push_journal import read_journal
from .segment_reader import SegmentReader
from .segment_salvage import Salvage
from .segment_set import entry_of
from .time_text import range_text
from .wal_format import FILE_HEADER

LIVE_TRIES: Final = 5
"""How often the check of a directory in use begins anew because segments were merged or dropped meanwhile."""
CACHE_BYTES: Final = 32 << 20

Progress = Callable[[str, float], None]
"""Called with the file at hand and the share of all bytes that is done, 0 to 1."""


def verify_directory(
    disk: Disk, *, quick: bool = False, live: bool = False, progress: Progress = lambda file, share: None
) -> VerifyReport:
    """Check a directory.  Raises `FormatVersionError`, and `OSError` when it cannot be read at all.

    quick: footers and tables only, no pages and no log.  live: a daemon may have it open; files come and go.
    """
    for _ in range(LIVE_TRIES if live else 1):
        before = _manifest_bytes(disk)
        report = VerifyReport()
        manifest = _check_manifest(disk, report)
        try:
            if manifest is not None:
                _Check(disk, manifest, report, quick, progress).run()
        except FileNotFoundError:  # a log file that is no longer needed
            if not live:
                raise
            continue
        if not live:
            if manifest is not None:
                _note_unlisted(disk, manifest, report)
            break
        if _manifest_bytes(disk) == before:
            break
    else:
        raise StorageError("segments change faster than they can be checked; check a snapshot")
    progress("", 1.0)
    return report


def check_segment(disk: Disk, entry: SegmentEntry, *, quick: bool = False) -> list[Finding]:
    """Return what is wrong with a listed segment."""
    name = segment_name(entry.sequence)
    whole = f"{entry.samples} samples of {entry.series} series {range_text(entry.mint_ms, entry.maxt_ms)}"
    try:
        reader = SegmentReader(disk, name, PageCache(CACHE_BYTES))
    except FileNotFoundError:
        return [_damage(name, -1, f"listed in {MANIFEST} but missing", whole)]
    except CorruptionError as e:
        return [_damage(name, e.offset, e.reason, whole)]
    try:
        findings = [] if quick else _check_content(reader)
        expected = entry_of(entry.sequence, reader.info)
        given = attrs.evolve(entry, tier_ms=expected.tier_ms, covers=expected.covers, source=expected.source)
        if expected != given:
            findings.append(_damage(name, -1, f"{MANIFEST} and footer differ: {given} and {expected}", ""))
        return findings
    except CorruptionError as e:  # tables that are damaged leave no way to anything
        return [_damage(name, e.offset, e.reason, whole)]
    finally:
        reader.close()


def check_journal(disk: Disk) -> list[Finding]:
    """Return what is wrong with the journal of pushed groups."""
    try:
        read_journal(disk)
    except CorruptionError as e:
        lost = "the groups of the pushgateway, until jobs push again; their samples are stored"
        return [_damage(PUSH_JOURNAL, e.offset, e.reason, lost)]
    return []


def _check_content(reader: SegmentReader) -> list[Finding]:
    """Return what is wrong within a segment; raises `CorruptionError` when nothing of it can be read."""
    name = reader.info.name
    try:
        reader.verify()
    except CorruptionError as e:
        salvage = Salvage(reader)
        findings = [_damage(name, p.offset, p.reason, "") for p in salvage.lost_pages]
        if salvage.index_damage is not None:
            findings.append(_damage(name, salvage.index_damage.offset, salvage.index_damage.reason, ""))
        findings = findings or [_damage(name, e.offset, e.reason, "")]
        return [attrs.evolve(findings[0], lost=salvage.lost_text() or "nothing, once repaired"), *findings[1:]]
    findings = []
    last: object = None
    for columns in reader.iterate():
        labels = list(columns.labels)
        ordered = labels == sorted(set(labels)) and (last is None or not labels or last < labels[0])  # type: ignore[operator]
        if not ordered:
            findings.append(_damage(name, -1, "series out of order or twice", "queries may miss some"))
            break
        last = labels[-1] if labels else last
        times = columns.timestamps_ms
        rises = np.diff(times) > 0
        rises[columns.offsets[1:-1][(columns.offsets[1:-1] > 0) & (columns.offsets[1:-1] < len(times))] - 1] = True
        if not rises.all():
            findings.append(_damage(name, -1, "samples of a series out of order", "queries may miss some"))
            break
    table = reader.pages
    if len(table) and (table.mint_ms.min(), table.maxt_ms.max()) != (reader.info.mint_ms, reader.info.maxt_ms):
        findings.append(_damage(name, -1, "footer and pages differ in their times", "queries may miss some"))
    return findings


@attrs.define
class _Check:
    disk: Disk
    manifest: Manifest
    report: VerifyReport
    quick: bool
    progress: Progress

    def run(self) -> None:
        report, entries = self.report, self.manifest.segments
        incoming = [f for f in self.disk.list(INCOMING_FOLDER) if f.endswith(SEGMENT_SUFFIX)]
        log_bytes = 0 if self.quick else sum(self._sizes())
        total = max(1, sum(e.bytes for e in entries) + log_bytes)
        for entry in entries:
            self.progress(segment_name(entry.sequence), report.bytes / total)
            report.findings += check_segment(self.disk, entry, quick=self.quick)
            report.segments += 1
            report.series += entry.series
            report.samples += entry.samples
            report.bytes += entry.bytes
        for file in incoming:
            self._check_incoming(incoming_name(file))
        if not self.quick:
            report.findings += check_journal(self.disk)
        if self.manifest.wal_first and not self.quick:
            base = report.bytes

            def replayed(share: float) -> None:
                self.progress(WAL_FOLDER, (base + share * log_bytes) / total)

            found = examine_log(self.disk, self.manifest.wal_first, replayed)
            report.findings += found.findings
            report.log_files, report.bytes = found.file_count, report.bytes + found.bytes
            report.log_records, report.log_samples = found.report.record_count, found.report.sample_count

    def _sizes(self) -> list[int]:
        found = [n for n in map(wal_sequence, self.disk.list(WAL_FOLDER)) if n is not None]
        return [self.disk.size(wal_name(n)) for n in found if n >= self.manifest.wal_first]

    def _check_incoming(self, name: str) -> None:
        try:
            reader = SegmentReader(self.disk, name, PageCache(CACHE_BYTES))
            if not self.quick:
                reader.verify()
        except FileNotFoundError:  # taken in meanwhile
            return
        except CorruptionError as e:
            finding = _damage(name, e.offset, e.reason, "what was imported with it")
            self.report.findings.append(attrs.evolve(finding, advice="import it again"))


def _check_manifest(disk: Disk, report: VerifyReport) -> Manifest | None:
    lost = "nothing yet: segments and log tell most of it"
    try:
        manifest = read_manifest(disk)
    except CorruptionError as e:
        report.findings.append(_damage(MANIFEST, e.offset, e.reason, lost))
        return None
    if manifest is None and (disk.list(SEGMENT_FOLDER) or disk.list(WAL_FOLDER)):
        report.findings.append(_damage(MANIFEST, -1, "missing, but there is data", lost))
    return manifest


def _note_unlisted(disk: Disk, manifest: Manifest, report: VerifyReport) -> None:
    live = {e.sequence for e in manifest.segments}
    names = [f"{SEGMENT_FOLDER}/{f}" for f in disk.list(SEGMENT_FOLDER) if segment_sequence(f) not in live]
    logs = [n for n in map(wal_sequence, disk.list(WAL_FOLDER)) if n is not None]
    needed = _check_cursors(disk, manifest, report)
    names += [wal_name(n) for n in logs if n < min(needed, manifest.wal_first)]
    names += [f for f in disk.list("") if f.endswith(TEMPORARY)]
    for name in names:
        problem, advice = "not needed: unfinished, or replaced by others", "the next start removes it"
        report.findings.append(Finding(Severity.NORMAL, name, -1, problem, advice=advice))


def _check_cursors(disk: Disk, manifest: Manifest, report: VerifyReport) -> int:
    """Check the places of sinks and the log files that are kept for them; return the first that is."""
    needed = manifest.wal_first
    for name, place in read_places(disk, tidy=False).items():
        needed = 0 if place is None else min(needed, place.start)
        if place is None:
            lost = f"the place of the sink {name}: it hands on again what the log still has"
            finding = _damage(cursor_file(name), 0, "no sound place in it", lost)
            report.findings.append(attrs.evolve(finding, advice="the next start puts it right"))
    logs = [n for n in map(wal_sequence, disk.list(WAL_FOLDER)) if n is not None]
    for n in [n for n in logs if needed <= n < manifest.wal_first]:
        damage = [d for d in frames(disk.map(wal_name(n)), FILE_HEADER.size) if isinstance(d, Damage)]
        if damage:
            finding = _damage(wal_name(n), damage[0].offset, damage[0].reason, "what sinks had still to read of it")
            report.findings.append(attrs.evolve(finding, advice="sinks pass over it by themselves"))
    return needed


def _manifest_bytes(disk: Disk) -> bytes:
    try:
        return disk.read(MANIFEST)
    except FileNotFoundError:
        return b""


def _damage(file: str, offset: int, problem: str, lost: str) -> Finding:
    return Finding(Severity.DAMAGE, file, offset, problem, lost, ADVICE)
