"""Series for the tests of file formats, and reading them back."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from tinyobs.interchange.chunks import Chunk, Position, Refusals
from tinyobs.interchange.csv_columns import ColumnChoice
from tinyobs.interchange.formats import Form, reader_of, writer_of
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histogram, ResetHint, handles, histograms_of, numbers_of
from tinyobs.model.labels import Labels
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN

Sample = tuple[int, object]
"""Time and what the value is: its bits, or a histogram."""

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
names = st.one_of(
    st.sampled_from(["job", "le", "value", "timestamp", "label:x", "a b", "ünï", "quantile"]), texts.filter(bool)
)
label_sets = st.builds(
    lambda name, rest: tuple(sorted({**{n: v for n, v in rest.items() if v}, "__name__": name}.items())),
    st.one_of(st.sampled_from(["up", "http_requests_total", "with.dot", 'q"uote', "new\nline"]), texts.filter(bool)),
    st.dictionaries(names, texts, max_size=3),
)
values = st.one_of(
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, float("inf"), float("-inf"), STALE_NAN, 1e-7, 1e21, 5e-324, 123456789.0]),
)
times = st.integers(-(1 << 45), 1 << 45)
series = st.dictionaries(label_sets, st.dictionaries(times, values, min_size=1, max_size=4), min_size=1, max_size=4)


def histogram(count: int = 3) -> Histogram:
    return Histogram(
        1, 0.001, 1, count + 1, 2.5, ((0, 2), (3, 1)), (1, count - 2, 1), ((-2, 0),), (), (), ResetHint.NO, True
    )


def float_histogram() -> Histogram:
    return Histogram(-53, 0.0, 0.0, 7.5, float("inf"), ((0, 2),), (2.5, 5.0), (), (), (0.5, 2.0))


def columns_of(plain: dict[Labels, dict[int, object]]) -> SeriesColumns:
    """Return the columns of series; a value may be a histogram."""
    labels = sorted(plain)
    found: list[float] = []
    stamps: list[int] = []
    offsets = [0]
    histograms: list[Histogram] = []
    for one in labels:
        for at, value in sorted(plain[one].items()):
            stamps.append(at)
            if isinstance(value, Histogram):
                found.append(float(handles(len(histograms), len(histograms) + 1)[0]))
                histograms.append(value)
            else:
                found.append(value)
        offsets.append(len(stamps))
    bits = np.array([struct.unpack("<Q", struct.pack("<d", v))[0] for v in found], np.uint64)
    table = histograms_of(histograms) if histograms else None
    return SeriesColumns(labels, np.array(offsets), np.array(stamps, np.int64), bits.view(np.float64), table)


def plain_of(registry: SeriesRegistry, chunks: Sequence[Chunk]) -> dict[Labels, dict[int, object]]:
    """Return series -> time -> bits of the value, or the histogram."""
    out: dict[Labels, dict[int, object]] = {}
    for chunk in chunks:
        b = chunk.batch
        numbers = numbers_of(b.values).tolist()
        bits = b.values.view(np.uint64).tolist()
        for ref, at, n, v in zip(b.refs.tolist(), b.timestamps_ms.tolist(), numbers, bits, strict=True):
            found = v if n < 0 else b.histograms.one(n)  # type: ignore[union-attr]
            out.setdefault(registry.labels(ref), {})[at] = found
    return out


def plain_of_columns(columns: SeriesColumns) -> dict[Labels, dict[int, object]]:
    numbers = numbers_of(columns.values).tolist()
    bits = columns.values.view(np.uint64).tolist()
    out: dict[Labels, dict[int, object]] = {}
    for i, labels in enumerate(columns.labels):
        span = range(int(columns.offsets[i]), int(columns.offsets[i + 1]))
        at = columns.timestamps_ms
        out[labels] = {int(at[j]): bits[j] if numbers[j] < 0 else columns.histograms.one(numbers[j]) for j in span}  # type: ignore[union-attr]
    return out


def written(form: Form, columns: SeriesColumns) -> bytes:
    out = io.BytesIO()
    label_names = sorted({n for labels in columns.labels for n, _ in labels})
    writer = writer_of(form, out, label_names)
    for i in range(len(columns)):
        a, b = int(columns.offsets[i]), int(columns.offsets[i + 1])
        offsets = np.array([0, b - a])
        writer.write(
            SeriesColumns(
                [columns.labels[i]], offsets, columns.timestamps_ms[a:b], columns.values[a:b], columns.histograms
            )
        )
    writer.close()
    return out.getvalue()


def read(
    form: Form, data: bytes, choice: ColumnChoice | None = None, start: Position | None = None
) -> tuple[dict[Labels, dict[int, object]], Refusals, list[Chunk]]:
    """Return (series, what was refused, chunks)."""
    registry, refusals = SeriesRegistry(), Refusals("input")
    stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    chunks = list(reader_of(form, choice or ColumnChoice()).read(stream, registry, refusals, start or Position()))
    return plain_of(registry, chunks), refusals, chunks
