"""JSON lines -> samples: one line has samples of one series, as VictoriaMetrics' /api/v1/export writes and /import reads.

    {"metric":{"__name__":"up","job":"a"},"values":[1,0],"timestamps":[1700000000000,1700000015000]}

Times are milliseconds.  null is NaN, "Infinity" and "-Infinity" are texts; besides, "StaleNaN" is the staleness marker.
A line of native histograms has "histograms" (`histogram_json.py`) in the place of "values".
Source: docs.victoriametrics.com, "JSON line format".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..exposition.json_cost import json_bytes
from ..model.batch import Batch
from ..model.histograms import Histogram, handles, histograms_of, is_handle, shifted
from ..model.labels import Labels
from ..model.registry import SeriesRegistry
from ..model.staleness import NORMAL_NAN_BITS
from .chunks import START, TIME_MS_MAX, Chunk, Position, Refusals
from .histogram_json import read_float, read_histogram
from .label_sets import labels_of
from .numbers import time_faults
from .streams import BLOCK_BYTES, Block, LineBlocks, skip_to

LINE_BYTES_MAX: Final = 64 << 20
"""Longest line: about 3 million samples."""
_COPIES: Final = 3
"""Times that a long line is in memory, as bytes and as text, besides the objects that it becomes."""
_NEGATIVE_ZERO: Final = re.compile(rb"-0[,\]\s]")


class Fault(ValueError):
    """A line is refused, at a column from 1."""

    def __init__(self, reason: str, column: int = 1) -> None:
        super().__init__(reason)
        self.column = column


@frozen
class JsonLinesReader:
    """Reads JSON lines.

    need: told how much memory will be needed for a line that is longer than a block of lines; may raise.
    """

    need: Callable[[int], None] | None = None

    def read(
        self, stream: BinaryIO, registry: SeriesRegistry, refusals: Refusals, start: Position = START
    ) -> Iterator[Chunk]:
        """Yield the samples of the lines."""
        skip_to(stream, start.offset)
        for block in LineBlocks(stream, refusals, LINE_BYTES_MAX, start):
            if self.need is not None and len(block.data) > 2 * BLOCK_BYTES:
                self.need(_COPIES * len(block.data) + json_bytes(block.data))
            yield Chunk(_read_block(block, registry, refusals), block.end())


@define
class _Columns:
    refs: list[int] = field(factory=list)
    times: list[NDArray[np.int64]] = field(factory=list)
    values: list[NDArray[np.float64]] = field(factory=list)
    histograms: list[Histogram] = field(factory=list)

    def batch(self) -> Batch:
        counts = np.array([len(t) for t in self.times], np.int64)
        refs = np.repeat(np.array(self.refs, np.uint32), counts)
        times = np.concatenate([np.empty(0, np.int64), *self.times])
        values = np.concatenate([np.empty(0), *self.values])
        table = histograms_of(self.histograms) if self.histograms else None
        return Batch(refs, times, values, "import", histograms=table)


def _read_block(block: Block, registry: SeriesRegistry, refusals: Refusals) -> Batch:
    columns = _Columns()
    for i, line in enumerate(block.data.split(b"\n")):
        if not line or line.isspace():
            continue
        try:
            labels, times, values, histograms = read_line(line)
        except Fault as e:
            refusals.refuse(block.start.line + i + 1, e.column, str(e))
            continue
        if not len(times):
            continue
        columns.refs.append(registry.intern(labels))
        columns.times.append(times)
        columns.values.append(shifted(values, len(columns.histograms)) if histograms else values)
        columns.histograms += histograms
    return columns.batch()


def read_line(line: bytes) -> tuple[Labels, NDArray[np.int64], NDArray[np.float64], list[Histogram]]:
    """Return (labels, times in ms, values, histograms) of a line; raises `Fault`."""
    try:
        # An integer -0 would lose its sign; nothing else reads integers one by one, for it is slow.
        plain = json.loads(line, parse_int=_signed_int) if _NEGATIVE_ZERO.search(line) else json.loads(line)
    except json.JSONDecodeError as e:
        cut = ", and the line ends here: an object may not go on in the next one" if e.pos >= len(line.rstrip()) else ""
        raise Fault(f"not JSON: {e.msg}{cut}", e.pos + 1) from None
    except (ValueError, RecursionError) as e:
        raise Fault(f"not JSON: {e}") from None
    if not isinstance(plain, dict):
        raise Fault("a line is a JSON object")
    labels = _labels(plain.get("metric"))
    histograms: list[Histogram] = []
    times = _times(plain.get("timestamps"))
    if "histograms" in plain:
        if plain.get("values"):
            raise Fault('a line has "values" or "histograms"')
        values, histograms = _histograms(plain["histograms"])
    else:
        values = _values(plain.get("values"))
    if len(values) != len(times):
        raise Fault(f"{len(values)} values but {len(times)} timestamps")
    return labels, times, values, histograms


def _labels(metric: Any) -> Labels:
    if not isinstance(metric, dict) or not all(isinstance(v, str) for v in metric.values()):
        raise Fault('"metric" is an object whose values are texts, such as {"__name__": "up", "job": "a"}')
    try:
        return labels_of(metric)
    except ValueError as e:
        raise Fault(f"{e}") from None


def _times(plain: Any) -> NDArray[np.int64]:
    if not isinstance(plain, list):
        raise Fault('"timestamps" is a list of milliseconds')
    try:
        times = np.array(plain)
        if len(plain) == 0:
            return np.empty(0, np.int64)
        if times.ndim != 1:
            raise ValueError
        if times.dtype != np.int64:
            if times.dtype != np.float64 or not (times == np.rint(times)).all():
                raise ValueError
            times = np.array([int(t) for t in plain], np.int64)
        if len(time_faults(times)):
            raise ValueError
    except (ValueError, OverflowError):
        raise Fault(f'"timestamps" is a list of whole milliseconds, none beyond {TIME_MS_MAX}') from None
    return times


def _values(plain: Any) -> NDArray[np.float64]:
    if not isinstance(plain, list):
        raise Fault('"values" is a list of numbers')
    try:
        values = np.array(plain)
        if values.ndim != 1 or values.dtype not in (np.float64, np.int64):
            raise ValueError
        values = values.astype(np.float64, copy=False)
    except (ValueError, OverflowError):
        try:
            values = np.fromiter(map(read_float, plain), np.float64, len(plain))
        except ValueError as e:
            raise Fault(str(e)) from None
    nan = np.isnan(values)
    if nan.any() and is_handle(values).any():
        values[is_handle(values)] = np.uint64(NORMAL_NAN_BITS).view(np.float64)
    return values


def _histograms(plain: Any) -> tuple[NDArray[np.float64], list[Histogram]]:
    if not isinstance(plain, list):
        raise Fault('"histograms" is a list of objects')
    try:
        found = [read_histogram(h) for h in plain]
    except ValueError as e:
        raise Fault(str(e)) from None
    return handles(0, len(found)), found


def _signed_int(text: str) -> float:
    return -0.0 if text == "-0" else int(text)
