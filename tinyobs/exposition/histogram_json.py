"""JSON text of results in which native histograms occur.

A histogram is `{"count":"3","sum":"5","buckets":[[0,"1","2","3"],...]}`: buckets that are not empty in ascending order,
each with the rule of its borders (0 open on the left, 1 open on the right, 2 open, 3 closed), lower and upper bound and
count.  Source of the format: prometheus web/api/v1/json_codec.go and util/jsonutil/marshal.go (marshalHistogram; 3.14).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.columns import SeriesColumns
from ..model.histogram_bounds import exponential
from ..model.histogram_words import shapes_of
from ..model.histograms import CUSTOM_SCHEMA, Histograms, numbers_of
from .json import LabelWriter, format_floats, format_time

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

CHUNK_HISTOGRAMS: Final = 512
"""Histograms written at one time."""
_LEFT_OPEN, _RIGHT_OPEN, _CLOSED = 0, 1, 3


def vector(columns: SeriesColumns) -> Iterator[str]:
    """Yield the array of an instant vector in chunks; every series has exactly one sample."""
    assert columns.histograms is not None
    labels = LabelWriter()
    yield "["
    for first in range(0, len(columns), CHUNK_HISTOGRAMS):
        last = min(first + CHUNK_HISTOGRAMS, len(columns))
        kinds, texts = _samples(columns.values[first:last], columns.histograms)
        rows = zip(columns.labels[first:last], columns.timestamps_ms[first:last].tolist(), kinds, texts, strict=True)
        text = ",".join(
            [
                f'{{"metric":{labels.write(x)},"{"histogram" if native else "value"}":[{format_time(t)},{sample}]}}'
                for x, t, native, sample in rows
            ]
        )
        yield f",{text}" if first else text
    yield "]"


def matrix(columns: SeriesColumns) -> Iterator[str]:
    """Yield the array of a matrix in chunks: floats of a series are its `values`, histograms its `histograms`."""
    labels = LabelWriter()
    yield "["
    for i, (start, end) in enumerate(pairwise(columns.offsets.tolist())):
        yield f'{"," if i else ""}{{"metric":{labels.write(columns.labels[i])}'
        native = numbers_of(columns.values[start:end]) >= 0
        for kind, name in ((False, "values"), (True, "histograms")):
            places = np.flatnonzero(native == kind) + start
            if len(places):
                yield f',"{name}":['
                yield from _points(columns, places)
                yield "]"
        yield "}"
    yield "]"


def _points(columns: SeriesColumns, places: I64) -> Iterator[str]:
    assert columns.histograms is not None
    for first in range(0, len(places), CHUNK_HISTOGRAMS):
        some = places[first : first + CHUNK_HISTOGRAMS]
        _, texts = _samples(columns.values[some], columns.histograms)
        times = columns.timestamps_ms[some].tolist()
        text = ",".join([f"[{format_time(t)},{sample}]" for t, sample in zip(times, texts, strict=True)])
        yield f",{text}" if first else text


def _samples(values: F64, table: Histograms) -> tuple[list[bool], list[str]]:
    """Return (which samples are histograms, the JSON of each)."""
    numbers = numbers_of(values)
    native = numbers >= 0
    texts = [f'"{text}"' for text in format_floats(values)]
    for place, text in zip(np.flatnonzero(native).tolist(), objects(table.take(numbers[native])), strict=True):
        texts[place] = text
    return native.tolist(), texts


@frozen(eq=False)
class _Buckets:
    """Buckets that are not empty, those of one histogram after those of the one before, ascending; all [N]."""

    histogram: I64
    rule: I64
    lower: F64
    upper: F64
    counts: F64


def objects(table: Histograms) -> list[str]:
    """Return the JSON objects of histograms."""
    buckets = _buckets(table)
    # By their bits: -0 and 0, between which a zero bucket without a width lies, are two bounds.
    bits, places = np.unique(np.concatenate((buckets.lower, buckets.upper)).view(np.int64), return_inverse=True)
    texts = format_floats(bits.view(np.float64))
    n = len(buckets.lower)
    numbers = format_floats(np.concatenate((buckets.counts, table.counts(), table.sums())))
    pieces = [
        f'[{rule},"{texts[a]}","{texts[b]}","{count}"]'
        for rule, a, b, count in zip(
            buckets.rule.tolist(), places[:n].tolist(), places[n:].tolist(), numbers[:n], strict=True
        )
    ]
    ends = np.searchsorted(buckets.histogram, np.arange(len(table) + 1)).tolist()
    out = []
    for i, (a, b) in enumerate(pairwise(ends)):
        inner = f',"buckets":[{",".join(pieces[a:b])}]' if b > a else ""
        out.append(f'{{"count":"{numbers[n + i]}","sum":"{numbers[n + len(table) + i]}"{inner}}}')
    return out


def _buckets(table: Histograms) -> _Buckets:
    found = table.buckets()
    owner = np.repeat(np.arange(len(table)), np.diff(found.offsets))
    lower, upper = _limits(table, owner, found.indexes)
    custom = (table.schemas() == CUSTOM_SCHEMA)[owner]
    lower, upper = np.where(found.negative, -upper, lower), np.where(found.negative, -lower, upper)
    # Buckets that reach into the zero bucket are shown from its border on.
    width = np.where(custom, 0.0, table.zero_thresholds()[owner])
    lower = np.where((lower > 0) & (lower < width), width, lower)
    upper = np.where((upper < 0) & (upper > -width), -width, upper)
    rule = np.where(found.negative, _RIGHT_OPEN, _LEFT_OPEN)
    rule[custom & (found.indexes == 0)] = _CLOSED
    zero, wide = table.zero_counts(), table.zero_thresholds()
    zero = np.where(zero > 0, zero, 0.0)
    order = np.where(found.negative, -found.indexes - (1 << 33), found.indexes + (1 << 33))
    everything = _Buckets(
        np.concatenate((owner, np.arange(len(table)))),
        np.concatenate((rule, np.full(len(table), _CLOSED))),
        np.concatenate((lower, -wide)),
        np.concatenate((upper, wide)),
        np.concatenate((found.counts, zero)),
    )
    places = np.lexsort((np.concatenate((order, np.zeros(len(table), np.int64))), everything.histogram))
    places = places[everything.counts[places] != 0]
    parts = (everything.histogram, everything.rule, everything.lower, everything.upper, everything.counts)
    return _Buckets(*(part[places] for part in parts))


def _limits(table: Histograms, owner: I64, indexes: I64) -> tuple[F64, F64]:
    """Return (lower, upper) bounds of buckets as if they were positive."""
    lower, upper = np.zeros(len(owner)), np.zeros(len(owner))
    schemas = table.schemas()
    for schema in np.unique(schemas).tolist():
        here = schemas[owner] == schema
        if schema != CUSTOM_SCHEMA:
            lower[here], upper[here] = exponential(schema, indexes[here] - 1), exponential(schema, indexes[here])
            continue
        custom = shapes_of(table.words[table.offsets[:-1]]).custom[owner[here]]
        first, index = table.offsets[1:][owner[here]] - custom, indexes[here]
        bounds = table.words.view(np.float64)
        last = len(bounds) - 1
        lower[here] = np.where(index == 0, -np.inf, bounds[np.clip(first + index - 1, 0, last)])
        upper[here] = np.where(index >= custom, np.inf, bounds[np.clip(first + index, 0, last)])
    return lower, upper
