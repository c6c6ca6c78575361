"""What the log is told of batches: their records, and in front of them the definitions that they need.

Series, pairs and layouts are defined in front of their first use in a session, and again behind every checkpoint.

Not here: the file that records go to (`wal_writer.py`); what each looks like (`wal_format.py`).
Format page: docs/format/wal.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from . import wal_format as fmt
from .samples import Samples
from .wal_exemplars import StoredExemplar, cut_exemplars, encode_exemplars
from .wal_layouts import Layout, LayoutTable

SERIES_PER_RECORD: Final = 65_536
"""Series that one record defines at most."""
TEXT_PER_RECORD: Final = 16 << 20
"""Characters of label texts or metadata in one record, about: a reader refuses records of more than 256 MiB."""

Records: TypeAlias = list[tuple[fmt.RecordType, bytes]]


@frozen(eq=False)
class Entry:
    """Accepted samples of one batch, as the log takes them."""

    layout: Layout
    samples: Samples


class WalEncoder:
    """What a session has defined so far.  Its methods add to lists of records."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self.layouts = LayoutTable()
        self._defined_pairs = np.zeros(1024, np.bool_)
        self._defined_series = np.zeros(1024, np.bool_)

    def entry(self, entry: Entry, records: Records) -> None:
        """Add the record of a batch, and of its layout where that is new."""
        layout = entry.layout
        if not self.layouts.is_current(layout):
            layout = self.layouts.find(layout.refs)
        if not layout.defined:
            self._define_series(layout.refs, records)
            records.append((fmt.RecordType.LAYOUT, fmt.encode_layout(layout.number, layout.refs)))
            layout.defined = True
        records.append(self.layouts.encode(layout, entry.samples))

    def newest(self, newest: fmt.NewestRecord, records: Records) -> None:
        """Add newest samples."""
        for i in range(0, len(newest.numbers), SERIES_PER_RECORD):
            part = slice(i, i + SERIES_PER_RECORD)
            numbers = newest.numbers[part]
            self._define_series(numbers, records)
            record = fmt.NewestRecord(numbers, newest.times_ms[part], newest.values[part])
            records.append((fmt.RecordType.NEWEST, fmt.encode_newest(record)))

    def exemplars(self, exemplars: Sequence[StoredExemplar], records: Records) -> None:
        """Add exemplars."""
        for part in cut_exemplars(exemplars, TEXT_PER_RECORD):
            self._define_series(np.fromiter((e.ref for e in part), np.uint32, len(part)), records)
            records.append((fmt.RecordType.EXEMPLARS, encode_exemplars(part)))

    def _define_series(self, refs: NDArray[np.uint32], records: Records) -> None:
        self._defined_series = grow(self._defined_series, len(self._registry))
        fresh = refs[~self._defined_series[refs]]
        if not len(fresh):
            return
        for i in range(0, len(fresh), SERIES_PER_RECORD):
            part = np.unique(fresh[i : i + SERIES_PER_RECORD])
            starts, ids = self._registry.pairs_of(part)
            self._defined_pairs = grow(self._defined_pairs, self._registry.pair_count)
            unknown = np.unique(ids[~self._defined_pairs[ids]])
            if len(unknown):
                pairs = [self._registry.pair(p) for p in unknown.tolist()]
                for a, b in _cut_texts([len(n) + len(v) for n, v in pairs]):
                    records.append((fmt.RecordType.PAIRS, fmt.encode_pairs(unknown[a:b], pairs[a:b])))
                self._defined_pairs[unknown] = True
            records.append((fmt.RecordType.SERIES, fmt.encode_series(fmt.SeriesRecord(part, starts, ids))))
        self._defined_series[fresh] = True

    def forget(self) -> None:
        """Define everything anew from now on."""
        self._defined_pairs[:] = False
        self._defined_series[:] = False
        self.layouts.clear()


def metadata_records(metadata: Mapping[str, MetricMetadata]) -> Records:
    """Return the records of metadata."""
    items = list(metadata.items())
    cuts = _cut_texts([len(name) + len(m.help) + len(m.unit) for name, m in items])
    return [(fmt.RecordType.METADATA, fmt.encode_metadata(dict(items[a:b]))) for a, b in cuts]


def _cut_texts(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return the ranges (first, last + 1) in which texts of these lengths go into records."""
    cuts, size = [0], 0
    for i, length in enumerate(lengths):
        size += length
        if size > TEXT_PER_RECORD and i > cuts[-1]:
            cuts.append(i)
            size = length
    return list(pairwise([*cuts, len(lengths)])) if lengths else []


def grow(column: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Return a column of flags with room for `length`, doubling where it must grow."""
    if length <= len(column):
        return column
    longer = np.zeros(max(length, 2 * len(column)), np.bool_)
    longer[: len(column)] = column
    return longer
