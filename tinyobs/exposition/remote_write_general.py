"""Remote write 1.0, the general way: a series decoded by the protobuf library, whatever it holds.

It takes what the fast path of `remote_write.py` does not: several samples, native histograms, exemplars, labels in any
order or encoding, labels that cannot be.  One `GeneralWay` serves one request and keeps what it was told to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..model.exemplars import Exemplar
from ..model.histograms import Histograms, from_blobs, handles, pack, without_handles
from ..model.labels import NAME, Labels, to_text
from ..model.registry import SeriesRegistry
from .remote_write_histograms import exemplar_labels, histogram_of
from .remote_write_schema import TimeSeries

REASONS_MAX: Final = 10
"""Refused series and histograms that are described in words; the others are only counted."""

_HANDLE: Final = 0.0
"""Stands in `values` until the histograms of a request are numbered."""

Columns = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]


@define
class GeneralWay:
    """The part of a request that is not the fast path: its samples, and what of it is refused."""

    registry: SeriesRegistry
    refused_series: int = 0
    refused_samples: int = 0
    refused_histograms: int = 0
    refused_exemplars: int = 0
    reasons: list[str] = field(factory=list)
    exemplars: list[Exemplar] = field(factory=list)
    odd_blocks: dict[int, tuple[bytes, int]] = field(factory=dict)
    """By index: label blocks that are not canonical, and the series they seem to be."""
    _position: list[int] = field(factory=list)
    _refs: list[int] = field(factory=list)
    _times: list[int] = field(factory=list)
    _values: list[float] = field(factory=list)
    _blobs: list[bytes] = field(factory=list)
    """Packed histograms, and below their places among the samples."""
    _blob_at: list[int] = field(factory=list)

    def take(self, index: int, data: bytes) -> None:
        """Decode series number `index`; raises `DecodeError` of the protobuf library."""
        series = TimeSeries.FromString(data)
        labels, fault = canonical([(p.name, p.value) for p in series.labels])
        if fault:
            self.refused_series += 1
            self.refused_samples += len(series.samples) + len(series.histograms)
            self.refused_exemplars += len(series.exemplars)
            self._explain(fault)
            return
        if not (series.samples or series.histograms or series.exemplars):
            return
        ref = self.registry.intern(labels)
        block, expected = self.odd_blocks.get(index, (b"", -1))
        if ref == expected:  # labels in another order, nothing worse: the fast path may know them from now on
            self.registry.remember_block(block, ref)
        for sample in series.samples:
            self._add(index, ref, sample.timestamp, sample.value)
        for message in series.histograms:
            self._take_histogram(index, ref, labels, message)
        for message in series.exemplars:
            self._take_exemplar(ref, message)

    def merged(self, quick: Columns, slow: Sequence[int]) -> tuple[Columns, Histograms | None]:
        """Return the columns of both ways together, in the order of the request, and the table of histograms.

        quick: of all series; the rows `slow` of it are void.
        """
        refs, times, values = quick
        stays = np.ones(len(refs), np.bool_)
        stays[slow] = False
        own = without_handles(np.array(self._values, np.float64))
        table = None
        if self._blobs:
            table = from_blobs(self._blobs)
            own[self._blob_at] = handles(0, len(table))
        order = np.argsort(np.concatenate([np.flatnonzero(stays), np.array(self._position, np.int64)]), kind="stable")
        columns = (
            np.concatenate([refs[stays], np.array(self._refs, np.uint32)])[order],
            np.concatenate([times[stays], np.array(self._times, np.int64)])[order],
            np.concatenate([values[stays], own])[order],
        )
        return columns, table

    def sorted_exemplars(self) -> Sequence[Exemplar]:
        """Return the exemplars in order of time."""
        return sorted(self.exemplars, key=lambda e: e.timestamp_ms)

    def _take_histogram(self, index: int, ref: int, labels: Labels, message: Any) -> None:
        histogram, fault = histogram_of(message)
        if fault:
            self.refused_histograms += 1
            self._explain(f"invalid native histogram: {fault}: {to_text(labels)}, timestamp {message.timestamp}")
            return
        self._blob_at.append(len(self._values))
        self._blobs.append(pack(histogram))
        self._add(index, ref, message.timestamp, _HANDLE)

    def _take_exemplar(self, ref: int, message: Any) -> None:
        labels = exemplar_labels(message)
        if labels is None:
            self.refused_exemplars += 1
        else:
            self.exemplars.append(Exemplar(ref, labels, message.value, message.timestamp))

    def _add(self, index: int, ref: int, time: int, value: float) -> None:
        self._position.append(index)
        self._refs.append(ref)
        self._times.append(time)
        self._values.append(value)

    def _explain(self, fault: str) -> None:
        if len(self.reasons) < REASONS_MAX:
            self.reasons.append(fault)


def canonical(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[Labels, str]:
    """Return (label set, "") or (what could be read of it, why it is refused)."""
    labels: dict[str, str] = {}
    fault = ""
    for raw_name, raw_value in pairs:
        try:
            name, value = raw_name.decode(), raw_value.decode()
        except UnicodeDecodeError:
            fault = fault or "a label is not valid UTF-8"
            continue
        if not name:
            fault = fault or "a label has no name"
        elif name in labels:
            fault = fault or f'label name "{name}" is not unique'
        labels[name] = value
    found = tuple(sorted((n, v) for n, v in labels.items() if v))
    if not fault and not labels.get(NAME):
        fault = "a series has no metric name"
    return found, fault and f"{fault}: {to_text(found)}"
