"""What a remote write request holds beside its usual series: samples decoded one by one, and what of it is refused.

Version 1.0 (`remote_write_general.py`) and version 2.0 (`remote_write_v2_general.py`) add to it; one serves one request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..model.exemplars import Exemplar
from ..model.histograms import Histograms, from_blobs, handles, pack, without_handles
from ..model.labels import NAME, Labels, to_text
from ..model.registry import SeriesRegistry
from .remote_write_histograms import histogram_of

REASONS_MAX: Final = 10
"""Refused series and histograms that are described in words; the others are only counted."""

_HANDLE: Final = 0.0
"""Stands in `values` until the histograms of a request are numbered."""


@frozen(eq=False)
class Columns:
    """Samples in columns; starts_ms: None where no sample has a start."""

    refs: NDArray[np.uint32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    starts_ms: NDArray[np.int64] | None = None


@define
class Gathered:
    """Samples, exemplars and refusals of one request."""

    registry: SeriesRegistry
    refused_series: int = 0
    refused_samples: int = 0
    refused_histograms: int = 0
    refused_exemplars: int = 0
    reasons: list[str] = field(factory=list)
    exemplars: list[Exemplar] = field(factory=list)
    _position: list[int] = field(factory=list)
    _refs: list[int] = field(factory=list)
    _times: list[int] = field(factory=list)
    _values: list[float] = field(factory=list)
    _starts: list[int] = field(factory=list)
    _blobs: list[bytes] = field(factory=list)
    """Packed histograms, and below their places among the samples."""
    _blob_at: list[int] = field(factory=list)

    def merged(self, quick: Columns, places: NDArray[np.int64]) -> tuple[Columns, Histograms | None]:
        """Return the samples of both ways together, in the order of the request, and the table of histograms.

        places: the number of the series of each quick sample.
        """
        own = without_handles(np.array(self._values, np.float64))
        table = None
        if self._blobs:
            table = from_blobs(self._blobs)
            own[self._blob_at] = handles(0, len(table))
        order = np.argsort(np.concatenate([places, np.array(self._position, np.int64)]), kind="stable")
        starts = None
        if quick.starts_ms is not None or any(self._starts):
            before = np.zeros(len(places), np.int64) if quick.starts_ms is None else quick.starts_ms
            starts = np.concatenate([before, np.array(self._starts, np.int64)])[order]
        columns = Columns(
            np.concatenate([quick.refs, np.array(self._refs, np.uint32)])[order],
            np.concatenate([quick.times_ms, np.array(self._times, np.int64)])[order],
            np.concatenate([quick.values, own])[order],
            starts,
        )
        return columns, table

    def sorted_exemplars(self) -> Sequence[Exemplar]:
        """Return the exemplars in order of time."""
        return sorted(self.exemplars, key=lambda e: e.timestamp_ms)

    def add(self, index: int, ref: int, time: int, value: float, start: int = 0) -> None:
        """Take a sample of series number `index` of the request."""
        self._position.append(index)
        self._refs.append(ref)
        self._times.append(time)
        self._values.append(value)
        self._starts.append(start)

    def add_histogram(self, index: int, ref: int, message: Any, start: int = 0) -> None:
        """Take a native histogram, or refuse one that contradicts itself."""
        histogram, fault = histogram_of(message)
        if fault:
            self.refused_histograms += 1
            text = to_text(self.registry.labels(ref))
            self.explain(f"invalid native histogram: {fault}: {text}, timestamp {message.timestamp}")
            return
        self._blob_at.append(len(self._values))
        self._blobs.append(pack(histogram))
        self.add(index, ref, message.timestamp, _HANDLE, start)

    def add_exemplar(self, ref: int, labels: Labels | None, message: Any) -> None:
        """Take an exemplar, or refuse it where it has no labels that can be."""
        if labels is None:
            self.refused_exemplars += 1
        else:
            self.exemplars.append(Exemplar(ref, labels, message.value, message.timestamp))

    def refuse_series(self, fault: str, samples: int, exemplars: int) -> None:
        """Count a series that is left out, with all that it holds."""
        self.refused_series += 1
        self.refused_samples += samples
        self.refused_exemplars += exemplars
        self.explain(fault)

    def explain(self, fault: str) -> None:
        """Put a refusal in words, if there are not too many."""
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
