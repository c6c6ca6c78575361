"""One session of the log, decoded: from its records to samples in the numbering of this process.

A session is what one process wrote.  Numbers of pairs, series and layouts mean something within it only, and values are
logged against those before, so a session is read from a file on that needs none before it.

Not here: which records there are to read (`wal_reader.py`, `log_tail.py`).  Format page: docs/format/wal.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from attrs import Factory, define, evolve
from numpy.typing import NDArray

from ..codec.framing import Frame
from ..errors import WireError
from ..model.block_hash import blocks_of
from ..model.hash_table import MISSING
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry, encode_block, read_varint
from . import wal_format as fmt
from .deletes import Delete, decode_delete
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


class Session:
    """What a session has defined so far, and the samples not yet handed over.

    is_own: this process writes it, and the numbers of its series are refs.
    """

    def __init__(
        self,
        number: int,
        registry: SeriesRegistry,
        receiver: Receiver,
        report: ReplayReport,
        *,
        is_own: bool = False,
    ) -> None:
        self.number, self._is_own = number, is_own
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
            case fmt.RecordType.SERIES | fmt.RecordType.PAIRS if self._is_own:
                pass
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
                pass  # says by its `synced` that all before it is durable, and what a `Mark` says
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
        refs = self._registry.intern_blocks(blocks_of(strings), gated=False)  # they are stored already
        for i in np.flatnonzero(refs == MISSING).tolist():
            try:
                refs[i] = self._registry.intern_block(strings[i], gated=False)
            except WireError:  # labels that nobody may push, but that a rule or a target may have
                labels = tuple([_pair_of(p) for p in pairs[starts[i] : starts[i + 1]]])
                refs[i] = self._registry.intern(labels, gated=False)
        highest = int(record.numbers.max(initial=0))
        if highest >= len(self._ref_of_number):
            longer = np.full(max(highest + 1, 2 * len(self._ref_of_number)), NO_REF, np.uint32)
            longer[: len(self._ref_of_number)] = self._ref_of_number
            self._ref_of_number = longer
        self._ref_of_number[record.numbers] = refs

    def _refs(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        if self._is_own:
            return numbers
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
