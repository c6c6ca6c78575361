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
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from ..model.ragged import offsets_of

REFS_TAG: Final = 0x0A
SAMPLE_TAG: Final = 0x12
METADATA_TAG: Final = 0x2A

_TYPE_TAG, _HELP_TAG, _UNIT_TAG = 0x08, 0x18, 0x20
_FULL, _ZERO, _FULL_STARTED, _ZERO_STARTED = 0x1012, 0x0712, 0x1712, 0x0E12
_BYTE, _LOW = np.uint64(0xFF), np.uint64(0x7F)
_LOW_BYTES: Final = np.array([(1 << 8 * i) - 1 for i in range(9)], np.uint64)
_HEAD_BYTES: Final = 2
_VALUE_TAG: Final = 0x09
_VALUE_BYTES: Final = 9
_TIME_BYTES: Final = 7
"""Bytes of a value and of a timestamp with their tags."""
_TIME_MASK: Final = np.uint64(0x0080_8080_8080_80FF)
_TIME: Final = np.uint64(0x0000_8080_8080_8010)
_START: Final = np.uint64(0x0000_8080_8080_8018)
"""Eight bytes as a number: the tag, five bytes of a varint that goes on and the last one, whatever is behind."""

_SIX_BYTES: Final = np.uint64((1 << 48) - 1)
_SAMPLE: Final = np.dtype(
    {
        "names": ["head", "value_tag", "value", "time", "time_behind_value", "start", "start_behind_value"],
        "formats": ["<u2", "u1", "<u8", "<u8", "<u8", "<u8", "<u8"],
        "offsets": [0, 2, 3, 2, 11, 9, 18],
        "itemsize": 32,
    }
)
"""The bytes from the tag of a sample on, in all its shapes."""
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

    is_read: false where they say it in another shape than the above.
    """

    types: U64
    helps: U64
    units: U64
    is_read: Bools


@frozen(eq=False)
class Fields:
    """What a list of series holds.

    refs: the packed references of each; empty where they could not be found.  is_usual: which series are of the shape above;
    all others have no samples here.  counts: how many samples each has; times_ms, values and starts_ms: those of all, one
    series after the other, starts_ms None where there is none.  metadata: content of the usual ones, which may be empty.
    """

    refs: Blocks
    is_usual: Bools
    counts: I64
    times_ms: I64
    values: NDArray[np.float64]
    starts_ms: I64 | None
    metadata: Blocks

    @property
    def is_one_each(self) -> bool:
        """Whether every series is usual and has one sample."""
        return len(self.times_ms) == len(self.counts) and bool(self.counts.all())


def read_fields(series: Blocks) -> Fields:
    """Read the content of series; metadata is left for `read_metadata`."""
    data, ends = series.data, series.starts + series.lengths
    refs, found = _read_refs(series, ends)
    samples = _Samples(data)
    at, is_usual = samples.read(refs.starts + refs.lengths, ends, found)
    left = ends - at
    lengths = left
    if left.any():
        there = data.take(at, mode="clip") == METADATA_TAG
        there &= data.take(at + 1, mode="clip").astype(np.int64) == left - _HEAD_BYTES
        is_usual &= there | (left == 0)
        lengths = np.where(there & is_usual, left - _HEAD_BYTES, 0)
    counts, times, values, starts = samples.columns(is_usual)
    return Fields(refs, is_usual, counts, times, values, starts, Blocks(data, at + _HEAD_BYTES, lengths))


def read_metadata(content: Blocks) -> Metadata:
    """Read metadata."""
    at, lengths = content.starts, content.lengths
    first = _anywhere(content.data, "<u8")[at] & _LOW_BYTES.take(lengths, mode="clip")
    # Series of one metric mostly come one after the other, and say the same.
    same = (first[1:] == first[:-1]) & (lengths[1:] == lengths[:-1]) & (lengths[1:] <= 8)
    begins = np.concatenate([np.zeros(min(len(at), 1), np.int64), np.flatnonzero(~same) + 1])
    runs = np.diff(begins, append=len(at))
    at, left, first = at[begins], lengths[begins], first[begins]
    typed = (first & _BYTE) == _TYPE_TAG
    types = np.where(typed, first >> np.uint64(8) & _BYTE, np.uint64(0))
    left = left - _HEAD_BYTES * typed
    sound = (types < 0x80) & (left <= 8) & (left >= 0)
    rest = _anywhere(content.data, "<u8")[at + _HEAD_BYTES * typed] & _LOW_BYTES.take(left, mode="clip")
    found = []
    for tag in (_HELP_TAG, _UNIT_TAG):
        number, rest, left, read = _optional(rest, left, tag)
        found.append(number)
        sound &= read
    sound &= left == 0
    types, helps, units = (np.repeat(np.where(sound, x, np.uint64(0)), runs) for x in (types, *found))
    return Metadata(types, helps, units, np.repeat(sound, runs))


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


def _read_refs(series: Blocks, ends: I64) -> tuple[Blocks, Bools]:
    """Return (packed references, whether they come first in the series)."""
    data, starts = series.data, series.starts + _HEAD_BYTES
    found = data.take(series.starts, mode="clip") == REFS_TAG
    length = data.take(series.starts + 1, mode="clip").astype(np.int64)
    if bool((long := length >= 0x80).any()):
        two = data.take(starts, mode="clip").astype(np.int64)
        length = np.where(long, length & 0x7F | two << 7, length)
        starts += long
        found &= ~(long & (two >= 0x80))
    found &= starts + length <= ends
    if not found.all():
        length = np.where(found, length, 0)
        starts = np.where(found, starts, ends)
    return Blocks(data, starts, length), found


class _Samples:
    """Reads the samples of many series in step."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self._shorts, self._samples = _anywhere(data, "<u2"), _anywhere(data, f"V{_SAMPLE.itemsize}")
        self._steps: list[tuple[I64, I64, U64, I64 | None]] = []
        """Of each step: which series, times, values as bits, starts; those of a series in their order."""

    def read(self, at: I64, ends: I64, found: Bools) -> tuple[I64, Bools]:
        """Return (where the samples of each series end, whether it has some and all are of the usual shapes)."""
        is_usual = found.copy()
        rows = found.nonzero()[0]
        all_of_them = len(rows) == len(at)
        here, limits = (at, ends) if all_of_them else (at[rows], ends[rows])
        at = at.copy()
        for step in range(_STEPS_MAX):
            if not len(rows):
                return at, is_usual
            behind, sound = self._run(rows, here, limits) if step else self._step(rows, here, limits)
            if not sound.all():
                is_usual[rows[~sound]] = all_of_them = False
                rows, behind, limits = rows[sound], behind[sound], limits[sound]
            if all_of_them:
                at = behind
            else:
                at[rows] = behind
            more = ((self._data.take(behind, mode="clip") == SAMPLE_TAG) & (behind < limits)).nonzero()[0]
            all_of_them &= len(more) == len(rows)
            rows, here, limits = rows[more], behind[more], limits[more]
        is_usual[rows] = False
        return at, is_usual

    def columns(self, is_usual: Bools) -> tuple[I64, I64, NDArray[np.float64], I64 | None]:
        """Return (samples of each series, times, values, starts) of the usual series, in their order."""
        if len(self._steps) == 1 and is_usual.all():
            _, times, values, starts = self._steps[0]
            return np.ones(len(is_usual), np.int64), times, values.view(np.float64), starts
        none = np.zeros(0, np.int64)
        rows, times, values, starts = none, none, none.view(np.uint64), none
        if self._steps:
            rows, times, values = (np.concatenate([s[i] for s in self._steps]) for i in range(3))
            starts = np.concatenate([np.zeros(len(s[0]), np.int64) if s[3] is None else s[3] for s in self._steps])
        order = np.flatnonzero(is_usual[rows])
        order = order[np.argsort(rows[order], kind="stable")]
        counts = np.bincount(rows[order], minlength=len(is_usual))
        starts = starts[order]
        return counts, times[order], values[order].view(np.float64), starts if starts.any() else None

    def _run(self, rows: I64, at: I64, ends: I64) -> tuple[I64, Bools]:
        """Read for each series all samples that are of the same size as its next one; return what `_step` does."""
        heads, sizes = self._shorts[at], self._data.take(at + 1).astype(np.int64) + _HEAD_BYTES
        room = np.clip((ends - at) // sizes, 1, max(_AT_ONCE_MAX // len(rows), 1))
        first = offsets_of(room)[:-1]
        nth = np.arange(int(room.sum())) - np.repeat(first, room)
        places = np.repeat(at, room) + nth * np.repeat(sizes, room)
        other = (self._shorts[np.minimum(places, len(self._data) - _HEAD_BYTES)] != np.repeat(heads, room)) & (nth > 0)
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
        sample = self._samples[at].view(_SAMPLE)
        word, values = np.ascontiguousarray(sample["time_behind_value"]), np.ascontiguousarray(sample["value"])
        sizes: I64 | int = _HEAD_BYTES + _VALUE_BYTES + _TIME_BYTES
        starts: I64 | None = None
        is_full = sample["head"] == _FULL
        sound = sample["value_tag"] == _VALUE_TAG
        sound &= is_full
        if not sound.all():
            head = np.ascontiguousarray(sample["head"])
            is_zero = head == _ZERO
            if not (is_full | is_zero).all():
                started = (head == _FULL_STARTED) | (head == _ZERO_STARTED)
                if started.any():
                    is_zero |= head == _ZERO_STARTED
                    second = np.where(is_zero, sample["start"], sample["start_behind_value"])
                    started &= (second & _TIME_MASK) == _START
                    starts = np.where(started, _times(second), 0)
                    sound |= started & (sample["value_tag"] == _VALUE_TAG)
                    is_zero &= (head == _ZERO) | started
                    sizes = sizes + _TIME_BYTES * started
            if is_zero.any():
                sound |= is_zero
                word = np.where(is_zero, sample["time"], word)
                values[is_zero] = 0
                sizes = sizes - _VALUE_BYTES * is_zero
        sound &= (word & _TIME_MASK) == _TIME
        behind = at + sizes
        sound &= behind <= ends
        times = _times(word)
        if not sound.all():
            rows, times, values = rows[sound], times[sound], values[sound]
            starts = None if starts is None else starts[sound]
        self._steps.append((rows, times, values, starts))
        return behind, sound


def _times(words: U64) -> I64:
    """Return the numbers in the bytes 1 to 6, seven bits in each; most samples of a request have the same time."""
    words = words >> np.uint64(8) & _SIX_BYTES
    if len(words) and bool((words == words[0]).all()):
        return np.full(len(words), _number(int(words[0])), np.int64)
    total = words & np.uint64(0x7F)
    for i in range(1, 6):
        total |= words >> np.uint64(i) & np.uint64(0x7F << 7 * i)
    return total.view(np.int64)


@lru_cache(64)
def _number(six_bytes: int) -> int:
    return sum((six_bytes >> 8 * i & 0x7F) << 7 * i for i in range(6))


def _anywhere(data: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    """Return a view of numbers that begin at any byte."""
    size = np.dtype(kind).itemsize
    return np.ndarray((len(data) - size + 1,), kind, data, 0, (1,))
