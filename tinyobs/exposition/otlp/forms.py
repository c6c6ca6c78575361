"""Forms of data points: where their numbers stand, and which bytes stay the same for a series.

A point is some numbers of eight bytes each, the counts of buckets, and bytes that stay the same from request to request.
Exporters put them in different orders:

    by tags            start time value attributes       start time count sum counts bounds attributes min max
    Java               start time value attributes       start time count sum min max counts bounds attributes
    .NET               value start time attributes       start time attributes count sum min max counts bounds
    Collector          value time start attributes       max min bounds counts sum count time start attributes

A form is read off a point that the general way has taken, whatever the order.  What stands before the attributes has a place
counted from the beginning of the point, what stands behind them one counted from its end: such a place is a negative number.
All bytes of a point of a form are numbers, bytes of the form (tags and lengths), or bytes of the key: so what has the bytes
of the form and a key that was learned has the form as well.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...errors import WireError
from ..protobuf_layout import fields as fields_of

GENERAL: Final = 0
NUMBER: Final = 1
HISTOGRAM: Final = 2
"""Which kind of form the points of a metric may have."""

_START, _TIME, _COUNT, _SUM, _COUNTS, _BOUNDS, _MIN, _MAX = 0x11, 0x19, 0x21, 0x29, 0x32, 0x3A, 0x59, 0x61
_DOUBLE, _INT, _VALUE = 0x21, 0x31, 0x21
_ALL: Final = 0xFF
_VALUE_MASK: Final = 0xEF
"""Under it the tags of a double and an integer are the same."""
_ATTRIBUTES: Final = {NUMBER: 0x3A, HISTOGRAM: 0x4A}
_ONCE: Final = {
    NUMBER: (frozenset((_TIME,)), frozenset((_START, _DOUBLE, _INT))),
    HISTOGRAM: (frozenset((_TIME, _COUNTS)), frozenset((_START, _COUNT, _SUM, _BOUNDS, _MIN, _MAX))),
}
"""Fields that a point must have once, and may have once."""
_WORD: Final = 8
_NANOS_MAX: Final = np.uint64(1 << 63)

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
Field = tuple[int, int, int]


@frozen
class Form:
    """A form.  Places are offsets from the beginning of a point where they are not negative, else from its end.

    numbers: of those that change, by tag: (tag, place of the number).  bucket_count: of a histogram.  counts_at: place of the
    first.  size_min: bytes without attributes.  fixed: (place, mask, byte under the mask) of tags and lengths.  kept: (place, place behind it) of bytes that stay the same; the second is counted from the end where it is 0 or less.
    """

    kind: int
    numbers: tuple[tuple[int, int], ...]
    bucket_count: int
    counts_at: int
    size_min: int
    fixed: tuple[tuple[int, int, int], ...]
    kept: tuple[tuple[int, int], ...]

    @property
    def time(self) -> int:
        """The place of the time."""
        return dict(self.numbers)[_TIME]

    @property
    def start(self) -> int | None:
        """The place of the start, None where there is none."""
        return dict(self.numbers).get(_START)

    @property
    def value(self) -> int | None:
        """The place of the value, or of the count of a histogram, None where that is left out because it is 0."""
        return dict(self.numbers).get(_VALUE)

    @property
    def sum(self) -> int | None:
        """The place of the sum of a histogram, None where there is none."""
        return dict(self.numbers).get(_SUM)

    @property
    def places(self) -> tuple[int, ...]:
        """The places of all numbers."""
        return tuple(at for _, at in self.numbers)

    @property
    def refs_count(self) -> int:
        """How many series a point has."""
        return self.bucket_count + 1 + (self.sum is not None) if self.kind == HISTOGRAM else 1

    def fitting(self, data: U8, starts: I64, ends: I64) -> I64:
        """Return the positions of those points that have the bytes of the form."""
        found = (ends - starts >= self.size_min).nonzero()[0]
        if len(found) < len(starts):
            starts, ends = starts[found], ends[found]
        for place, mask, byte in self.fixed:
            bytes_ = data[at(place, starts, ends)]
            fits = (bytes_ if mask == _ALL else bytes_ & mask) == byte
            if not fits.all():
                stays = fits.nonzero()[0]
                found, starts, ends = found[stays], starts[stays], ends[stays]
        return found


def are_ints(data: U8, value_at: I64) -> NDArray[np.bool_]:
    """Return which values of numbers are integers.  value_at: where they stand."""
    found: NDArray[np.bool_] = data[value_at - 1] == _INT
    return found


def values_of(numbers: U64, are_ints: NDArray[np.bool_]) -> F64:
    """Return the values of numbers that were just read, in their place.  are_ints: which of them are integers."""
    values = numbers.view(np.float64)
    np.copyto(values, numbers.view(np.int64), where=are_ints)
    return values


def words_of(body: bytes | bytearray) -> U64:
    """Return a view of a body whose element `i` is the eight bytes from byte `i` on."""
    return np.ndarray((max(len(body) - 7, 0),), "<u8", body, 0, (1,))


def are_times(nanos: U64) -> NDArray[np.bool_]:
    """Return which times are there and in range."""
    found: NDArray[np.bool_] = (nanos - np.uint64(1)) < _NANOS_MAX - np.uint64(1)
    return found


def at(place: int, starts: I64, ends: I64) -> I64:
    """Return where a place is in each of some points."""
    return starts + place if place >= 0 else ends + place


def form_of(body: bytes, start: int, end: int, kind: int) -> Form | None:
    """Return the form of a point, None where it has none that is known."""
    try:
        fields = fields_of(body, start, end)
    except (WireError, IndexError):
        return None
    attribute = _ATTRIBUTES[kind]
    places = [i for i, (tag, _, _) in enumerate(fields) if tag == attribute]
    if places and places[-1] - places[0] >= len(places):
        return None
    before, behind = fields[: places[0]] if places else fields, fields[places[-1] + 1 :] if places else []
    tags = Counter(tag for tag, _, _ in (*before, *behind))
    needed, allowed = _ONCE[kind]
    if not needed <= set(tags) <= needed | allowed or max(tags.values()) > 1:
        return None
    if kind == NUMBER and (_DOUBLE in tags) + (_INT in tags) != 1:
        return None
    return _Reader(body, kind, fields, start, end).read(before, behind)


class _Reader:
    """Makes the form of one point."""

    def __init__(self, body: bytes, kind: int, fields: list[Field], start: int, end: int) -> None:
        self._body, self._kind, self._start, self._end = body, kind, start, end
        stops = [start, *(stop for _, _, stop in fields)]
        self._begins = {content: begin for begin, (_, content, _) in zip(stops, fields, strict=False)}
        self._numbers: list[tuple[int, int]] = []
        self._fixed: list[tuple[int, int, int]] = []
        self._kept: list[tuple[int, int]] = []
        self._buckets, self._counts_at, self._bounds = 0, 0, 0

    def read(self, before: list[Field], behind: list[Field]) -> Form | None:
        for field in before:
            self._take(field, self._start)
        first = before[-1][2] if before else self._start
        last = self._begins[behind[0][1]] if behind else self._end
        self._keep(first - self._start, last - self._end)
        for field in behind:
            self._take(field, self._end)
        if self._kind == HISTOGRAM and (not self._buckets or self._bounds != self._buckets - 1):
            return None
        return Form(
            self._kind,
            tuple(self._numbers),
            self._buckets,
            self._counts_at,
            self._end - self._start - (last - first),
            tuple(self._fixed),
            tuple(self._kept),
        )

    def _take(self, field: Field, origin: int) -> None:
        tag, content, stop = field
        begin = self._begins[content]
        if tag == _BOUNDS and self._kind == HISTOGRAM:
            self._bounds = (stop - content) // _WORD if (stop - content) % _WORD == 0 else -1
            self._keep(begin - origin, stop - origin)
            return
        if self._kind == NUMBER and tag in (_DOUBLE, _INT):
            self._fixed.append((begin - origin, _VALUE_MASK, _VALUE))
            tag = _VALUE
        else:
            head = [(i - origin, _ALL, self._body[i]) for i in range(begin, content)]
            # How many buckets there are tells most forms of histograms from one another, so that it is looked at first.
            self._fixed = [*head[1:], *self._fixed, head[0]]
        if tag == _COUNTS and self._kind == HISTOGRAM:
            self._buckets = (stop - content) // _WORD if (stop - content) % _WORD == 0 else 0
            self._counts_at = content - origin
        else:
            self._numbers.append((tag, content - origin))

    def _keep(self, first: int, behind: int) -> None:
        """Add bytes that stay the same, as one piece with those before where nothing is between."""
        if self._kept and self._kept[-1][1] == first:
            first = self._kept.pop()[0]
        self._kept.append((first, behind))
