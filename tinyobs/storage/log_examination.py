"""Examines the log without changing it: what is damaged, what that costs, and which shorter files would be sound.

The log is replayed as a start would, into nothing.  Where that meets damage, the file is taken as ending there, and
the files behind it in the same session as empty, since what they hold builds on what is lost; then it goes on.  Later
sessions define everything anew and are kept.  The files as they had to be taken are what `repair.py` writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from ..codec.framing import sound_frames
from ..errors import CorruptionError
from ..model.registry import SeriesRegistry
from . import wal_format as fmt
from .disk import Disk
from .findings import Finding, Severity
from .layout import WAL_FOLDER, wal_name, wal_sequence
from .read_only_disk import DryDisk
from .time_text import range_text
from .wal_histograms import decode_histograms
from .wal_reader import ReplayReport, replay

ADVICE = "run `tinyobs tsdb repair`, or restore a backup"


@define(eq=False)
class LogExamination:
    """What was found.  patches: name -> content with which the log is sound."""

    findings: list[Finding] = field(factory=list)
    patches: dict[str, memoryview] = field(factory=dict)
    report: ReplayReport = field(factory=lambda: ReplayReport(1))
    file_count: int = 0
    bytes: int = 0


def examine_log(disk: Disk, first: int, progress: Callable[[float], None] = lambda share: None) -> LogExamination:
    """Examine the log from file `first` on.  Raises `FormatVersionError`; damage is a finding, never an exception."""
    found = LogExamination()
    overlay = _Overlay(disk, found.patches)
    while True:
        sequences = [n for n in overlay.sequences() if n >= first]
        found.file_count = len(sequences)
        found.bytes = sum(overlay.size(wal_name(n)) for n in sequences)
        try:
            found.report = replay(overlay, SeriesRegistry(), first, _Nowhere(), progress)
        except CorruptionError as e:
            _cut(overlay, first, e, found)
            continue
        break
    if found.report.torn_bytes:
        finding = Finding(
            Severity.NORMAL,
            wal_name(sequences[-1]),
            -1,
            f"{found.report.torn_bytes} bytes at the end were written but never acknowledged",
            advice="the next start cuts them off",
        )
        found.findings.append(finding)
    return found


def _cut(overlay: _Overlay, first: int, error: CorruptionError, found: LogExamination) -> None:
    """Let the damaged file end before the damage and the rest of its session be empty."""
    sequence = wal_sequence(error.file.rpartition("/")[2])
    assert sequence is not None
    present = overlay.sequences()
    before = [n for n in present if first <= n < sequence]
    session = _session_of(overlay, sequence) if sequence in present else None
    header_lost = session is None
    if session is None:
        session = (_session_of(overlay, before[-1]) if before else None) or sequence
    empty = memoryview(fmt.encode_file_header(sequence, session))
    behind = [n for n in present if n > sequence]
    rest = behind[
        : next((i for i, n in enumerate(behind) if _session_of(overlay, n) not in (session, None)), len(behind))
    ]
    loss = Loss()
    if sequence in present:
        data = overlay.map(error.file)
        keep = 0 if header_lost else max(error.offset, fmt.FILE_HEADER.size)
        loss.count(data, max(keep, fmt.FILE_HEADER.size))
        found.patches[error.file] = empty if header_lost else data[:keep]
    else:
        found.patches[error.file] = empty
    for n in rest:
        loss.count(overlay.map(wal_name(n)), fmt.FILE_HEADER.size)
        if overlay.size(wal_name(n)) > fmt.FILE_HEADER.size or _session_of(overlay, n) is None:
            found.patches[wal_name(n)] = memoryview(fmt.encode_file_header(n, session))
    where = f" (here and in {len(rest)} files behind it)" if rest else ""
    lost = loss.text() + where
    found.findings.append(Finding(Severity.DAMAGE, error.file, error.offset, error.reason, lost, ADVICE))


def _session_of(overlay: _Overlay, sequence: int) -> int | None:
    """Return the session that a file's header tells, None where it is damaged."""
    data = overlay.map(wal_name(sequence))
    if len(data) < fmt.FILE_HEADER.size:
        return None
    _, _, session, _ = fmt.FILE_HEADER.unpack_from(data)
    sound = bytes(data[: fmt.FILE_HEADER.size]) == fmt.encode_file_header(sequence, session, data[7])
    return int(session) if sound else None


@define
class Loss:
    """What sound records behind damage hold that cannot be used: the values of samples build on those before."""

    records: int = 0
    samples: int = 0
    mint_ms: int = 2**63 - 1
    maxt_ms: int = -(2**63)

    def count(self, data: memoryview, start: int) -> None:
        """Add the records of a file from an offset on."""
        for frame in sound_frames(data, start):
            self.records += 1
            try:
                if frame.type == fmt.RecordType.SAMPLES:
                    times = fmt.decode_samples(frame.payload).times_ms
                elif frame.type == fmt.RecordType.HISTOGRAMS:
                    times = decode_histograms(frame.payload).columns.times_ms
                else:
                    continue
            except (ValueError, struct.error):
                continue
            self.samples += len(times)
            if len(times):
                self.mint_ms = min(self.mint_ms, int(times.min()))
                self.maxt_ms = max(self.maxt_ms, int(times.max()))

    def text(self) -> str:
        """Return it in words."""
        if not self.samples:
            return "no further samples that can be told"
        return f"{self.samples} further samples {range_text(self.mint_ms, self.maxt_ms)}, and what stood in the damage"


class _Nowhere:
    """Takes what the log holds and forgets it."""

    def samples(self, *args: Any, **more: Any) -> None:
        """Forget samples."""

    def newest(self, *args: Any, **more: Any) -> None:
        """Forget newest samples."""

    def metadata(self, *args: Any, **more: Any) -> None:
        """Forget metadata."""

    def exemplars(self, *args: Any, **more: Any) -> None:
        """Forget exemplars."""

    def delete(self, *args: Any, **more: Any) -> None:
        """Forget a delete."""


class _Overlay(DryDisk):
    """A disk some of whose files have another content."""

    def __init__(self, disk: Disk, files: Mapping[str, memoryview]) -> None:
        super().__init__(disk)
        self._files = files

    def sequences(self) -> list[int]:
        return sorted(n for n in map(wal_sequence, self.list(WAL_FOLDER)) if n is not None)

    def list(self, folder: str) -> list[str]:
        more = {n.rpartition("/")[2] for n in self._files if n.rpartition("/")[0] == folder}
        return sorted(more.union(super().list(folder)))

    def map(self, name: str) -> memoryview:
        return self._files[name] if name in self._files else super().map(name)

    def read(self, name: str) -> bytes:
        return bytes(self._files[name]) if name in self._files else super().read(name)

    def size(self, name: str) -> int:
        return len(self._files[name]) if name in self._files else super().size(name)
