"""The Influx line protocol: a body of lines -> a batch, and what of it could not be taken.

Bodies are read in pieces that fit the processor's cache: ordinary lines in bulk (`influx_scan.py`), and the odd ones between
them one by one (`influx_line.py`): those with strings, with double backslashes, and all that may be wrong.  A string may hold
line breaks; where a quote is never closed, its own line is refused and those that follow are not.  Both ways ask the same
memory of series (`influx_series.py`) and give the same samples.  Small bodies are read line by line, at once those lines that
came before (`influx_recall.py`).  Not here: HTTP, UDP, TCP.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import Factory, define, field, frozen
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.block_hash import PADDING_BYTES, blocks_of
from ..model.gate import STAND_INS
from ..model.registry import SeriesRegistry
from . import number_columns
from .floats import printable
from .influx_line import KEY, STRING, BadLine, Line, OpenString, parse_line
from .influx_names import NameRules, Origin
from .influx_recall import LineMemory, Recalled
from .influx_scan import Lines, read_times, read_values, scan
from .influx_series import SERIES_MAX, KeyedFields, SeriesMemory
from .influx_strings import hide_strings
from .influx_times import Precision, one_to_ms, to_ms
from .pushed import Faults, Pushed

I64 = NDArray[np.int64]

MALFORMED: Final = "malformed"
STRING_FIELD: Final = "string_field"
"""The reason that fields with strings are counted under; they are no fault."""
LINE_BYTES_MAX: Final = 64 << 10
"""Longest line that a string with line breaks may make."""
OPEN_STRINGS_MAX: Final = 100
"""Quotes of one body that are not closed properly, after which no string goes beyond its line."""
LONG_LINE_BYTES: Final = 256 << 10
"""Lines of large bodies that are longer than this, and than a piece, are refused: their marks would take too much memory."""
PIECE_BYTES: Final = 512 << 10
"""Bytes of a body that are read in one step: some hundred operations on arrays, however few lines there are."""
FAULTS_MAX: Final = 1000
"""Malformed lines of one body that are put in words, so that the first ones can be told; all are counted."""
SMALL_BYTES_MAX: Final = 16 << 10
"""Bodies up to this size are read line by line: reading in bulk takes 0.4 to 0.8 ms however few there are."""


@frozen
class InfluxOptions:
    """How a body is to be understood.  now_ms: for lines without a timestamp."""

    now_ms: int
    precision: Precision = Precision.AUTO
    origin: Origin = Factory(Origin)
    trim_ms: int = 1


@frozen(eq=False)
class _Rows:
    """Samples of some lines, field by field.  lines: number of the line of each field, from 1."""

    lines: I64
    refs: NDArray[np.uint32]
    times: I64
    values: NDArray[np.float64]


class InfluxDecoder:
    """Decodes bodies for one registry and one set of rules; remembers series.  May be used from any thread."""

    def __init__(self, registry: SeriesRegistry, rules: NameRules | None = None, series_max: int = SERIES_MAX) -> None:
        self.memory, self.lines = SeriesMemory(registry, rules or NameRules(), series_max), LineMemory()

    def decode(self, body: bytes, options: InfluxOptions) -> Pushed:
        """Return the samples of a body, in the order of its lines.

        `refused` counts `MALFORMED` lines, and fields that are strings, for which there are no sentences.
        """
        return next(_Decoding(self.memory, self.lines, options).run(body, len(body) + 1))

    def decode_pieces(self, body: bytes, options: InfluxOptions, bytes_max: int) -> Iterator[Pushed]:
        """Yield the samples of about so many bytes of a body at a time; else as `decode`."""
        return _Decoding(self.memory, self.lines, options).run(body, bytes_max)


def samples_about(body: bytes) -> int:
    """Return how many samples a body has if all of its lines have as many fields as the first, without decoding it."""
    first = body[: _end_of_line(body, 0)]
    key = KEY.match(first)
    assert key is not None
    return (body.count(b"\n") + 1) * max(first.count(b"=", key.end()), 1)


@define(eq=False)
class _Decoding:
    """One body on its way."""

    memory: SeriesMemory
    lines: LineMemory
    options: InfluxOptions
    faults: list[tuple[int, str]] = field(factory=list)
    """(line, sentence)"""
    malformed: int = 0
    rows: list[_Rows] = field(factory=list)
    strings: int = 0
    has_strings: bool = False

    def run(self, body: bytes, bytes_max: int) -> Iterator[Pushed]:
        """Read it, and yield what was read of so many bytes."""
        if len(body) <= SMALL_BYTES_MAX:
            self._take_small(body)
            yield self._pushed()
            return
        head, tail = bytes(number_columns.PADDING_BYTES), bytes(PADDING_BYTES)
        end = b"" if body.endswith(b"\n") or not body else b"\n"
        data = np.frombuffer(bytearray().join((head, body, end, tail)), np.uint8)
        self.has_strings = b'"' in body
        quoted = _Quoted(_Wholes(body))
        line = begun = 0
        for at, stop in _pieces(body, min(PIECE_BYTES, bytes_max)):
            if stop - begun > bytes_max and begun < at:
                yield self._pushed()
                begun = at
            if stop - at > max(PIECE_BYTES, LONG_LINE_BYTES):
                line += 1
                self._fault(line, body[at : at + 100], "the line is too long")
                continue
            if self.has_strings:
                self._take_quoted(data, body, at, stop, line, quoted)
            line += self._take_piece(data, body, len(head) + at, len(head) + stop, line)
        yield self._pushed()

    def _take_small(self, body: bytes) -> None:
        """Read a body line by line, at once those that came before."""
        found = self.lines.recall(body, self.options.origin)
        if found is not None:
            times = self._times_of(found)
            if times is not None:
                numbers = np.repeat(np.array(found.lines, np.int64), found.counts)
                self.rows.append(_Rows(numbers, found.refs, times, found.values))
                self.strings += found.string_count
                self._take_odd(found.left)
                return
        self._take_odd(_whole_strings(body))

    def _times_of(self, found: Recalled) -> I64 | None:
        """Return the times of all fields of a recalled body in milliseconds, None where one cannot be told."""
        how = self.options.precision, self.options.now_ms, self.options.trim_ms
        if len(found.times) == 1:
            time = one_to_ms(int(found.times[0]), *how)
            return None if time is None else np.full(len(found.refs), time)
        times, told = to_ms(found.times, *how)
        return np.repeat(times, found.counts) if told.all() else None

    def _take_piece(self, data: NDArray[np.uint8], body: bytes, begin: int, end: int, line: int) -> int:
        """Read whole lines and return how many there were."""
        found = scan(data, begin, end, line)
        lines = found.simple
        if len(lines):
            values, good = read_values(lines)
            times, sound = read_times(lines)
            times, told = to_ms(times, self.options.precision, self.options.now_ms, self.options.trim_ms)
            if len(times) < len(lines):
                times = np.repeat(times, len(lines))
            good &= sound & told
            if not good.all():
                found.odd[lines.numbers[~good] - line] = True
                values, times, lines = values[np.repeat(good, lines.counts)], times[good], lines.take(good)
            totals, heads = lines.counts, lines.heads()
            if self.has_strings and (strings := lines.strings()).any():
                values, lines = values[~strings], lines.without(strings)
            fields = KeyedFields(lines.keys(), lines.names(), lines.counts, totals == 1, heads)
            self._take_simple(lines, fields, totals, values, times, found.odd, line)
        odd = np.flatnonzero(found.odd)
        if len(odd):
            head = number_columns.PADDING_BYTES  # the bytes of the body, in which no string is hidden
            starts, ends = (found.starts[odd] - head).tolist(), (found.ends[odd] - head).tolist()
            raw = [body[a:b] for a, b in zip(starts, ends, strict=True)]
            self._take_odd([(number + line + 1, text) for number, text in zip(odd.tolist(), raw, strict=True)])
        return len(found.starts)

    def _take_simple(
        self,
        lines: Lines,
        fields: KeyedFields,
        totals: I64,
        values: NDArray[np.float64],
        times: I64,
        odd: NDArray[np.bool_],
        first: int,
    ) -> None:
        """Take lines that are read; totals: how many fields each has, with strings."""
        refs, faults = self.memory.refs_of(fields, self.options.origin)
        strings = totals - lines.counts
        rows = _Rows(np.repeat(lines.numbers + 1, lines.counts), refs, np.repeat(times, lines.counts), values)
        if faults:
            wrong = np.zeros(len(lines), np.bool_)
            wrong[list(faults)] = True
            odd[lines.numbers[wrong] - first] = True  # the general way says what is wrong
            rows = _chosen(rows, ~np.repeat(wrong, lines.counts))
            strings[wrong] = 0
        self.strings += int(strings.sum())
        self.rows.append(rows)

    def _take_quoted(self, data: NDArray[np.uint8], body: bytes, at: int, end: int, line: int, quoted: _Quoted) -> None:
        """Hide strings; read the lines where that is not enough, which may be several in one, and make comments of them."""
        head = number_columns.PADDING_BYTES
        taken: list[tuple[int, bytes]] = []
        for start, number in hide_strings(data, body, head, at, end).tolist():
            if start < quoted.done or body[start] == ord("#"):
                continue  # within a string that is read already, or a comment
            quoted.done = quoted.wholes.end_of(start, _end_of_line(body, start))
            taken.append((number + line + 1, body[start : quoted.done].removesuffix(b"\r")))
            part = data[head + start : head + quoted.done]
            part[part != ord("\n")] = ord("#")
        self._take_odd(taken)

    def _take_odd(self, lines: list[tuple[int, bytes]]) -> None:
        """Read (number, line) one by one."""
        numbers, parsed, raw = [], [], []
        for number, text in lines:
            text = text.lstrip(b" \t\0")
            if not text or text.startswith(b"#"):
                continue
            try:
                parsed.append(parse_line(text))
            except BadLine as e:
                self._fault(number, text, str(e))
            else:
                numbers.append(number)
                raw.append(text)
        if parsed:
            self._take_parsed(np.array(numbers), parsed, raw)

    def _take_parsed(self, numbers: I64, lines: list[Line], raw: list[bytes]) -> None:
        given = np.fromiter((line.time or 0 for line in lines), np.int64, len(lines))
        times, told = to_ms(given, self.options.precision, self.options.now_ms, self.options.trim_ms)
        counts = np.fromiter((len(line.fields) for line in lines), np.int64, len(lines))
        values = np.array([value for line in lines for _, value in line.fields], np.float64)
        singles = np.fromiter((line.is_single for line in lines), np.bool_, len(lines))
        names = blocks_of([name for line in lines for name, _ in line.fields])
        fields = KeyedFields(blocks_of([line.key for line in lines]), names, counts, singles)
        refs, faults = self.memory.refs_of(fields, self.options.origin)
        if not faults and int(refs.max(initial=0)) < STAND_INS:
            self.lines.remember(raw, counts.tolist(), refs, self.options.origin)
        for i in np.flatnonzero(~told).tolist():
            faults.setdefault(i, "timestamp out of range")
        for i, reason in faults.items():
            self._fault(int(numbers[i]), raw[i], reason)
        self.strings += sum(line.string_count for i, line in enumerate(lines) if i not in faults)
        rows = _Rows(np.repeat(numbers, counts), refs, np.repeat(times, counts), values)
        if faults:
            wrong = np.zeros(len(lines), np.bool_)
            wrong[list(faults)] = True
            rows = _chosen(rows, ~np.repeat(wrong, counts))
        self.rows.append(rows)

    def _fault(self, number: int, text: bytes, reason: str) -> None:
        self.malformed += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append((number, f"unable to parse {printable(text)}: {reason} (line {number})"))

    def _pushed(self) -> Pushed:
        """Return what was read since the last call."""
        rows = _joined(self.rows)
        faults = Faults()
        for _, sentence in sorted(self.faults):
            faults.add(MALFORMED, sentence)
        if self.malformed:
            faults.refused[MALFORMED] = self.malformed
        if self.strings:
            faults.refused[STRING_FIELD] = self.strings
        self.rows, self.faults, self.malformed, self.strings = [], [], 0, 0
        return faults.pushed(Batch(rows.refs, rows.times, rows.values, "influx"))


def _joined(parts: list[_Rows]) -> _Rows:
    """Return all rows in the order of their lines."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _Rows(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0))
    rows = _Rows(
        np.concatenate([p.lines for p in parts]),
        np.concatenate([p.refs for p in parts]),
        np.concatenate([p.times for p in parts]),
        np.concatenate([p.values for p in parts]),
    )
    if (rows.lines[1:] >= rows.lines[:-1]).all():
        return rows
    return _chosen(rows, np.argsort(rows.lines, kind="stable"))


def _chosen(rows: _Rows, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> _Rows:
    return _Rows(rows.lines[chosen], rows.refs[chosen], rows.times[chosen], rows.values[chosen])


def _pieces(body: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of pieces of whole lines, as if the body ended with a line break; one line alone may be too long."""
    at = 0
    last = len(body) + (not body.endswith(b"\n"))
    while at < last:
        end = last if at + size >= last else body.rfind(b"\n", at, at + size) + 1
        end = end or min(_end_of_line(body, at + size) + 1, last)
        yield at, end
        at = end


def _end_of_line(body: bytes, at: int) -> int:
    end = body.find(b"\n", at)
    return len(body) if end < 0 else end


@define
class _Quoted:
    """How far the lines with strings of a body were read."""

    wholes: _Wholes
    done: int = 0
    """Where the last one ends that was read with care."""


@define
class _Wholes:
    """Finds lines with strings that hold line breaks, in one body."""

    body: bytes
    failed: int = 0

    def end_of(self, start: int, end: int) -> int:
        """Return the end of a line whose first line break is at `end`; that one where a string is never closed."""
        if self.failed >= OPEN_STRINGS_MAX:
            return end
        whole = _end_of_strings(self.body, start, end)
        self.failed += whole is None
        return whole or end


def _whole_strings(body: bytes) -> list[tuple[int, bytes]]:
    """Return (number, line) of all lines."""
    found, start, done, wholes = [], 0, 0, _Wholes(body)
    for number, line in enumerate(body.split(b"\n"), 1):
        end = start + len(line)
        if start >= done:
            if b'"' in line and not line.startswith(b"#"):
                done = wholes.end_of(start, end)
                line = body[start:done]
            found.append((number, line.removesuffix(b"\r")))
        start = end + 1
    return found


def _end_of_strings(body: bytes, start: int, end: int) -> int | None:
    """Return the end of a line whose strings may go beyond `end`, its first line break; None where they are not closed."""
    while True:
        text = body[start:end].removesuffix(b"\r")
        skipped = len(text) - len(text.lstrip(b" \t\0"))
        try:
            parse_line(text[skipped:])
        except OpenString as e:
            string = STRING.match(body, start + skipped + e.at, start + LINE_BYTES_MAX)
            if string is None:
                return None
            end = _end_of_line(body, string.end())
        except BadLine:
            return None if b"\n" in body[start:end] else end
        else:
            return end
