"""Answers of queries in other forms than JSON: CSV, and the streaming format of Arrow, both a row a sample.

The form is that of `format`, else the one that `Accept` prefers.  Columns are those of `frames/table.py`: `timestamp`,
`value`, `histogram` where there are native histograms, then a column for each label, `__name__` first.  What JSON says
beside the data stands in headers (CSV) or in the metadata of the schema (Arrow).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import numpy as np

from ...errors import UsageError
from ...exposition.histogram_json import objects
from ...exposition.json import dump, format_floats, format_time
from ...frames.table import HISTOGRAM, TIMESTAMP, VALUE, column_labels, load, long_tables
from ...frames.to_arrow import arrow_batch
from ...model.columns import SeriesColumns
from ...model.histograms import is_handle, numbers_of
from ...promql.nodes import ValueType
from ...promql.result import Result
from ..problem import ApiError
from . import parameters

ROWS_MAX: Final = 1 << 14
"""Rows of one piece of an answer, or of one batch of Arrow."""
TIMES_KEPT: Final = 1 << 16
"""Texts of times that are kept from one piece to the next."""
_QUOTED: Final = frozenset(',"\r\n')


class Format(StrEnum):
    """The form of an answer, by the value of `format`."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


CONTENT_TYPES: Final = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}
_ACCEPTED: Final = {
    "text/csv": Format.CSV,
    "application/vnd.apache.arrow.stream": Format.ARROW,
    "application/json": Format.JSON,
    "application/*": Format.JSON,
    "*/*": Format.JSON,
}


def chosen(given: str, accept: str) -> Format:
    """Return the form for a value of `format` and an `Accept` header; JSON where neither says anything else.

    Raises `ApiError`: 400 for another value, 406 for Arrow where its library is missing.
    """
    found = _preferred(accept) if not given else None
    if found is None:
        try:
            found = Format(given)
        except ValueError:
            raise parameters.invalid("format", f"must be one of {', '.join(Format)}") from None
    if found is Format.ARROW:
        try:
            load("pyarrow", "arrow")
        except UsageError as e:
            raise ApiError("not_acceptable", f"cannot encode response as {CONTENT_TYPES[found]}: {e}") from None
    return found


def wanted_by(given: str, scope: Any) -> Format:
    """Return the form that a request wants; see `chosen`."""
    if given:
        return chosen(given, "")
    for name, value in scope["headers"]:
        if name == b"accept" and (b"csv" in value or b"arrow" in value):
            return chosen("", value.decode("latin-1"))
    return Format.JSON


def notes(result: Result, warnings: tuple[str, ...]) -> dict[str, str]:
    """Return warnings and infos as headers: arrays of JSON in ASCII."""
    found = {"tinyobs-warnings": warnings, "tinyobs-infos": result.infos}
    return {name: json.dumps(list(texts)) for name, texts in found.items() if texts}


def _preferred(accept: str) -> Format:
    """Return the form that a header prefers (RFC 9110 section 12.5.1); of equal weights the first."""
    best, weight = Format.JSON, 0.0
    for part in accept.lower().split(","):
        kind, *more = part.split(";")
        found = _ACCEPTED.get(kind.strip())
        if found is None:
            continue
        here = 1.0
        for one in more:
            name, _, value = one.partition("=")
            if name.strip() == "q":
                try:
                    here = float(value)
                except ValueError:
                    here = 0.0
        if here > weight:
            best, weight = found, here
    return best


def csv(result: Result) -> Iterator[bytes]:
    """Yield an answer as CSV (RFC 4180), the header first.

    Times are unix seconds, values as in JSON, a histogram the text of its JSON object beside an empty value; a label that
    a series does not have is empty.
    """
    if result.type is ValueType.STRING:
        yield f"{TIMESTAMP},{VALUE}\r\n{format_time(result.time_ms)},{_field(result.text)}\r\n".encode()
        return
    columns, native = result.columns, result.columns.histograms is not None
    names = column_labels(columns.labels)
    yield (
        ",".join([TIMESTAMP, VALUE, *([HISTOGRAM] if native else []), *map(_field, names.values())]) + "\r\n"
    ).encode()
    known = _Times()
    for start in range(0, columns.samples, ROWS_MAX):
        end = min(start + ROWS_MAX, columns.samples)
        if len(known) > TIMES_KEPT:
            known.clear()
        times = [known[t] for t in columns.timestamps_ms[start:end].tolist()]
        values = _values(columns, start, end)
        first, last = np.searchsorted(columns.offsets, (start, end - 1), side="right").tolist()
        out: list[str] = []
        for i in range(first - 1, last):
            low, high = max(int(columns.offsets[i]) - start, 0), min(int(columns.offsets[i + 1]), end) - start
            own = dict(columns.labels[i])
            rest = "".join([f",{_field(own.get(name, ''))}" for name in names]) + "\r\n"
            out += [f"{t},{v}{rest}" for t, v in zip(times[low:high], values[low:high], strict=True)]
        yield "".join(out).encode("utf-8", "replace")


class _Times(dict[int, str]):
    """The texts of times, each made once: series of a range query share them."""

    def __missing__(self, time_ms: int) -> str:
        text = self[time_ms] = format_time(time_ms)
        return text


def _values(columns: SeriesColumns, start: int, end: int) -> list[str]:
    """Return the fields of some samples: the value, and where there are histograms theirs behind a comma."""
    here = columns.values[start:end]
    texts = format_floats(here)
    if columns.histograms is None:
        return texts
    texts = [text + "," for text in texts]
    places = np.flatnonzero(is_handle(here))
    found = objects(columns.histograms.take(numbers_of(here[places]))) if len(places) else []
    for place, text in zip(places.tolist(), found, strict=True):
        texts[place] = "," + _field(text)
    return texts


def _field(text: str) -> str:
    """Return a field of CSV, in quotes where it has to be; an empty text in quotes would still be an empty one."""
    return '"' + text.replace('"', '""') + '"' if not _QUOTED.isdisjoint(text) else text


class _Sink:
    """A file that keeps what is written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: Any) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written is taken."""

    def take(self) -> bytes:
        out = b"".join(self._written)
        self._written.clear()
        return out


def arrow(result: Result, warnings: tuple[str, ...]) -> Iterator[bytes]:
    """Yield an answer as a stream of Arrow; texts become a column of strings."""
    pa = load("pyarrow", "arrow")
    notes = {"resultType": str(result.type), "warnings": dump(list(warnings)), "infos": dump(list(result.infos))}
    sink, writer = _Sink(), None
    for batch in _batches(pa, result):
        if writer is None:
            writer = pa.ipc.new_stream(sink, batch.schema.with_metadata(notes))
        writer.write_batch(batch.replace_schema_metadata(notes))
        yield sink.take()
    assert writer is not None
    writer.close()
    yield sink.take()


def _batches(pa: Any, result: Result) -> Iterator[Any]:
    if result.type is ValueType.STRING:
        time = pa.array([result.time_ms], pa.timestamp("ms", tz="UTC"))
        yield pa.RecordBatch.from_arrays([time, pa.array([result.text])], names=[TIMESTAMP, VALUE])
        return
    for table in long_tables(result.columns, ROWS_MAX):
        yield arrow_batch(table)
