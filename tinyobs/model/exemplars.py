"""Exemplars: examples of what a sample counted, with labels such as a trace id, kept beside the series."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import frozen

from .labels import Labels

LABEL_CHARACTERS_MAX: Final = 128
"""UTF-8 characters that the names and values of an exemplar's labels may have together (OpenMetrics 1.0)."""


class ExemplarRefused(StrEnum):
    """Why an exemplar was not stored; the values are the `reason` labels of the counters."""

    OUT_OF_ORDER = "out_of_order"
    LABELS_TOO_LONG = "labels_too_long"
    DISABLED = "disabled"
    LIMIT = "limit"

    def __str__(self) -> str:
        return self.value


@frozen
class Exemplar:
    """One exemplar of the series `ref`.  has_time: whether its source gave a time; else it is that of the sample."""

    ref: int
    labels: Labels
    value: float
    timestamp_ms: int
    has_time: bool = True


@frozen
class SeriesExemplars:
    """The exemplars of a series, ascending in time."""

    series: Labels
    exemplars: tuple[Exemplar, ...]
