"""Replay of the log: from its files to batches in the numbering of this process.

A damaged record at the end of the last file that nobody was told about is a torn tail: cut off, counted, gone on.
Any other damage is a `CorruptionError` (see `codec/framing.py` for how the two are told apart).  Small records are
united, so that the receiver works on columns of useful length however small the batches were.

Not here: what replayed samples do (`recovery.py`); writing (`wal_writer.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from attrs import Factory, define, evolve
from numpy.typing import NDArray

from ..codec.framing import Damage, Frame, frames
from ..errors import CorruptionError, FormatVersionError, WireError
from ..model.block_hash import blocks_of
from ..model.hash_table import MISSING
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry, encode_block, read_varint
from . import wal_format as fmt
from .deletes import Delete, decode_delete
from .disk import Disk
from .layout import WAL_FOLDER, wal_name, wal_sequence
from .samples import Samples, concatenate_samples
from .wal_exemplars import StoredExemplar, decode_exemplars
from .wal_histograms import HistogramsRecord, Previous, decode_histograms, plain_record

UNITED_SAMPLES: Final = 65_536
"""Records are united until they have this many samples, histograms by their cost."""
NO_REF: Final = 0xFFFFFFFF


class Receiver(Protocol):
    """Takes what the log holds, in order, with refs of this process."""

    def samples(self, refs: NDArray[np.uint32], samples: Samples, unique: bool) -> None:
        """Take samples; unique: no series occurs twice."""

    def newest(self, refs: NDArray[np.uint32], times_ms: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Take the newest samples of series, which themselves are in segments."""

    def metadata(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Take metadata of families."""

    def delete(self, delete: Delete) -> None:
        """Take a delete: of the samples before it, and of segments."""

    def exemplars(self, exemplars: Sequence[StoredExemplar]) -> None:
        """Take exemplars."""


@define
class ReplayReport:
    """What was found.  next_sequence: number for the next file.  torn_bytes: cut off at byte `torn_at` of `torn_file`."""

    next_sequence: int
    file_count: int = 0
    record_count: int = 0
    sample_count: int = 0
    torn_bytes: int = 0
    torn_file: str = ""
    torn_at: int = 0

    def note_torn(self, file: str, at: int, size: int) -> None:
        """Note what is cut off; 0 bytes are nothing."""
        if size:
            self.torn_bytes, self.torn_file, self.torn_at = self.torn_bytes + size, file, at


def replay(
    disk: Disk, registry: SeriesRegistry, first: int, receiver: Receiver, progress: Callable[[float], None]
) -> ReplayReport:
    """Read the log from file `first` on.  progress: called with the share done, 0 to 1.

    Removes older files and a torn tail.  Raises `CorruptionError` or `FormatVersionError`.
    """
    last = _check_files(disk, first)
    report = ReplayReport(last + 1)
    session = _Session(0, registry, receiver, report)
    for sequence in range(first, last + 1):
        data = disk.map(wal_name(sequence))
        header = _read_header(data, sequence, sequence == last)
        if header is None:
            report.note_torn(wal_name(sequence), 0, len(data))
            disk.remove(wal_name(sequence))
            disk.sync_folder(WAL_FOLDER)
            report.next_sequence = sequence
            break
        if header != session.number:
            session.flush()
            session = _Session(header, registry, receiver, report)
        end = _replay_file(data, sequence, sequence == last, session)
        report.file_count += 1
        if end < len(data):
            report.note_torn(wal_name(sequence), end, len(data) - end)
            disk.truncate(wal_name(sequence), end)
        progress((sequence - first + 1) / (last - first + 1))
    session.flush()
    return report


def _check_files(disk: Disk, first: int) -> int:
    """Remove files below `first` and return the number of the last one; the numbers must have no gap."""
    found = sorted(n for n in map(wal_sequence, disk.list(WAL_FOLDER)) if n is not None)
    for n in [n for n in found if n < first]:
        disk.remove(wal_name(n))
    kept = [n for n in found if n >= first]
    for expected, n in enumerate(kept or [first + 1], first):
        if n != expected:
            raise CorruptionError(wal_name(expected), 0, "the log file is missing")
    return kept[-1]


def _read_header(data: memoryview, sequence: int, is_last: bool) -> int | None:
    """Return the session of a file, None where the file was never finished."""
    name = wal_name(sequence)
    if len(data) < fmt.FILE_HEADER.size or bytes(data[:8]) == bytes(8):
        if is_last:
            return None
        raise CorruptionError(name, 0, "the file header is missing")
    magic, number, session, _ = fmt.FILE_HEADER.unpack_from(data)
    if magic[:7] == fmt.FILE_MAGIC[:7] and magic[7] > fmt.VERSION:
        raise FormatVersionError(
            f"{name} has log format {magic[7]}; this release reads up to {fmt.VERSION}: upgrade TinyObs"
        )
    if number != sequence or bytes(data[: fmt.FILE_HEADER.size]) != fmt.encode_file_header(sequence, session, magic[7]):
        if is_last and len(data) == fmt.FILE_HEADER.size:
            return None
        raise CorruptionError(name, 0, "not a log file, or one that was renamed")
    return int(session)


def _replay_file(data: memoryview, sequence: int, is_last: bool, session: _Session) -> int:
    """Replay the records of a file; return where the sound ones end."""
    name = wal_name(sequence)
    end = fmt.FILE_HEADER.size
    for found in frames(data, end):
        if isinstance(found, Damage):
            if found.acknowledged or not is_last:
                raise CorruptionError(name, found.offset, found.reason)
            break
        try:
            session.take(found)
        except (ValueError, LookupError, TypeError, struct.error) as e:
            raise CorruptionError(name, found.start, f"unreadable record: {e}") from e
        end = found.end
    return end


class _Session:
    """What a session has defined so far, and the samples not yet handed over."""

    def __init__(self, number: int, registry: SeriesRegistry, receiver: Receiver, report: ReplayReport) -> None:
        self.number = number
        self._registry, self._receiver, self._report = registry, receiver, report
        self._block_of_pair: dict[int, bytes] = {}
        self._ref_of_number = np.full(1024, NO_REF, np.uint32)
        self._layouts: dict[int, _Layout] = {}
        self._waiting: list[tuple[NDArray[np.uint32], Samples]] = []
        self._waiting_cost = 0

    def take(self, frame: Frame) -> None:
        """Take one record."""
        self._report.record_count += 1
        match frame.type:
            case fmt.RecordType.SAMPLES:
                self._take_samples(plain_record(fmt.decode_samples(frame.payload)))
            case fmt.RecordType.HISTOGRAMS:
                self._take_samples(decode_histograms(frame.payload))
            case fmt.RecordType.EXEMPLARS:
                numbers, exemplars = decode_exemplars(frame.payload)
                refs = self._refs(numbers).tolist()
                self._receiver.exemplars([evolve(e, ref=r) for e, r in zip(exemplars, refs, strict=True)])
            case fmt.RecordType.LAYOUT:
                number, refs = fmt.decode_layout(frame.payload)
                self._layouts[number] = _Layout(self._refs(refs))
            case fmt.RecordType.SERIES:
                self._take_series(fmt.decode_series(frame.payload))
            case fmt.RecordType.PAIRS:
                ids, pairs = fmt.decode_pairs(frame.payload)
                self._block_of_pair.update(zip(ids.tolist(), (encode_block((p,)) for p in pairs), strict=True))
            case fmt.RecordType.METADATA:
                self._receiver.metadata(fmt.decode_metadata(frame.payload))
            case fmt.RecordType.NEWEST:
                self.flush()
                record = fmt.decode_newest(frame.payload)
                self._receiver.newest(self._refs(record.numbers), record.times_ms, record.values)
            case fmt.RecordType.TOMBSTONE:
                self.flush()
                self._receiver.delete(decode_delete(frame.payload))
            case fmt.RecordType.END:
                pass  # says only, by its `synced`, that all before it is durable
            case _:
                raise ValueError(f"unknown record type {frame.type}")

    def flush(self) -> None:
        """Hand over the samples that wait."""
        if len(self._waiting) == 1:
            self._receiver.samples(*self._waiting[0], unique=False)
        elif self._waiting:
            refs = np.concatenate([refs for refs, _ in self._waiting])
            self._receiver.samples(refs, concatenate_samples([s for _, s in self._waiting]), unique=False)
        self._waiting.clear()
        self._waiting_cost = 0

    def _take_samples(self, record: HistogramsRecord) -> None:
        layout = self._layouts[record.columns.layout]
        if len(layout.refs) != len(record.columns.bits):
            raise ValueError("batch and layout differ in length")
        samples = record.resolve(layout.previous)
        self._report.sample_count += len(samples)
        self._waiting.append((layout.refs, samples))
        self._waiting_cost += samples.cost
        if self._waiting_cost >= UNITED_SAMPLES:
            self.flush()

    def _take_series(self, record: fmt.SeriesRecord) -> None:
        blocks, starts = self._block_of_pair, record.starts.tolist()
        pairs = [blocks[i] for i in record.pair_ids.tolist()]
        strings = [b"".join(pairs[a:b]) for a, b in pairwise(starts)]
        refs = self._registry.intern_blocks(blocks_of(strings))
        for i in np.flatnonzero(refs == MISSING).tolist():
            try:
                refs[i] = self._registry.intern_block(strings[i])
            except WireError:  # labels that nobody may push, but that a rule or a target may have
                refs[i] = self._registry.intern(tuple([_pair_of(p) for p in pairs[starts[i] : starts[i + 1]]]))
        highest = int(record.numbers.max(initial=0))
        if highest >= len(self._ref_of_number):
            longer = np.full(max(highest + 1, 2 * len(self._ref_of_number)), NO_REF, np.uint32)
            longer[: len(self._ref_of_number)] = self._ref_of_number
            self._ref_of_number = longer
        self._ref_of_number[record.numbers] = refs

    def _refs(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        refs = self._ref_of_number[numbers]
        if (refs == NO_REF).any():
            raise ValueError("a series that was never defined")
        return refs


def _pair_of(block: bytes) -> tuple[str, str]:
    """Return the one (name, value) of a label block, whatever text it holds."""
    texts = []
    _, at = read_varint(block, 1)
    for _ in range(2):
        size, at = read_varint(block, at + 1)
        texts.append(block[at : at + size].decode("utf-8", "surrogatepass"))
        at += size
    return texts[0], texts[1]


@define(eq=False)
class _Layout:
    refs: NDArray[np.uint32]
    previous: Previous = Factory(Previous)
