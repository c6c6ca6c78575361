"""Lines of the Influx line protocol, many at a time: where keys, names, values and timestamps stand.

A *simple* line is what nearly all lines are: a key, a space, `name=value` with commas between, and perhaps a space and a
timestamp.  Its spaces, commas and equals signs are found for a whole piece of a body at once; those behind a backslash are
ordinary characters.  No byte of a key or name is looked at here, and none of it becomes a Python object.  All that is not
simple, or not surely simple, is *odd* and left to `influx_line.py`, which also decides what is an error.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from ..model.ragged import offsets_of
from .influx_line import BOOLEANS, TIME_MAX, BadLine, parse_time, parse_value
from .influx_strings import QUOTE
from .number_columns import DIGITS_MAX, are_alike, read_floats, read_integers

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LF, _CR, _SPACE, _COMMA, _EQUALS, _BACKSLASH, _HASH, _MINUS = b"\n\r ,=\\#-"
_INTEGER, _UNSIGNED = b"iu"
_SAFE_DIGITS: Final = 18
"""Digits of an integer that has 64 bits, whatever its sign."""

_FIRST_BYTES: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
_BY_WORD: Final = sorted((int.from_bytes(text, "little"), value) for text, value in BOOLEANS.items())
_WORDS: Final = np.array([word for word, _ in _BY_WORD], np.uint64)
_WORD_VALUES: Final = np.array([value for _, value in _BY_WORD])
"""The words for yes and no as numbers, in order, and what they mean."""


@frozen(eq=False)
class Lines:
    """Lines in a buffer, all simple.

    numbers: of the lines, from 0.  starts, key_ends, counts: where they begin, where their keys end, and how many fields they
    have.  name_starts, name_ends, value_ends: of all fields, one line after the other.  time_starts, time_ends: without
    a timestamp these are the same.
    """

    data: U8
    numbers: I64
    starts: I64
    key_ends: I64
    counts: I64
    name_starts: I64
    name_ends: I64
    value_ends: I64
    time_starts: I64
    time_ends: I64

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, chosen: Bools) -> Lines:
        """Return some of the lines."""
        fields = np.repeat(chosen, self.counts)
        return Lines(
            self.data,
            *(c[chosen] for c in (self.numbers, self.starts, self.key_ends, self.counts)),
            *(c[fields] for c in (self.name_starts, self.name_ends, self.value_ends)),
            *(c[chosen] for c in (self.time_starts, self.time_ends)),
        )

    def without(self, fields: Bools) -> Lines:
        """Return the lines without some of their fields; lines may have none left."""
        left = ~fields
        counts = np.diff(offsets_of(left.astype(np.int64))[offsets_of(self.counts)])
        columns = (c[left] for c in (self.name_starts, self.name_ends, self.value_ends))
        names, name_ends, value_ends = columns
        return evolve(self, counts=counts, name_starts=names, name_ends=name_ends, value_ends=value_ends)

    def strings(self) -> Bools:
        """Return which fields are hidden strings, see `influx_strings.py`."""
        found: Bools = self.data[self.name_ends + 1] == QUOTE
        return found

    def heads(self) -> Blocks:
        """Return of each line all up to the end of its first name."""
        return Blocks(self.data, self.starts, self.name_ends[offsets_of(self.counts)[:-1]] - self.starts)

    def keys(self) -> Blocks:
        """Return the keys."""
        return Blocks(self.data, self.starts, self.key_ends - self.starts)

    def names(self) -> Blocks:
        """Return the names of all fields."""
        return Blocks(self.data, self.name_starts, self.name_ends - self.name_starts)


@frozen(eq=False)
class Scanned:
    """A piece of a body.  odd: bool for each of its lines; those that are empty or comments are neither odd nor simple.

    starts, ends: of all its lines.
    """

    simple: Lines
    odd: Bools
    starts: I64
    ends: I64


def scan(data: U8, begin: int, end: int, first_line: int) -> Scanned:
    """Find the lines of `data[begin:end]`, which ends with a line break; first_line: the number of the first one."""
    marks, kinds, backslashes = _marks(data, begin, end)
    line_marks = np.flatnonzero(kinds == _LF)
    line_ends = marks[line_marks]
    starts = np.empty_like(line_ends)
    starts[:1] = begin
    np.add(line_ends[:-1], 1, out=starts[1:])
    returns = data[line_ends - 1] == _CR
    ends = np.maximum(line_ends - returns, starts) if returns.any() else line_ends
    initials = data[starts]
    odd = (ends > starts) & (initials != _HASH)
    space_marks = np.flatnonzero(kinds == _SPACE)
    spaces_before = np.searchsorted(space_marks, line_marks)
    spaces = spaces_before.copy()
    spaces[1:] -= spaces_before[:-1]
    likely = odd & ((spaces == 1) | (spaces == 2)) & (initials > _SPACE)  # before a key some bytes mean nothing
    if len(backslashes):
        doubled = backslashes[1:][np.diff(backslashes) == 1]
        likely[np.searchsorted(line_ends, doubled)] = False
    chosen = np.flatnonzero(likely)
    first = space_marks[spaces_before[chosen] - spaces[chosen]]
    timed = spaces[chosen] == 2
    last = line_marks[chosen]
    last[timed] = space_marks[spaces_before[chosen[timed]] - 1]
    good = ((last - first) & 1 == 0) & (last > first + 1) & (marks[first] > starts[chosen])
    if not good.all():
        chosen, first, last, timed = chosen[good], first[good], last[good], timed[good]
    time_ends = ends[chosen]
    time_starts = np.where(timed, np.minimum(marks[last] + 1, time_ends), time_ends)
    counts = (last - first) >> 1
    offsets = offsets_of(counts)
    equals = 2 * np.arange(int(offsets[-1]))
    equals += np.repeat(first + 1 - 2 * offsets[:-1], counts)
    columns = (marks[equals - 1] + 1, marks[equals], marks[equals + 1])
    columns[2][offsets[1:][~timed] - 1] = time_ends[~timed]  # before a carriage return
    lines = Lines(data, chosen + first_line, starts[chosen], marks[first], counts, *columns, time_starts, time_ends)
    # Between the spaces commas and equals signs stand in turn, and there is a name before each of the latter.
    before = kinds[equals - 1]
    before[offsets[:-1]] = _COMMA
    wrong = (kinds[equals] != _EQUALS) | (before != _COMMA) | (columns[1] == columns[0])
    if wrong.any():
        bad = np.zeros(len(chosen), np.bool_)
        bad[np.searchsorted(offsets, np.flatnonzero(wrong), side="right") - 1] = True
        lines, chosen = lines.take(~bad), chosen[~bad]
    odd[chosen] = False
    return Scanned(lines, odd, starts, ends)


def _marks(data: U8, begin: int, end: int) -> tuple[I64, U8, I64]:
    """Return (positions of what parts a piece, which bytes are there, positions of backslashes)."""
    piece = data[begin:end]
    marked = piece == _LF
    for byte in (_SPACE, _COMMA, _EQUALS):
        marked |= piece == byte
    marks = np.flatnonzero(marked)
    marks += begin
    kinds = data[marks]
    backslashes = np.flatnonzero(piece == _BACKSLASH) + begin
    if len(backslashes):
        kept = (data[marks - 1] != _BACKSLASH) | (kinds == _LF)
        marks, kinds = marks[kept], kinds[kept]
    return marks, kinds, backslashes


def read_values(lines: Lines) -> tuple[F64, Bools]:
    """Return (the values of all fields, which lines have only good ones); a hidden string is good and has no value."""
    data, starts, ends = lines.data, lines.name_ends + 1, lines.value_ends
    final = data[ends - 1]
    integer = (final == _INTEGER) | (final == _UNSIGNED)
    if not integer.any():
        values, good = read_floats(data, starts, ends)
    elif integer.all():
        values, good = _integers(data, starts, ends, final)
    else:
        values, good = np.empty(len(starts)), np.empty(len(starts), np.bool_)
        at, others = np.flatnonzero(integer), np.flatnonzero(~integer)
        values[at], good[at] = _integers(data, starts[at], ends[at], final[at])
        values[others], good[others] = read_floats(data, starts[others], ends[others])
    good |= data[starts] == QUOTE
    left = np.flatnonzero(~good)
    if len(left):
        values[left], good[left] = _booleans(data, starts[left], ends[left])
    for i in left[~good[left]].tolist():
        try:
            values[i] = parse_value(data[starts[i] : ends[i]].tobytes())
        except BadLine:
            continue
        good[i] = True
    if good.all():
        return values, np.ones(len(lines), np.bool_)
    return values, np.logical_and.reduceat(good, offsets_of(lines.counts)[:-1])


def _booleans(data: U8, starts: I64, ends: I64) -> tuple[F64, Bools]:
    """Return (values, which of them could be read) of words for yes and no."""
    lengths = ends - starts
    words = np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))[starts] & _FIRST_BYTES[np.minimum(lengths, 8)]
    places = np.minimum(np.searchsorted(_WORDS, words), len(_WORDS) - 1)
    return _WORD_VALUES[places], (_WORDS[places] == words) & (lengths < 8)


def _integers(data: U8, starts: I64, ends: I64, final: U8) -> tuple[F64, Bools]:
    """Return (values, which of them could be read) of integers with their letter."""
    negative = (data[starts] == _MINUS) & (final == _INTEGER)
    digits = ends - 1 - starts - negative
    numbers, good = read_integers(data, ends - 1, digits)
    values = numbers.astype(np.float64)
    np.subtract(0.0, values, out=values, where=negative)  # and not `negative`, which would give zero a sign
    return values, good & (digits <= _SAFE_DIGITS)


def read_times(lines: Lines) -> tuple[I64, Bools]:
    """Return (timestamps as they stand, 0 where there is none; which of them are good); one where all are the same."""
    starts, ends = lines.time_starts, lines.time_ends
    if are_alike(lines.data, ends, ends - starts):  # as what was measured at one time has it
        try:
            one = parse_time(lines.data[starts[0] : ends[0]].tobytes())
        except BadLine:
            return np.zeros(1, np.int64), np.zeros(1, np.bool_)
        return np.array([one or 0]), np.ones(1, np.bool_)
    some = ends > starts
    negative = some & (lines.data[starts] == _MINUS)
    numbers, good = read_integers(lines.data, ends, ends - starts - negative)
    times = np.where(some, numbers, np.uint64(0))
    good = (good & (ends - starts - negative <= DIGITS_MAX) & (numbers <= np.uint64(TIME_MAX))) | ~some
    signed = np.where(good, times, np.uint64(0)).astype(np.int64)
    np.negative(signed, out=signed, where=negative)
    return signed, good
