"""What goes into one remote-write request, and remote write 1.0 made from it: the way of senders with many series.

A sender sends the same series again and again, so that what belongs to a series is made once and remembered by its ref:
here its label block with the head of its TimeSeries.  The samples of a request are written as one array of bytes.  Values
of zero are written out, unlike by protobuf libraries, so that a sample of this era has 18 bytes.
Not here: remote write 2.0 (`remote_write_v2.py`), compression, which samples go into which request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import numpy as np
from attrs import Factory, evolve, frozen
from numpy.typing import NDArray

from ..model.exemplars import Exemplar
from ..model.histograms import Histograms, numbers_of
from ..model.labels import Labels
from ..model.registry import encode_block, varint
from .remote_write_encoder import exemplar_message, histogram_message

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

SAMPLE_BYTES: Final = 18
"""Of the field `samples` with a time from 1971 to 2109."""
ERA_MS: Final = (1 << 35, 1 << 42)
"""From when to when times are varints of six bytes."""
_SAMPLE: Final = np.frombuffer(b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6), np.uint8)


@frozen(eq=False)
class SendRows:
    """Samples of a request, of any series in any order, those of a series ascending in time.

    refs: uint32[n].  timestamps_ms, starts_ms (0: not known): int64[n].  values: float64[n], with handles where a
    histogram stands.  exemplars: position of the sample they belong to -> exemplars, ascending in time.
    lonely: exemplars of series that have no sample here.  messages: by position what `histogram_messages` made before.
    """

    refs: NDArray[np.uint32]
    timestamps_ms: I64
    values: F64
    starts_ms: I64 | None = None
    histograms: Histograms | None = None
    exemplars: Mapping[int, Sequence[Exemplar]] = Factory(dict)
    lonely: Sequence[Exemplar] = ()
    messages: Mapping[int, bytes] = Factory(dict)

    def __len__(self) -> int:
        return len(self.refs)

    @property
    def exemplar_count(self) -> int:
        """The number of exemplars."""
        return len(self.lonely) + sum(map(len, self.exemplars.values()))

    @property
    def histogram_count(self) -> int:
        """The number of native histograms."""
        return 0 if self.histograms is None else int((numbers_of(self.values) >= 0).sum())

    def take(self, positions: I64) -> SendRows:
        """Return the samples at these positions, in this order, with their exemplars."""
        new = {old: i for i, old in enumerate(positions.tolist()) if old in self.exemplars} if self.exemplars else {}
        return evolve(
            self,
            refs=self.refs[positions],
            timestamps_ms=self.timestamps_ms[positions],
            values=self.values[positions],
            starts_ms=None if self.starts_ms is None else self.starts_ms[positions],
            exemplars={i: self.exemplars[old] for old, i in new.items()},
            messages={},
        )


class ByRef:
    """Something of each series as bytes, by ref: 8 bytes for each series of the agent beside it."""

    def __init__(self) -> None:
        self._found: list[bytes | None] = []
        self._count = 0

    def __contains__(self, ref: int) -> bool:
        return ref < len(self._found) and self._found[ref] is not None

    def __len__(self) -> int:
        return self._count

    def put(self, ref: int, value: bytes) -> None:
        """Remember the bytes of a series."""
        if ref >= len(self._found):
            self._found += [None] * (ref + 1 - len(self._found))
        self._count += self._found[ref] is None
        self._found[ref] = value

    def take(self, refs: Sequence[int]) -> list[bytes]:
        """Return the bytes of some series; `KeyError` when one is not known."""
        try:
            found = [self._found[ref] for ref in refs]
        except IndexError:
            raise KeyError("a series that is not known") from None
        if None in found:
            raise KeyError("a series that is not known")
        return cast("list[bytes]", found)


class Encoder1:
    """Makes `prometheus.WriteRequest`s; remembers the series that `add` told it of."""

    content_type: Final = "application/x-protobuf"
    version: Final = "0.1.0"

    def __init__(self) -> None:
        self._heads = ByRef()

    def __contains__(self, ref: int) -> bool:
        return ref in self._heads

    def __len__(self) -> int:
        return len(self._heads)

    def add(self, ref: int, labels: Labels, block: bytes = b"") -> None:
        """Remember a series by the labels that it is sent with.  block: their label block, where it is there already."""
        block = block or encode_block(labels)
        self._heads.put(ref, b"\x0a" + varint(len(block) + SAMPLE_BYTES) + block)

    def clear(self) -> None:
        """Forget all series."""
        self._heads = ByRef()

    def encode(self, rows: SendRows) -> bytes:
        """Return the request, not compressed.  `KeyError` for a series that is not remembered."""
        n, times = len(rows), rows.timestamps_ms
        pieces: list[bytes] = [b""] * (2 * n)
        pieces[::2] = self._heads.take(rows.refs.tolist())
        flat = sample_bytes(times, rows.values)
        pieces[1::2] = [flat[i : i + SAMPLE_BYTES] for i in range(0, SAMPLE_BYTES * n, SAMPLE_BYTES)]
        for i in unusual(rows, numbers := numbers_of(rows.values)).tolist():
            body = [_block_of(pieces[2 * i])]
            if numbers[i] >= 0:
                message = message_at(rows, i, int(numbers[i]))
                body.append(b"\x22" + varint(len(message)) + message)
            else:
                body.append(one_sample(int(times[i]), pieces[2 * i + 1]))
            body += map(_exemplar, rows.exemplars.get(i, ()))
            size = sum(map(len, body))
            pieces[2 * i : 2 * i + 2] = (b"\x0a" + varint(size), b"".join(body))
        for e in rows.lonely:
            body = [_block_of(self._heads.take([e.ref])[0]), _exemplar(e)]
            pieces += (b"\x0a" + varint(sum(map(len, body))), *body)
        return b"".join(pieces)


def histogram_messages(rows: SendRows) -> dict[int, bytes]:
    """Return the message of each histogram by its position; some 50 us each, for a thread where there are many."""
    numbers = numbers_of(rows.values)
    return {i: message_at(rows, i, int(numbers[i])) for i in np.flatnonzero(numbers >= 0).tolist()}


def message_at(rows: SendRows, i: int, number: int) -> bytes:
    """Return the message `Histogram` of the histogram with this number, which stands at position `i`."""
    made = rows.messages.get(i)
    if made is None:
        assert rows.histograms is not None
        made = histogram_message(rows.histograms.one(number), int(rows.timestamps_ms[i]))
    return made


def unusual(rows: SendRows, numbers: I64) -> I64:
    """Return the positions of samples that are not written in the quick way: histograms, odd times, exemplars."""
    times = rows.timestamps_ms
    odd = (times < ERA_MS[0]) | (times >= ERA_MS[1]) | (numbers >= 0)
    if rows.exemplars:
        odd[list(rows.exemplars)] = True
    return np.flatnonzero(odd)


def sample_bytes(times: I64, values: F64) -> bytes:
    """Return the fields `samples` of one sample each, 18 bytes apiece; those with a time out of the era make no sense."""
    out = np.empty((len(times), SAMPLE_BYTES), np.uint8)
    out[:] = _SAMPLE
    out[:, 3:11] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    put_times(out[:, 12:18], times)
    return out.tobytes()


def put_times(out: U8, times: I64) -> None:
    """Write times as varints of six bytes each.  out: uint8[n, 6]."""
    for i in range(6):
        out[:, i] = (times >> (7 * i)) & 0x7F | (0x80 if i < 5 else 0)


def one_sample(time: int, quick: bytes) -> bytes:
    """Return the field `samples` of a sample with any time, given what the quick way made of it."""
    content = quick[2:12] + varint(time & 0xFFFF_FFFF_FFFF_FFFF)
    return b"\x12" + varint(len(content)) + content


def _exemplar(e: Exemplar) -> bytes:
    message = exemplar_message(e)
    return b"\x1a" + varint(len(message)) + message


def _block_of(head: bytes) -> bytes:
    """Return the label block in a head: what stands behind the tag and the length."""
    at = 1
    while head[at] & 0x80:
        at += 1
    return head[at + 1 :]
