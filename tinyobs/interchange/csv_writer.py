"""Samples -> CSV: a column for every label, then `timestamp_ms` and `value`; fields are quoted where they need it.

Floats are exact; every NaN but the staleness marker becomes the ordinary one.  Left out and counted are native
histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from attrs import define, field

from ..model.columns import SeriesColumns
from ..model.histograms import is_handle
from ..model.ragged import offsets_of
from .csv_columns import column_of_label
from .numbers import write_values


@define
class CsvWriter:
    """Writes CSV.  names: every label name that series have, ascending; others are not written."""

    out: BinaryIO
    names: Sequence[str]
    left_out: int = 0
    _begun: bool = field(init=False, default=False)

    def write(self, columns: SeriesColumns) -> None:
        """Append series."""
        self._begin()
        bounds, times, values = columns.offsets, columns.timestamps_ms, columns.values
        if columns.histograms is not None and (odd := is_handle(values)).any():
            self.left_out += int(odd.sum())
            bounds, times, values = offsets_of((~odd).astype(np.int64))[bounds], times[~odd], values[~odd]
        stamps, texts, at = times.tolist(), write_values(values), bounds.tolist()
        lines: list[str] = []
        for i, labels in enumerate(columns.labels):
            own = dict(labels)
            prefix = ",".join([cell(own.get(n, "")) for n in self.names])
            lines += [
                f"{prefix},{t},{v}\n" for t, v in zip(stamps[at[i] : at[i + 1]], texts[at[i] : at[i + 1]], strict=True)
            ]
        self.out.write("".join(lines).encode("utf-8", "replace"))

    def close(self) -> None:
        """Finish; the stream stays open."""
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            header = [*map(column_of_label, self.names), "timestamp_ms", "value"]
            self.out.write((",".join(map(cell, header)) + "\n").encode("utf-8", "replace"))


def cell(text: str) -> str:
    """Return a field, in quotes where it needs them."""
    if "," in text or '"' in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text
