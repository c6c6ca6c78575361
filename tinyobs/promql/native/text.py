"""Histograms as text: the label values of `count_values`.

Source: prometheus model/histogram/float_histogram.go (String), generic.go (Bucket.String).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...model.histograms import is_handle, numbers_of
from ..blocks import Block
from ..numbers_text import format_g
from .batch import COUNT, SUM, ZERO, Batch
from .table import Table


def texts(table: Table) -> list[str]:
    """Return each histogram as upstream prints it."""
    out = [""] * len(table)
    for numbers, batch in table.parts():
        for row, number in enumerate(numbers.tolist()):
            out[number] = _text(batch, row)
    return out


def _text(b: Batch, row: int) -> str:
    data = b.data[row]
    parts = [f"{{count:{format_g(float(data[COUNT]))}", f"sum:{format_g(float(data[SUM]))}"]
    lower, upper = b.negative_limits()
    for i in range(len(b.negative) - 1, -1, -1):
        parts += _bucket("[{},{})", float(lower[i]), float(upper[i]), float(b.negatives()[row, i]))
    end = float(b.thresholds[row])
    parts += _bucket("[{},{}]", -end, end, float(data[ZERO]))
    lower, upper = b.positive_limits()
    for i in range(len(b.positive)):
        closed = b.custom and i == 0 and lower[i] == -np.inf
        parts += _bucket(
            "[{},{}]" if closed else "({},{}]", float(lower[i]), float(upper[i]), float(b.positives()[row, i])
        )
    return ", ".join(parts) + "}"


def _bucket(form: str, lower: float, upper: float, count: float) -> list[str]:
    return [f"{form.format(format_g(lower), format_g(upper))}:{format_g(count)}"] if count else []


def distinct_values(block: Block) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Return (int64[s, T] that are equal where values are, the texts of those that stand for histograms)."""
    values = np.array(block.values)
    native = np.zeros(values.shape, np.bool_)
    known: dict[int, str] = {}
    if block.histograms is not None:
        native = is_handle(values)
        numbers = numbers_of(values)
        made = texts(block.histograms)
        first = dict(zip(reversed(made), range(len(made) - 1, -1, -1), strict=True))
        alike = np.array([first[text] for text in made], np.int64)
        known = {-number - 1: text for text, number in first.items()}
    bits = np.where(np.isnan(values), np.nan, values).view(np.int64)
    if native.any():
        bits[native] = -alike[numbers[native]] - 1
    return bits, known
