"""The work of `tinyobs tsdb export`: series of a querier through a writer, a block at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
from attrs import frozen

from ...abc import Querier, Selection
from ...errors import TinyObsError, UsageError
from ...interchange.formats import Form, Writer, writer_of
from ...interchange.streams import STANDARD, compressor
from ...model.columns import SeriesColumns
from ...model.labels import Labels
from ...model.matchers import Matcher
from .progress import Show

BLOCK_SERIES: Final = 64
"""Series that are read at first; more or fewer as their samples are few or many."""
BLOCK_SAMPLES: Final = 250_000
"""Samples of a block that are aimed at."""


@frozen
class Exported:
    """What was written.  left_out: samples that the format cannot carry."""

    series: int
    samples: int
    left_out: int


def export(
    querier: Querier, sets: Sequence[Sequence[Matcher]], times: tuple[int, int], form: Form, out: BinaryIO, show: Show
) -> Exported:
    """Write the series that any set of matchers selects, each once, and their samples from first to last time."""
    selections = [querier.select(matchers, *times) for matchers in sets]
    names = sorted({n for s in selections for labels in s.labels for n, _ in labels})
    writer = writer_of(form, out, names)
    series = samples = 0
    total = sum(len(s.labels) for s in selections) or 1
    done: set[Labels] = set()
    for selection in selections:
        for at, columns in _blocks(selection):
            chosen = _without(columns, done) if done else columns
            writer.write(chosen)
            series += int((np.diff(chosen.offsets) > 0).sum())
            samples += chosen.samples
            show(at / total, f"{samples} samples")
        if len(selections) > 1:
            done.update(selection.labels)
    writer.close()
    return Exported(series, samples, _left_out(writer))


def _left_out(writer: Writer) -> int:
    return int(getattr(writer, "left_out", 0))


def _blocks(selection: Selection) -> Iterator[tuple[int, SeriesColumns]]:
    """Yield (series read so far, samples of some series); blocks have about as many samples as memory should hold."""
    at, step = 0, BLOCK_SERIES
    while at < len(selection.labels):
        end = min(at + step, len(selection.labels))
        columns = selection.read(at, end)
        at = end
        yield at, columns
        each = max(columns.samples // max(len(columns), 1), 1)
        step = int(min(max(BLOCK_SAMPLES // each, 1), 4 * step, 65_536))


def _without(columns: SeriesColumns, done: set[Labels]) -> SeriesColumns:
    """Return the series that were not written before."""
    rows = [i for i, labels in enumerate(columns.labels) if labels not in done]
    if len(rows) == len(columns):
        return columns
    keep = np.zeros(len(columns), np.bool_)
    keep[rows] = True
    counts = np.diff(columns.offsets)
    at = np.repeat(keep, counts)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts[keep], dtype=np.int64)))
    labels = [columns.labels[i] for i in rows]
    return SeriesColumns(labels, offsets, columns.timestamps_ms[at], columns.values[at], columns.histograms)


@contextmanager
def output(name: str) -> Iterator[BinaryIO]:
    """Have a file that gets its name only when all went well, compressed as its name says; or standard output."""
    if name == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = Path(f"{name}.part")
    try:
        raw = unfinished.open("wb")
    except OSError as e:
        raise UsageError(f"cannot write {name}: {e.strerror}") from None
    try:
        with raw:
            stream = compressor(name, cast(BinaryIO, raw))
            yield stream
            if stream is not raw:
                stream.close()
        unfinished.replace(name)
    except OSError as e:
        raise TinyObsError(f"cannot write {name}: {e.strerror}") from e
    finally:
        unfinished.unlink(missing_ok=True)
