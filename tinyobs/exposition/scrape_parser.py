"""Scraped bodies in the Prometheus text format or OpenMetrics -> columns, with a memory per target.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification, as Prometheus
accepts them (see `lexing.py`).  A parser belongs to one target.  It numbers the series it meets; the caller maps
numbers to registry refs once and then translates every body with one fancy index.  A body of known structure takes the
fast path of `layout.py`; any other is read line by line, and known lines are still recognised by their bytes.

Not here: choosing the format (`negotiate.py`), relabelling, staleness, limits on labels and samples (the scraper's).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.histograms import Histograms
from ..model.labels import Labels
from ..model.metadata import MetricMetadata
from .body_reader import TYPE_OF_MODE, BodyReader, Key, ParserLimits
from .formats import Format
from .layout import Layout, learn
from .lexing import OPENMETRICS, TEXT, Malformed, read_series, to_labels
from .tails import NO_TIMESTAMP, Tails, read_tails

__all__ = ["EXEMPLAR_CHARACTERS_MAX", "NO_TIMESTAMP", "Exemplar", "Parsed", "ParserLimits", "ScrapeParser"]

EXEMPLAR_CHARACTERS_MAX: Final = 128
"""Characters in the labels of an exemplar; a longer one is left out (OpenMetrics 1.0, "Exemplars")."""


@frozen
class Exemplar:
    """An exemplar of series `series` (a number of the parser); timestamp in ms, None where it has none."""

    series: int
    labels: Labels
    value: float
    timestamp_ms: int | None


@frozen(eq=False)
class Parsed:
    """The samples of one body, in body order.

    series: int32[n], numbers of the parser.  values: float64[n].  timestamps_ms: int64[n] with `NO_TIMESTAMP` for a
    sample that has none, or None where no sample has one.  metadata: families of the body; empty where HELP, TYPE and
    UNIT lines are as in the body before.  new: labels of the numbers first given out for this body; such a number
    may have meant another series that is long gone.  histograms: what handles in the values stand for, None without
    any.  starts_ms: int64[n], since when a sample counts, 0 where that is not known; None when nowhere is.
    """

    series: NDArray[np.int32]
    values: NDArray[np.float64]
    timestamps_ms: NDArray[np.int64] | None
    metadata: Mapping[str, MetricMetadata]
    exemplars: tuple[Exemplar, ...]
    new: Mapping[int, Labels]
    histograms: Histograms | None = None
    starts_ms: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.series)


class ScrapeParser:
    """The parser of one target.  Not thread-safe; a body that fails leaves it as it was."""

    def __init__(self, format: Format, *, limits: ParserLimits | None = None) -> None:
        if format is Format.PROTOBUF:
            raise ValueError("ScrapeParser reads text formats only")
        self.format = format
        self.limits = limits or ParserLimits()
        self._openmetrics = format.is_openmetrics
        self._layout: Layout | None = None
        self._loose: dict[Key, int] = {}
        """Numbers of the last body's series where that body has no layout."""
        self._absent: dict[Key, tuple[int, int]] = {}
        """Number and last body of series that the last body did not have."""
        self._free: list[int] = []
        self._number_end = 0
        self._body_count = 0

    def parse(self, body: bytes) -> Parsed:
        """Return the samples of a body; raises `ExpositionError` where any line is malformed.

        A body of no bytes is an empty scrape in every format, as in Prometheus, and is forgotten at once.
        """
        if not body:
            return _parsed(np.empty(0, np.int32), Tails(np.empty(0)), {}, {})
        layout = self._layout
        fitting = None if layout is None else layout.tails(body)
        if layout is not None and fitting is not None:
            tails, joined = fitting
            try:
                read = read_tails(tails, self._openmetrics, joined)
            except Malformed:
                pass  # the slow path knows the line
            else:
                self._body_count += 1
                if self._absent and self._body_count % self.limits.absent_bodies_max == 0:
                    self._forget()
                return _parsed(layout.numbers, read, {}, {})
        return self._parse_slowly(body)

    def labels(self, number: int) -> Labels:
        """Return the labels of a series of the last body or one lately gone; slow.  Raises `KeyError`."""
        for (prefix, mode), known in self._known().items():
            if known == number:
                pairs, _ = read_series(prefix, 0, OPENMETRICS if self._openmetrics else TEXT)
                return to_labels(pairs, TYPE_OF_MODE[mode], 0)
        raise KeyError(number)

    def _known(self) -> dict[Key, int]:
        known = {key: number for key, (number, _) in self._absent.items()}
        known.update(self._loose if self._layout is None else self._layout.keys())
        return known

    def _parse_slowly(self, body: bytes) -> Parsed:
        known = self._known()
        reading = BodyReader(body, self._openmetrics, known, self.limits, iter(self._free), self._number_end)
        read = reading.run()
        numbers = np.fromiter(map(known.__getitem__, reading.keys), np.int32, len(reading.keys))
        numbers.flags.writeable = False  # every body of this structure shares them
        prefixes, modes = [k[0] for k in reading.keys], bytes(k[1] for k in reading.keys)
        layout = None if reading.folded else learn(body, bytes(reading.line_is_sample), prefixes, modes, numbers)
        self._remember(reading, known, layout)
        return _parsed(numbers, read, reading.metadata(), reading.new)

    def _remember(self, reading: BodyReader, known: dict[Key, int], layout: Layout | None) -> None:
        """Commit a body that was read: what is known, what is gone, what is forgotten."""
        present = set(reading.keys)
        self._body_count += 1
        del self._free[: min(len(reading.new), len(self._free))]
        self._number_end = reading.number_end
        last = self._body_count - 1
        self._absent = {k: self._absent.get(k, (n, last)) for k, n in known.items() if k not in present}
        self._forget()
        self._layout = layout
        self._loose = {k: known[k] for k in present} if layout is None else {}

    def _forget(self) -> None:
        """Take back the numbers of series that have been gone for long."""
        oldest = self._body_count - self.limits.absent_bodies_max
        for key, (number, last) in list(self._absent.items()):
            if last < oldest:
                del self._absent[key]
                self._free.append(number)


def _parsed(
    numbers: NDArray[np.int32], read: Tails, metadata: Mapping[str, MetricMetadata], new: Mapping[int, Labels]
) -> Parsed:
    exemplars = tuple(
        Exemplar(int(numbers[i]), labels, value, time)
        for i, (labels, value, time) in read.exemplars
        if sum(len(n) + len(v) for n, v in labels) <= EXEMPLAR_CHARACTERS_MAX
    )
    return Parsed(numbers, read.values, read.timestamps_ms, metadata, exemplars, new)
