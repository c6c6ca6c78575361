"""Samples -> JSON lines; what a line looks like says `json_lines_reader.py`.

A series with many samples takes several lines.  Floats are exact, and so are the staleness marker and histograms; other
NaNs become the ordinary one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..exposition.json import LabelWriter, format_floats
from ..model.columns import SeriesColumns
from ..model.histograms import is_handle, numbers_of
from .histogram_json import write_float, write_histogram

LINE_SAMPLES_MAX: Final = 100_000
"""Samples in a line."""


@define
class JsonLinesWriter:
    """Writes JSON lines."""

    out: BinaryIO
    _labels: LabelWriter = field(factory=LabelWriter)

    def write(self, columns: SeriesColumns) -> None:
        """Append series."""
        self.out.write("".join(self.lines(columns)).encode("utf-8", "replace"))

    def lines(self, columns: SeriesColumns) -> Iterator[str]:
        """Yield the lines of series."""
        is_histogram = is_handle(columns.values) if columns.histograms is not None else None
        known: tuple[NDArray[np.int64], str] = (np.empty(0, np.int64), "")
        bounds = columns.offsets.tolist()
        for i, labels in enumerate(columns.labels):
            metric = self._labels.write(labels)
            for a in range(bounds[i], bounds[i + 1], LINE_SAMPLES_MAX):
                b = min(a + LINE_SAMPLES_MAX, bounds[i + 1])
                times = columns.timestamps_ms[a:b]
                if is_histogram is not None and is_histogram[a:b].any():
                    yield from self._mixed(metric, columns, a, b, is_histogram[a:b])
                    continue
                if not np.array_equal(times, known[0]):
                    known = times, _join(times)
                yield _line(metric, "values", write_floats(columns.values[a:b]), known[1])

    def _mixed(
        self, metric: str, columns: SeriesColumns, a: int, b: int, is_histogram: NDArray[np.bool_]
    ) -> Iterator[str]:
        """Yield a line of the floats and a line of the histograms among some samples."""
        assert columns.histograms is not None
        times, values = columns.timestamps_ms[a:b], columns.values[a:b]
        if not is_histogram.all():
            yield _line(metric, "values", write_floats(values[~is_histogram]), _join(times[~is_histogram]))
        numbers = numbers_of(values[is_histogram]).tolist()
        written = [write_histogram(columns.histograms.one(n)) for n in numbers]
        yield _line(metric, "histograms", written, _join(times[is_histogram]))

    def close(self) -> None:
        """Finish; the stream stays open."""


def write_floats(values: NDArray[np.float64]) -> list[str]:
    """Return values as JSON."""
    texts = format_floats(values)
    odd = ~np.isfinite(values) | ((values == 0) & np.signbit(values))
    for i in np.flatnonzero(odd).tolist():
        texts[i] = write_float(float(values[i]))
    return texts


def _join(times: NDArray[np.int64]) -> str:
    return ",".join(map(str, times.tolist()))


def _line(metric: str, kind: str, samples: Sequence[str], times: str) -> str:
    return f'{{"metric":{metric},"{kind}":[{",".join(samples)}],"timestamps":[{times}]}}\n'
