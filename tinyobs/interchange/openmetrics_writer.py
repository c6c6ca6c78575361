"""Samples -> OpenMetrics text, one line a sample with its time; names beyond the legacy ones in quotes.

Without TYPE lines, as nothing is known of families here.  Left out and counted is what the format cannot carry: native
histograms and staleness markers.  Every NaN becomes the ordinary one.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from attrs import define, field

from ..exposition.json import format_floats
from ..exposition.names import Escaping, SeriesText
from ..model.columns import SeriesColumns
from ..model.histograms import is_handle
from ..model.labels import NAME, drop, metric_name
from ..model.ragged import offsets_of
from ..model.staleness import is_stale
from .numbers import write_seconds

_NAMES = frozenset({NAME})


@define
class OpenMetricsWriter:
    """Writes OpenMetrics text; `left_out` counts samples."""

    out: BinaryIO
    left_out: int = 0
    _series: SeriesText = field(factory=lambda: SeriesText(Escaping.ALLOW_UTF8))

    def write(self, columns: SeriesColumns) -> None:
        """Append series."""
        odd = is_stale(columns.values) | is_handle(columns.values)
        bounds, times, values = columns.offsets, columns.timestamps_ms, columns.values
        if odd.any():
            self.left_out += int(odd.sum())
            bounds, times, values = offsets_of((~odd).astype(np.int64))[bounds], times[~odd], values[~odd]
        stamps, texts, at = write_seconds(times), format_floats(values), bounds.tolist()
        lines: list[str] = []
        for i, labels in enumerate(columns.labels):
            a, b = at[i], at[i + 1]
            series = self._series.write(metric_name(labels), drop(labels, _NAMES))
            lines += [f"{series} {v} {t}\n" for v, t in zip(texts[a:b], stamps[a:b], strict=True)]
        self.out.write("".join(lines).encode("utf-8", "replace"))

    def close(self) -> None:
        """Write the end of the text; the stream stays open."""
        self.out.write(b"# EOF\n")
