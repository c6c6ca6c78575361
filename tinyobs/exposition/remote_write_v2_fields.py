"""The usual series of remote write 2.0, read as columns: label references, samples, metadata, nothing else.

    0a <length> <packed varints>                                                references to the labels
    12 10 09 <value, 8 bytes> 10 <timestamp, 6 bytes>                           sample
    12 07 10 <timestamp, 6 bytes>                                               sample whose value is zero
    12 17 09 <value, 8 bytes> 10 <timestamp, 6 bytes> 18 <start, 6 bytes>       the same with a start timestamp
    12 0e 10 <timestamp, 6 bytes> 18 <start, 6 bytes>
    2a <length> [08 <type>] [18 <help>] [20 <unit>]                             metadata

A timestamp of this era takes six bytes.  All series are read in step: their first samples, then those behind of the same
size, and so on.  A series that holds anything else is not usual and takes the general way (`remote_write_v2_general.py`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from ..model.ragged import offsets_of

REFS_TAG: Final = 0x0A
SAMPLE_TAG: Final = 0x12
METADATA_TAG: Final = 0x2A

_TYPE_TAG, _HELP_TAG, _UNIT_TAG = 0x08, 0x18, 0x20
_FULL, _ZERO, _FULL_STARTED, _ZERO_STARTED = 0x10, 0x07, 0x17, 0x0E
"""Sizes of samples in their shapes."""
_IS_ZERO, _IS_STARTED, _IS_USUAL = (
    np.isin(np.arange(256), sizes)
    for sizes in ((_ZERO, _ZERO_STARTED), (_FULL_STARTED, _ZERO_STARTED), (_FULL, _ZERO, _FULL_STARTED, _ZERO_STARTED))
)
"""By the size of a sample."""
_BYTE, _LOW = np.uint64(0xFF), np.uint64(0x7F)
_LOW_BYTES: Final = np.array([(1 << 8 * i) - 1 for i in range(9)], np.uint64)
_HEAD_BYTES: Final = 2
_TWO_BYTES: Final = 0x80
"""Lengths from this on take two bytes."""
_VALUE_TAG: Final = 0x09
_VALUE_BYTES: Final = 9
_TIME_BYTES: Final = 7
"""Bytes of a value and of a timestamp with their tags."""
_TIME_MASK: Final = np.uint64(0x0080_8080_8080_80FF)
_TIME: Final = np.uint64(0x0000_8080_8080_8010)
_START: Final = np.uint64(0x0000_8080_8080_8018)
"""Eight bytes as a number: the tag, five bytes of a varint that goes on and the last one, whatever is behind."""

_SEVEN_BYTES: Final = np.uint64((1 << 56) - 1)
_FIRST: Final = np.zeros(1, np.int64)
_WORD, _SHORT = np.dtype("<u8"), np.dtype("<u2")
_LONGEST: Final = 18
_SAMPLE: Final = np.dtype(
    {
        "names": ["value_tag", "value", "time", "start"],
        "formats": ["u1", "<u8", "<u8", "<u8"],
        "offsets": [2, 3, 11, 18],
        "itemsize": 32,
    }
)
_ROW: Final = np.dtype("V32")
"""The bytes from `_LONGEST` before the end of a sample's timestamp on, which are its first where it has a value."""
_RUNS_MAX: Final = 16
"""Runs of samples with the same time that are read one by one."""
_STEPS_MAX: Final = 100
"""Steps that the samples of a series may take; a series with more changes of shape takes the general way."""
_AT_ONCE_MAX: Final = 1 << 18
"""Samples that are read in one step, which bounds the memory of it."""

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]


@frozen(eq=False)
class Metadata:
    """What series say of their metrics: the number of the type, references to help and unit; all 0 where they do not.

    is_read: false where they say it in another shape than the above.  Series that follow one another and say the same have one
    entry; runs: how many they are.
    """

    types: U64
    helps: U64
    units: U64
    is_read: Bools
    runs: I64


@frozen(eq=False)
class Fields:
    """What a list of series holds.

    refs: the packed references of each; empty where they could not be found.  is_usual: which series are of the shape above;
    all others have no samples here.  of_series: to which series each sample belongs, None where each has one; times_ms, values
    and starts_ms: those of all samples, one series after the other, starts_ms None where there is none.  metadata: content of the
    usual ones, which may be empty.
    """

    refs: Blocks
    is_usual: Bools
    of_series: I64 | None
    times_ms: I64
    values: NDArray[np.float64]
    starts_ms: I64 | None
    metadata: Blocks


def read_fields(series: Blocks) -> Fields:
    """Read the content of series; metadata is left for `read_metadata`."""
    data, ends = series.data, series.starts + series.lengths
    refs = _read_refs(series, ends)
    samples = _Samples(data)
    at, is_usual = samples.read(refs.starts + refs.lengths, ends)
    left = ends - at
    lengths = left - _HEAD_BYTES
    there = data.take(at) == METADATA_TAG
    there &= data[1:].take(at).astype(np.int64) == lengths
    if np.count_nonzero(there) < len(there) or lengths.max(initial=0) >= _TWO_BYTES:
        there &= is_usual & (lengths < _TWO_BYTES)
        is_usual &= there | (left == 0)
        lengths = np.where(there, lengths, 0)
    return Fields(refs, is_usual, *samples.columns(is_usual), Blocks(data, at + _HEAD_BYTES, lengths))


def read_metadata(content: Blocks) -> Metadata:
    """Read metadata."""
    at, lengths = content.starts, content.lengths
    words = np.ndarray((len(content.data) - 7,), _WORD, content.data, 0, (1,))
    first = words[at] & _LOW_BYTES.take(lengths, mode="clip")
    # Series of one metric mostly come one after the other, and say the same.
    differs = (first[1:] != first[:-1]) | (lengths[1:] != lengths[:-1])
    begins = np.concatenate((_FIRST[: len(at)], differs.nonzero()[0] + 1))
    runs = np.concatenate((begins[1:], [len(at)])) - begins
    at, left, first = at[begins], lengths[begins], first[begins]
    typed = (first & _BYTE) == _TYPE_TAG
    types = (first >> np.uint64(8) & _BYTE) * typed
    left = left - _HEAD_BYTES * typed
    sound = (types < 0x80) & (left <= 8) & (left >= 0)
    rest = words[at + _HEAD_BYTES * typed] & _LOW_BYTES.take(left, mode="clip")
    found = []
    for tag in (_HELP_TAG, _UNIT_TAG):
        number, rest, left, read = _optional(rest, left, tag)
        found.append(number)
        sound &= read
    sound &= left == 0
    types, helps, units = (x * sound for x in (types, *found))
    return Metadata(types, helps, units, sound, runs)


def _optional(rest: U64, left: I64, tag: int) -> tuple[U64, U64, I64, Bools | bool]:
    """Return (the number in a field of up to four bytes or 0, what is behind it, how many bytes, whether it is read)."""
    there = (rest & _BYTE) == tag
    if not there.any():
        return np.zeros(len(rest), np.uint64), rest, left, True
    one, two, three = (rest >> np.uint64(8 * i) & _BYTE for i in (1, 2, 3))
    long = there & (one >= 0x80)
    size: I64 | int = 2
    number, fits = one, there
    if long.any():
        longer = long & (two >= 0x80)
        number = np.where(long, (one & _LOW) | (two & _LOW) << np.uint64(7), one)
        number = np.where(longer, number | three << np.uint64(14), number)
        size = 2 + long.astype(np.int64) + longer
        fits = ~(longer & (three >= 0x80))
    size = np.where(there, size, 0)
    behind = rest >> (8 * size).astype(np.uint64)
    return np.where(there, number, np.uint64(0)), behind, left - size, (left >= size) & (fits | ~there)


def _read_refs(series: Blocks, ends: I64) -> Blocks:
    """Return the packed references of each series, none at its end where they do not come first."""
    data, starts = series.data, series.starts + _HEAD_BYTES
    found = data.take(series.starts) == REFS_TAG
    length = data[1:].take(series.starts).astype(np.int64)
    if length.max(initial=0) >= _TWO_BYTES:
        long = length >= _TWO_BYTES
        two = data.take(starts).astype(np.int64)
        length = np.where(long, length & 0x7F | two << 7, length)
        starts += long
        found &= ~(long & (two >= _TWO_BYTES))
    found &= starts + length <= ends
    if np.count_nonzero(found) < len(found):
        length = np.where(found, length, 0)
        starts = np.where(found, starts, ends)
    return Blocks(data, starts, length)


class _Samples:
    """Reads the samples of many series in step."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self._samples = np.ndarray((len(data) - _ROW.itemsize + 1,), _ROW, data, 0, (1,))
        self._steps: list[tuple[I64, I64, U64, I64 | None]] = []
        """Of each step: which series, times, values as bits, starts; those of a series in their order."""

    def read(self, at: I64, ends: I64) -> tuple[I64, Bools]:
        """Return (where the samples of each series end, whether it has some and all are of the usual shapes)."""
        is_usual = np.ones(len(at), np.bool_)
        rows, here, limits = np.arange(len(at)), at, ends
        for step in range(_STEPS_MAX):
            behind, sound = self._run(rows, here, limits) if step else self._step(rows, here, limits)
            if np.count_nonzero(sound) < len(sound):
                is_usual[rows[~sound]] = False
                rows, behind, limits = rows[sound], behind[sound], limits[sound]
            if len(rows) == len(at):
                at = behind
            else:
                at[rows] = behind
            more = self._data.take(behind) == SAMPLE_TAG
            if not np.count_nonzero(more):
                return at, is_usual
            more &= behind < limits
            rows, here, limits = rows[more], behind[more], limits[more]
            if not len(rows):
                return at, is_usual
        is_usual[rows] = False
        return at, is_usual

    def columns(self, is_usual: Bools) -> tuple[I64 | None, I64, NDArray[np.float64], I64 | None]:
        """Return (which series each belongs to, times, values, starts) of the samples of usual series, in their order.

        The first is None where each series is usual and has one.
        """
        rows, times, values, starts = self._steps[0]
        if len(self._steps) == 1 and len(rows) == np.count_nonzero(is_usual) == len(is_usual):
            return None, times, values.view(np.float64), starts
        if len(self._steps) > 1:
            rows, times, values = (np.concatenate([s[i] for s in self._steps]) for i in range(3))
            starts = np.concatenate([np.zeros(len(s[0]), np.int64) if s[3] is None else s[3] for s in self._steps])
        order = np.flatnonzero(is_usual[rows])
        order = order[np.argsort(rows[order], kind="stable")]
        starts = None if starts is None or not starts[order].any() else starts[order]
        return rows[order], times[order], values[order].view(np.float64), starts

    def _run(self, rows: I64, at: I64, ends: I64) -> tuple[I64, Bools]:
        """Read for each series all samples that are of the same size as its next one; return what `_step` does."""
        shorts = np.ndarray((len(self._data) - _HEAD_BYTES + 1,), _SHORT, self._data, 0, (1,))
        heads, sizes = shorts[at], self._data.take(at + 1).astype(np.int64) + _HEAD_BYTES
        room = np.clip((ends - at) // sizes, 1, max(_AT_ONCE_MAX // len(rows), 1))
        first = offsets_of(room)[:-1]
        nth = np.arange(int(room.sum())) - np.repeat(first, room)
        places = np.repeat(at, room) + nth * np.repeat(sizes, room)
        other = (shorts[np.minimum(places, len(shorts) - 1)] != np.repeat(heads, room)) & (nth > 0)
        runs = np.minimum.reduceat(np.where(other, nth, _AT_ONCE_MAX), first)
        runs = np.minimum(runs, room)
        inside = nth < np.repeat(runs, room)
        which = np.repeat(np.arange(len(rows)), room)[inside]
        _, each = self._step(rows[which], places[inside], ends[which])
        sound = np.ones(len(rows), np.bool_)
        sound[which[~each]] = False
        return at + runs * sizes, sound

    def _step(self, rows: I64, at: I64, ends: I64) -> tuple[I64, Bools]:
        """Read one sample of each series; return (where they end, which are of a usual shape)."""
        data = self._data
        sizes = data[1:].take(at)
        sound = data.take(at) == SAMPLE_TAG
        is_zero: Bools | None = None
        started: Bools | None = None
        behind_time = at + (_HEAD_BYTES + _VALUE_BYTES + _TIME_BYTES)
        behind = behind_time
        if np.count_nonzero(sizes == _FULL) < len(sizes):
            is_zero, started = _IS_ZERO.take(sizes), _IS_STARTED.take(sizes)
            behind_time = behind_time - _VALUE_BYTES * is_zero
            behind = behind_time + _TIME_BYTES * started
            sound &= _IS_USUAL.take(sizes)
            sound &= behind_time >= _LONGEST
        sample = self._samples[behind_time - _LONGEST].view(_SAMPLE)
        values = np.ascontiguousarray(sample["value"])
        tagged = sample["value_tag"] == _VALUE_TAG
        if is_zero is not None:
            tagged |= is_zero
            values[is_zero] = 0
        sound &= tagged
        sound &= behind <= ends
        times, read = _times(np.ascontiguousarray(sample["time"]), _TIME)
        sound &= read
        starts: I64 | None = None
        if started is not None and started.any():
            starts, read = _times(np.ascontiguousarray(sample["start"]), _START)
            starts[~started] = 0
            sound &= read | ~started
        if np.count_nonzero(sound) < len(sound):
            rows, times, values = rows[sound], times[sound], values[sound]
            starts = None if starts is None else starts[sound]
        self._steps.append((rows, times, values, starts))
        return behind, sound


def _times(words: U64, form: np.uint64) -> tuple[I64, Bools | np.bool_]:
    """Return (numbers of seven bits in each of the bytes 1 to 6, which are tagged and six bytes long).

    form: `_TIME` or `_START`.  Samples of one target have the same time, and come one after the other.
    """
    words &= _SEVEN_BYTES
    changes = (words[1:] != words[:-1]).nonzero()[0]
    if len(changes) < _RUNS_MAX and len(words):
        begins = [0, *(changes + 1).tolist()] if len(changes) else [0]
        runs = [_time(int(words[i]), int(form)) for i in begins]
        if None not in runs:
            if len(runs) == 1:
                return np.full(len(words), runs[0], np.int64), np.True_
            return np.array(runs, np.int64).repeat(np.diff([*begins, len(words)])), np.True_
    read = (words & _TIME_MASK) == form
    words >>= np.uint64(8)
    total = words & _LOW
    for i in range(1, 6):
        total |= words >> np.uint64(i) & np.uint64(0x7F << 7 * i)
    return total.view(np.int64), read


@lru_cache(256)
def _time(word: int, form: int) -> int | None:
    """Return the number in one word, None where it has another form; see `_times`."""
    if word & int(_TIME_MASK) != form:
        return None
    return sum((word >> 8 * i + 8 & 0x7F) << 7 * i for i in range(6))
