"""CSV -> samples: one row has the labels, the time and the values of one or more metrics.

Format: RFC 4180 with a header, comma by comma; line ends of either kind.  What columns mean says `csv_columns.py`.
Rows without a quote are split in bulk.  A row with quotes may run over line ends; where its quotes do not add up, its
first line alone is refused.  An empty value is no sample, an empty label is none.  A fault of a value or a time has the
number of its column, any other 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import BinaryIO, Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ..errors import UsageError
from ..model.batch import Batch
from ..model.labels import NAME, Labels
from ..model.registry import SeriesRegistry
from .chunks import START, Chunk, Position, Refusals, floats_batch
from .csv_columns import ColumnChoice, ColumnMap, map_columns
from .csv_format import CsvFormat
from .csv_times import read_times
from .label_sets import labels_of
from .numbers import Faults, read_values
from .streams import LineBlocks, read_some, skip_on

LINE_BYTES_MAX: Final = 1 << 20
"""Longest row, and longest head of a table."""
KNOWN_MAX: Final = 4_000_000
"""Combinations of labels that are remembered; beyond it all are forgotten."""
COLUMNS_MAX: Final = 1024
"""Columns of a table."""

_FIELD: Final = rb'(?:"(?:[^"]|"")*"|[^",\r\n][^,\r\n]*|(?=[,\r\n]|\Z))'
_RECORD: Final = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*(?:\r?\n|\Z)")
_PIECE: Final = re.compile(rb'(?:^|,)("(?:[^"]|"")*"|[^,\r\n]*)')
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Row = tuple[bytes, ...]


@frozen
class CsvReader:
    """Reads CSV.  format: what the columns of a table without a header are, in place of `choice`; now_ms: see there."""

    choice: ColumnChoice = field(factory=ColumnChoice)
    format: CsvFormat | None = None
    now_ms: int = 0

    def read(
        self, stream: BinaryIO, registry: SeriesRegistry, refusals: Refusals, start: Position = START
    ) -> Iterator[Chunk]:
        """Yield the samples of the rows; raises `UsageError` where the columns are unclear."""
        head = _read_head(stream)
        if not head.strip():
            return
        columns, body = self._map(head)
        at = start if start.offset else body
        whole = _Prepended(head, stream)
        whole.skip_to(at.offset)
        rows = _Rows(columns, registry, refusals)
        rest = b""
        for block in LineBlocks(whole, refusals, LINE_BYTES_MAX, at):
            data = rest + block.data
            batch, used = rows.read(data, at.line + 1, last=False)
            rest = data[used:]
            taken = data[:used]
            lines = taken.count(b"\n") + (bool(taken) and not taken.endswith(b"\n"))
            at = Position(at.offset + used, at.line + lines)
            yield Chunk(batch, at)
        if rest:
            batch, _ = rows.read(rest, at.line + 1, last=True)
            yield Chunk(batch, Position(at.offset + len(rest), at.line + rest.count(b"\n")))

    def _map(self, head: bytes) -> tuple[ColumnMap, Position]:
        """Return what the columns are, and where the rows begin."""
        mark = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
        if self.format is not None:
            return self.format.columns(self.now_ms), Position(mark, 0)
        first = _RECORD.match(head, mark)
        if first is None:
            raise UsageError("the first line is no CSV header")
        second = _RECORD.match(head, first.end())
        rows = [split_row(m[0]) for m in (first, second) if m is not None]
        try:
            texts = [[c.decode() for c in row] for row in rows]
        except UnicodeDecodeError:
            raise UsageError("the first lines are not UTF-8") from None
        if len(texts[0]) > COLUMNS_MAX:
            raise UsageError(f"more than {COLUMNS_MAX} columns")
        if self.choice.names:
            if len(self.choice.names) != len(texts[0]):
                raise UsageError(f"{len(self.choice.names)} columns are named, but the table has {len(texts[0])}")
            return map_columns(self.choice.names, texts[0], self.choice), Position(mark, 0)
        example = texts[1] if len(texts) > 1 and len(texts[1]) == len(texts[0]) else []
        return map_columns(texts[0], example, self.choice), Position(first.end(), first[0].count(b"\n"))


def split_row(record: bytes) -> Row:
    """Return the fields of a well-formed record, quotes resolved."""
    fields = _PIECE.findall(record.rstrip(b"\r\n"))
    return tuple([f[1:-1].replace(b'""', b'"') if f[:1] == b'"' else f for f in fields])


@define
class _Rows:
    """Reads rows of known columns."""

    columns: ColumnMap
    registry: SeriesRegistry
    refusals: Refusals
    known: list[dict[Row | bytes, int]] = field(init=False)
    """For each value column: ref of the fields of the labels, -1 where they are refused."""
    reasons: dict[Row | bytes, str] = field(factory=dict)
    is_leading: bool = field(init=False)
    """Whether labels come first, time and one value last: then all before those two names the series as it stands."""

    def __attrs_post_init__(self) -> None:
        columns = self.columns
        self.known = [{} for _ in columns.values]
        ends = {columns.time, columns.values[0][0]}
        labels_first = len(columns.labels) == columns.width - 2 > 1
        self.is_leading = labels_first and ends == {columns.width - 2, columns.width - 1}

    def read(self, data: bytes, number: int, *, last: bool) -> tuple[Batch, int]:
        """Return the samples of lines, the first of which is line `number`, and how many bytes were read.

        Not read is a row with quotes that may go on behind the end, unless this is the `last` of the input.
        """
        used = len(data)
        if b'"' in data:
            rows, lines, used = self._quoted(data, number, last)
            fields = list(zip(*rows, strict=True)) if rows else []
            return self._samples(fields, lines), used
        lines_ = (data.replace(b"\r\n", b"\n") if b"\r" in data else data).split(b"\n")
        if not lines_[-1]:
            lines_.pop()
        width, is_open = self.columns.width, self.columns.is_open
        if self.is_leading and not is_open:
            return self._of_prefixes(lines_, number), used
        commas = list(map(bytes.count, lines_, repeat(b",")))
        found = commas[0] + 1 if commas else width
        numbers: Sequence[int] = range(number, number + len(lines_))
        if commas.count(found - 1) != len(lines_) or not self._fits(found) or found == 1:
            lines_, numbers = self._of_width(lines_, number)
            found = width
        elif self.is_leading and found == width:
            return self._of_prefixes(lines_, number), used
        flat = b",".join(lines_).split(b",") if lines_ else []
        return self._samples([tuple(flat[i::found]) for i in range(width)] if flat else [], numbers), used

    def _fits(self, found: int) -> bool:
        """Tell whether a row may have so many fields."""
        return found == self.columns.width or (self.columns.is_open and found > self.columns.width)

    def _of_prefixes(self, lines: Sequence[bytes], number: int) -> Batch:
        """Return the samples of lines without quotes whose labels come first."""
        parts = [line.rsplit(b",", 2) for line in lines]
        numbers: Sequence[int] = range(number, number + len(lines))
        if list(map(len, parts)).count(3) != len(parts):
            short = [i for i, p in enumerate(parts) if len(p) != 3]
            for i in short:
                if lines[i]:
                    self._refuse_width(number + i, len(parts[i]))
            numbers = [number + i for i, p in enumerate(parts) if len(p) == 3]
            parts = [p for p in parts if len(p) == 3]
        if not parts:
            return self._samples([], numbers)
        prefixes, *last = zip(*parts, strict=True)
        fields: list[Row] = [()] * (self.columns.width - 2)
        return self._samples([*fields, *last], numbers, prefixes)

    def _of_width(self, lines: Sequence[bytes], number: int) -> tuple[list[bytes], list[int]]:
        """Return the lines with as many fields as they may have, cut to the width, and their numbers; refuse the others."""
        kept, numbers = [], []
        width = self.columns.width
        for i, line in enumerate(lines):
            found = line.count(b",") + 1
            if line and self._fits(found):
                kept.append(line if found == width else b",".join(line.split(b",", width)[:width]))
                numbers.append(number + i)
            elif line:
                self._refuse_width(number + i, found)
        return kept, numbers

    def _refuse_width(self, line: int, width: int) -> None:
        self.refusals.refuse(line, 1, self._wrong_width(width))

    def _wrong_width(self, found: int) -> str:
        if self.columns.is_open:
            return f"{found} fields, but the format speaks of column {self.columns.width}"
        return f"{found} fields, but the header has {self.columns.width}"

    def _quoted(self, data: bytes, number: int, last: bool) -> tuple[list[Row], list[int], int]:
        """Return rows of data some of which have quotes, their line numbers, and how many bytes they took."""
        rows: list[Row] = []
        numbers: list[int] = []
        at, end, width = 0, len(data), self.columns.width
        while at < end:
            stop = data.find(b"\n", at) + 1 or end
            line = data[at:stop]
            step = 1
            if b'"' not in line:
                row: Row = tuple(line.rstrip(b"\r\n").split(b","))
            else:
                match = _RECORD.match(data, at)
                if match is None or match.end() - at > LINE_BYTES_MAX:
                    if not last and end - at <= LINE_BYTES_MAX and line.count(b'"') % 2:
                        return rows, numbers, at  # it may go on behind the end
                    self.refusals.refuse(number, 1, "quotes that do not add up")
                    at, number = stop, number + 1
                    continue
                stop, step = match.end(), max(match[0].count(b"\n"), 1)
                row = split_row(match[0])
            if row != (b"",) and self._fits(len(row)):
                rows.append(row[:width])
                numbers.append(number)
            elif row != (b"",):
                self._refuse_width(number, len(row))
            at, number = stop, number + step
        return rows, numbers, at

    def _samples(self, fields: Sequence[Row], lines: Sequence[int], keys: Sequence[Row | bytes] = ()) -> Batch:
        """Return the samples of columns of fields; `lines` are the numbers of their rows.

        keys: what names the series of each row, where that is not its fields of labels.
        """
        if not fields:
            return floats_batch(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0))
        columns = self.columns
        faults: Faults = {}
        if columns.time < 0:
            times = np.full(len(lines), columns.now_ms, np.int64)
        else:
            times, faults = read_times(fields[columns.time], columns.time_form)
        if not keys:
            labels = [fields[i] for i, _ in columns.labels]
            keys = labels[0] if len(labels) == 1 else list(zip(*labels, strict=True)) or [()] * len(lines)
        parts = []
        for v, (i, _) in enumerate(columns.values):
            texts = fields[i]
            empty = {j for j, t in enumerate(texts) if not t} if b"" in texts else set()
            values, bad = read_values([t or b"0" for t in texts] if empty else texts)
            refs, unknown = self._refs(v, keys)
            bad = {**unknown, **bad, **faults}
            for j in sorted(bad.keys() - empty):
                column = columns.time if j in faults else i if j not in unknown else 0
                self.refusals.refuse(lines[j], column + 1, bad[j])
            dropped = np.fromiter(bad.keys() | empty, np.int64)
            good = np.setdiff1d(np.arange(len(refs)), dropped) if len(dropped) else slice(None)
            parts.append((refs[good], times[good], values[good]))
        refs_, times_, values_ = (np.concatenate(column) for column in zip(*parts, strict=True))
        return floats_batch(refs_.astype(np.uint32), times_, values_)

    def _refs(self, v: int, keys: Sequence[Row | bytes]) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Return int64[n] of refs for one value column, and what is wrong with labels by position."""
        known = self.known[v]
        if len(known) > KNOWN_MAX:
            known.clear()
        found = list(map(known.get, keys))
        if None in found:
            self._intern(v, dict.fromkeys(k for k, ref in zip(keys, found, strict=True) if ref is None))
            found = list(map(known.get, keys))
        refs = np.array(found, np.int64)
        return refs, {i: self.reasons[keys[i]] for i in np.flatnonzero(refs < 0).tolist()}

    def _intern(self, v: int, keys: Iterable[Row | bytes]) -> None:
        """Remember the refs of the fields of labels, or why there are none."""
        series = {}
        for key in keys:
            try:
                series[key] = self._labels(v, key)
            except UnicodeDecodeError:
                self.known[v][key], self.reasons[key] = -1, "a label is not valid UTF-8"
            except ValueError as e:
                self.known[v][key], self.reasons[key] = -1, str(e)
        refs = self.registry.intern_many(series.values()).tolist()
        self.known[v].update(zip(series, refs, strict=True))

    def _labels(self, v: int, key: Row | bytes) -> Labels:
        """Return the labels of a series by their fields; raises `ValueError`."""
        texts = key if isinstance(key, tuple) else tuple(key.split(b",")) if self.is_leading else (key,)
        if len(texts) != len(self.columns.labels):
            raise ValueError(self._wrong_width(self.columns.width - len(self.columns.labels) + len(texts)))
        metric = self.columns.values[v][1]
        labels = {name: t.decode() for (_, name), t in zip(self.columns.labels, texts, strict=True)}
        return labels_of(labels | {NAME: metric} if metric else labels)


def _read_head(stream: BinaryIO) -> bytes:
    """Return the beginning of a stream: enough for a header and a row."""
    head = b""
    while len(head) < LINE_BYTES_MAX:
        data = read_some(stream, LINE_BYTES_MAX - len(head))
        if not data:
            break
        head += data
    return head


@define
class _Prepended:
    """A stream with the bytes put back that were read from it."""

    head: bytes
    stream: BinaryIO

    def skip_to(self, offset: int) -> None:
        """Go to a place in the content."""
        if offset <= len(self.head):
            self.head = self.head[offset:]
            return
        skip_on(self.stream, len(self.head), offset)
        self.head = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        if self.head:
            data, self.head = self.head[:size], self.head[size:]
            return data
        return read_some(self.stream, size)
