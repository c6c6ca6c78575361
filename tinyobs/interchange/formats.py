"""The formats by name: which reader and which writer, and which one a file is in by the looks of its name."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import BinaryIO, Final, Protocol

from ..errors import UsageError
from ..model.columns import SeriesColumns
from .chunks import Reader
from .csv_columns import ColumnChoice
from .csv_reader import CsvReader
from .csv_writer import CsvWriter
from .json_lines_reader import JsonLinesReader
from .json_lines_writer import JsonLinesWriter
from .openmetrics_reader import OpenMetricsReader
from .openmetrics_writer import OpenMetricsWriter
from .parquet_reader import ParquetReader
from .parquet_writer import ParquetWriter
from .remote_write_stream import RemoteWriteReader, RemoteWriteWriter


class Form(StrEnum):
    """A format of files with samples."""

    CSV = "csv"
    JSON_LINES = "jsonl"
    OPENMETRICS = "openmetrics"
    REMOTE_WRITE = "remote-write"
    PARQUET = "parquet"


class Writer(Protocol):
    """A format being written."""

    def write(self, columns: SeriesColumns) -> None:
        """Append series; none is given twice."""

    def close(self) -> None:
        """Write the end; the stream stays open."""


_OF_SUFFIX: Final = {
    "csv": Form.CSV,
    "jsonl": Form.JSON_LINES,
    "ndjson": Form.JSON_LINES,
    "json": Form.JSON_LINES,
    "om": Form.OPENMETRICS,
    "openmetrics": Form.OPENMETRICS,
    "prom": Form.OPENMETRICS,
    "txt": Form.OPENMETRICS,
    "rw": Form.REMOTE_WRITE,
    "parquet": Form.PARQUET,
}


def form_of(name: str) -> Form:
    """Return the format that a file's name tells, compression aside; raises `UsageError` where it tells none."""
    plain = name.lower().removesuffix(".gz").removesuffix(".zst")
    form = _OF_SUFFIX.get(plain.rpartition(".")[2])
    if form is None:
        raise UsageError(f"the name {name} tells no format; say which one it is (--format)")
    return form


def reader_of(form: Form, choice: ColumnChoice) -> Reader:
    """Return the reader of a format; `choice` counts for tables only."""
    if form is Form.CSV:
        return CsvReader(choice)
    if form is Form.PARQUET:
        return ParquetReader(choice)
    if form is Form.JSON_LINES:
        return JsonLinesReader()
    return OpenMetricsReader() if form is Form.OPENMETRICS else RemoteWriteReader()


def writer_of(form: Form, out: BinaryIO, names: Sequence[str]) -> Writer:
    """Return a writer; names: every label name that series have, ascending."""
    if form is Form.CSV:
        return CsvWriter(out, names)
    if form is Form.PARQUET:
        return ParquetWriter(out, names)
    if form is Form.JSON_LINES:
        return JsonLinesWriter(out)
    return OpenMetricsWriter(out) if form is Form.OPENMETRICS else RemoteWriteWriter(out)
