"""`tinyobs tsdb dump`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import numpy as np

from ...errors import UsageError
from ...model import labels as lb
from ...model.columns import SeriesColumns
from ...model.histograms import numbers_of
from ...model.labels import Labels
from ...promql.numbers_text import format_g
from .directories import read_engine
from .parameters import TIME_MAX, TIME_MIN, Time, path_option, selectors

SERIES_PER_READ: Final = 256


@click.command()
@path_option
@click.option("--match", "texts", multiple=True, default=('{__name__=~".*"}',), help="Series to show; repeatable.")
@click.option(
    "--min-time", type=Time(1), default=TIME_MIN, show_default=False, help="First time: ms since 1970, or RFC 3339."
)
@click.option("--max-time", type=Time(1), default=TIME_MAX, show_default=False, help="Last time, included.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["prom", "json"]),
    default="prom",
    show_default=True,
    help="`prom`: {labels} value milliseconds, as promtool prints it; `json`: one object a series.",
)
def dump(path: Path, texts: tuple[str, ...], min_time: int, max_time: int, form: str) -> None:
    """Print the samples of a data directory that nobody has open; the log is read as well, nothing is written.

    Staleness markers and histograms are included.  A series that several --match select is printed once.
    """
    lines = _json_lines if form == "json" else _prom_lines
    sets = selectors(texts)
    if min_time > max_time:
        raise UsageError("--min-time is after --max-time")
    with read_engine(path) as engine, engine.querier(min_time, max_time) as querier:
        seen: set[Labels] = set()
        for matchers in sets:
            selection = querier.select(matchers, min_time, max_time)
            for first in range(0, len(selection.labels), SERIES_PER_READ):
                columns = selection.read(first, min(first + SERIES_PER_READ, len(selection.labels)))
                for i in range(len(columns)):
                    if len(sets) > 1 and columns.labels[i] in seen:
                        continue
                    text = "\n".join(lines(columns, i))
                    if text:
                        click.echo(text)
                if len(sets) > 1:
                    seen.update(columns.labels)


def _prom_lines(columns: SeriesColumns, i: int) -> Iterator[str]:
    labels, times, values = columns.one(i)
    head = "{" + ", ".join(f"{n}={lb.quote(v)}" for n, v in labels) + "}"
    for time_ms, text in zip(times.tolist(), _texts(columns, values), strict=True):
        yield f"{head} {text} {time_ms}"


def _json_lines(columns: SeriesColumns, i: int) -> Iterator[str]:
    labels, times, values = columns.one(i)
    if len(times):
        yield json.dumps(
            {"metric": dict(labels), "timestamps_ms": times.tolist(), "values": _texts(columns, values)},
            ensure_ascii=False,
        )


def _texts(columns: SeriesColumns, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    """Return values as text; a native histogram as its count and sum, schema and buckets."""
    if columns.histograms is None:
        return [format_g(v) for v in values.tolist()]
    numbers = numbers_of(values).tolist()
    return [
        format_g(v) if n < 0 else _histogram_text(columns, n) for v, n in zip(values.tolist(), numbers, strict=True)
    ]


def _histogram_text(columns: SeriesColumns, number: int) -> str:
    assert columns.histograms is not None
    h = columns.histograms.one(number)
    parts = [f"count:{format_g(float(h.count))}", f"sum:{format_g(h.sum)}", f"schema:{h.schema}"]
    if h.zero_count:
        parts.append(f"zero:{format_g(float(h.zero_count))}<={format_g(h.zero_threshold)}")
    for name, spans, buckets in (
        ("positive", h.positive_spans, h.positive_buckets),
        ("negative", h.negative_spans, h.negative_buckets),
    ):
        if buckets:
            counts = ",".join(format_g(float(b)) for b in buckets)
            parts.append(f"{name}:{'|'.join(f'{offset}+{length}' for offset, length in spans)}:[{counts}]")
    if h.custom_values:
        parts.append(f"bounds:[{','.join(map(format_g, h.custom_values))}]")
    return "{" + " ".join(parts) + "}"
