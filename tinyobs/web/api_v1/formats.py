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
from ...frames.table import HISTOGRAM, TIMESTAMP, VALUE, LongTable, load, long_tables
from ...frames.to_arrow import arrow_batch
from ...model.columns import SeriesColumns
from ...model.histograms import is_handle, numbers_of
from ...promql.nodes import ValueType
from ...promql.result import Result
from ..problem import ApiError
from . import parameters

ROWS_MAX: Final = 1 << 16
"""Rows of one piece of an answer, or of one batch of Arrow."""
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
    for i, table in enumerate(long_tables(result.columns, ROWS_MAX)):
        if i == 0:
            names = [TIMESTAMP, VALUE, *([HISTOGRAM] if table.histograms is not None else []), *table.labels]
            yield (",".join(map(_field, names)) + "\r\n").encode()
        yield _rows(table, result.columns, i * ROWS_MAX)


def _rows(table: LongTable, columns: SeriesColumns, first: int) -> bytes:
    known: dict[int, str] = {t: format_time(t) for t in np.unique(table.timestamps_ms).tolist()}
    fields: list[list[str]] = [[known[t] for t in table.timestamps_ms.tolist()], format_floats(table.values)]
    if table.histograms is not None:
        fields.append(_histograms(fields[1], columns, first))
    for label in table.labels.values():
        texts = [*map(_field, label.values), ""]  # an absent label has the code -1
        fields.append([texts[code] for code in label.codes.tolist()])
    return "".join([",".join(row) + "\r\n" for row in zip(*fields, strict=True)]).encode("utf-8", "replace")


def _histograms(values: list[str], columns: SeriesColumns, first: int) -> list[str]:
    """Return the column of histograms, and empty the values in their places."""
    out = [""] * len(values)
    here = columns.values[first : first + len(values)]
    places = np.flatnonzero(is_handle(here))
    if len(places) and columns.histograms is not None:
        texts = objects(columns.histograms.take(numbers_of(here[places])))
        for place, text in zip(places.tolist(), texts, strict=True):
            out[place], values[place] = _field(text), ""
    return out


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
