"""Remote write 2.0, the general way: a series decoded by the protobuf library, whatever it holds.

It takes what the fast path of `remote_write_v2_decode.py` does not: native histograms, exemplars, samples of other shapes,
series that are new and have their labels in any order, labels that cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field

from ..model.hash_table import MISSING
from ..model.labels import NAME, Labels, get, to_text
from ..model.metadata import MetricMetadata, MetricType, with_type_and_unit
from .remote_write_gather import Gathered, canonical
from .remote_write_histograms import exemplar_labels
from .remote_write_schema import TYPE_OF_NUMBER
from .remote_write_v2_metadata import family_name
from .remote_write_v2_schema import TimeSeries2
from .remote_write_v2_symbols import Symbols

LABELS_MAX: Final = 1 << 12
"""Labels of one series, beyond which it is refused before any is looked at."""


_GOES_ON: Final = bytes(range(0x80, 0x100))
"""Bytes of a number but for its last one."""


class RefsError(ValueError):
    """References to symbols that cannot be; the text says why."""


@define
class GeneralWay2(Gathered):
    """The part of a request that is not the fast path."""

    symbols: Symbols = field(kw_only=True)
    typed: bool = False
    """Whether type and unit are labels of a series."""
    metadata: dict[str, MetricMetadata] = field(factory=dict)

    def take(self, index: int, data: bytes, known: int, packed: bytes) -> int:
        """Decode series number `index`; return its ref if that is the one of all series with these references, else `MISSING`.

        known: what that ref is, `MISSING` where it is not known.  packed: the references that stand first in it; more may follow,
        which make it another series.  Raises `DecodeError` of the protobuf library.
        """
        series = TimeSeries2.FromString(data)
        count = len(series.samples) + len(series.histograms)
        are_all = len(series.labels_refs) == len(packed.translate(None, _GOES_ON))
        ref = known if are_all else MISSING
        told, fault = self._told(series)
        labels: Labels = ()
        if ref == MISSING and not fault:
            labels, fault = self._labels(series.labels_refs, told)
        # Prometheus up to 3.5 sends exemplars in series of their own, though the specification wants samples in each.
        if not fault and not count and not series.exemplars:
            labels = labels or self.registry.labels(ref)
            fault = f"TimeSeries must contain at least one sample or histogram for series {to_text(labels)}"
        if fault:
            self.refuse_series(fault, count, len(series.exemplars))
            return MISSING
        if ref == MISSING:
            ref = self.registry.intern(labels)
        for sample in series.samples:
            self.add(index, ref, sample.timestamp, sample.value, sample.start_timestamp)
        for message in series.histograms:
            self.add_histogram(index, ref, message, message.start_timestamp)
        for message in series.exemplars:
            self._take_exemplar(ref, message)
        if told != MetricMetadata():
            self.metadata[family_name(get(self.registry.labels(ref), NAME), told.type)] = told
        return ref if are_all else MISSING

    def _labels(self, refs: Sequence[int], told: MetricMetadata) -> tuple[Labels, str]:
        try:
            pairs = self._pairs(refs)
        except RefsError as e:
            return (), f"parsing labels for series {_shown(refs)}: {e}"
        labels, fault = canonical(pairs)
        if self.typed and not fault and (told.type is not MetricType.UNKNOWN or told.unit):
            labels = with_type_and_unit(labels, told)
        return labels, fault

    def _told(self, series: Any) -> tuple[MetricMetadata, str]:
        """Return (the metadata of a series, "") or (none, why it cannot be)."""
        if not series.HasField("metadata"):
            return MetricMetadata(), ""
        message, size = series.metadata, len(self.symbols)
        if message.help_ref >= size or message.unit_ref >= size:
            where = f"help {message.help_ref}, unit {message.unit_ref} outside of symbols table (size {size})"
            return MetricMetadata(), f"parsing metadata for series {_shown(series.labels_refs)}: {where}"
        help, unit = (self.symbols.text(n) for n in (message.help_ref, message.unit_ref))
        kind = TYPE_OF_NUMBER[message.type if 0 <= message.type < len(TYPE_OF_NUMBER) else 0]
        return MetricMetadata(kind, help, unit), ""

    def _pairs(self, refs: Sequence[int]) -> list[tuple[bytes, bytes]]:
        """Return the texts that references stand for; raises `RefsError`."""
        if len(refs) % 2 or len(refs) > 2 * LABELS_MAX:
            raise RefsError(f"invalid labelRefs length {len(refs)}")
        size = len(self.symbols)
        for name, value in zip(refs[::2], refs[1::2], strict=True):
            if name >= size or value >= size:
                raise RefsError(f"labelRefs {name} (name) = {value} (value) outside of symbols table (size {size})")
        raw = [self.symbols.raw(ref) for ref in refs]
        return list(zip(raw[::2], raw[1::2], strict=True))

    def _take_exemplar(self, ref: int, message: Any) -> None:
        try:
            labels = exemplar_labels(self._pairs(message.labels_refs))
        except RefsError as e:
            labels = None
            self.explain(f"parsing exemplar for series {to_text(self.registry.labels(ref))}: {e}")
        self.add_exemplar(ref, labels, message)


def _shown(refs: Sequence[int]) -> str:
    more = " ..." if len(refs) > 20 else ""
    return f"[{' '.join(map(str, np.array(refs[:20])))}{more}]"
