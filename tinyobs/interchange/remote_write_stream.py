"""The remote-write stream: remote-write 1.0 requests one after the other in a file.

    length (4 bytes, little-endian) | snappy block of a prometheus.WriteRequest | length | ...

The requests are those that would be sent over HTTP, so that a stream can be sent on without being understood.  Samples
are exact to the bit; native histograms are carried; exemplars are not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

import cramjam
import numpy as np
from attrs import define, field, frozen
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import LimitExceeded, WireError
from ..exposition.remote_write import WriteLimits, decode_message, decompress
from ..exposition.remote_write_encoder import encode
from ..exposition.remote_write_schema import SplitRequest, TimeSeries
from ..model.batch import Batch
from ..model.columns import SeriesColumns
from ..model.histograms import Histogram, is_handle, joined, numbers_of, without_handles
from ..model.registry import SeriesRegistry, encode_block, varint
from .chunks import START, Chunk, Position, Refusals
from .label_sets import labels_of
from .streams import read_some, skip_to

REQUEST_BYTES_MAX: Final = 64 << 20
"""Longest request in a stream, compressed or not."""
REQUEST_SAMPLES: Final = 50_000
"""Samples that are written into a request."""
CHUNK_SAMPLES: Final = 200_000
"""Samples that are read before they are handed on."""
KNOWN_MAX: Final = 1_000_000
"""Label blocks that are remembered; beyond it all are forgotten."""

_LENGTH: Final = struct.Struct("<I")
_SAMPLE: Final = np.dtype([("head", "u1", 3), ("value", "<f8"), ("tag", "u1"), ("time", "u1", 6)])
"""A sample whose time takes six bytes as varint: 1971 to 2109."""
_HEAD: Final = (0x12, 0x10, 0x09)
_TIME_TAG: Final = 0x10
_SIX_BYTES: Final = (1 << 35, 1 << 42)
_SHIFTS: Final = np.arange(6, dtype=np.int64) * 7
_MORE: Final = np.array([0x80] * 5 + [0], np.uint8)


@define
class RemoteWriteWriter:
    """Writes a remote-write stream."""

    out: BinaryIO

    def write(self, columns: SeriesColumns) -> None:
        """Append series, as one request or more."""
        pending: list[bytes] = []
        held = 0
        bounds = columns.offsets.tolist()
        for i, labels in enumerate(columns.labels):
            block = encode_block(labels)
            for a in range(bounds[i], bounds[i + 1], REQUEST_SAMPLES):
                b = min(a + REQUEST_SAMPLES, bounds[i + 1])
                pending.append(_series(block, columns, i, a, b))
                held += b - a
                if held >= REQUEST_SAMPLES:
                    self._request(pending)
                    pending, held = [], 0
        if pending:
            self._request(pending)

    def _request(self, series: Sequence[bytes]) -> None:
        body = bytes(cramjam.snappy.compress_raw(b"".join(series)))
        self.out.write(_LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        """Finish; the stream stays open."""


def _series(block: bytes, columns: SeriesColumns, i: int, a: int, b: int) -> bytes:
    """Return the TimeSeries field with the samples `a` to `b` of series `i`."""
    times, values = columns.timestamps_ms[a:b], columns.values[a:b]
    usual = columns.histograms is None or not is_handle(values).any()
    if usual and int(times.min()) >= _SIX_BYTES[0] and int(times.max()) < _SIX_BYTES[1]:
        rows = np.empty(len(times), _SAMPLE)
        rows["head"], rows["value"], rows["tag"] = _HEAD, values, _TIME_TAG
        rows["time"] = (times[:, None] >> _SHIFTS & 0x7F).astype(np.uint8) | _MORE
        content = block + rows.tobytes()
        return b"\x0a" + varint(len(content)) + content
    mixed: list[float | Histogram] = values.tolist()
    if columns.histograms is not None:
        numbers = numbers_of(values).tolist()
        mixed = [columns.histograms.one(n) if n >= 0 else v for n, v in zip(numbers, mixed, strict=True)]
    return bytes(cramjam.snappy.decompress_raw(encode([(columns.labels[i], times.tolist(), mixed)])))


@frozen
class RemoteWriteReader:
    """Reads a remote-write stream; a "line" is a request."""

    def read(
        self, stream: BinaryIO, registry: SeriesRegistry, refusals: Refusals, start: Position = START
    ) -> Iterator[Chunk]:
        """Yield the samples of the requests."""
        skip_to(stream, start.offset)
        at, batches, held = start, [], 0
        known: dict[bytes, int] = {}
        limits = WriteLimits(decoded_bytes_max=REQUEST_BYTES_MAX)
        while True:
            try:
                body = _next(stream)
            except WireError as e:
                refusals.refuse(at.line + 1, 0, f"{e} (at byte {at.offset} of the stream)")
                body = None
            if body is None:
                break
            at = Position(at.offset + _LENGTH.size + len(body), at.line + 1)
            try:
                batch = read_request(decompress(body, limits), registry, known, refusals, at.line)
            except (WireError, LimitExceeded) as e:
                refusals.refuse(at.line, 0, str(e))
                continue
            batches.append(batch)
            held += len(batch)
            if held >= CHUNK_SAMPLES:
                yield Chunk(joined_batches(batches), at)
                batches, held = [], 0
        yield Chunk(joined_batches(batches), at)


def _next(stream: BinaryIO) -> bytes | None:
    """Return the next request, None at the end; raises `WireError` where there is none."""
    head = _exactly(stream, _LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        raise WireError("the stream ends within a length")
    (size,) = _LENGTH.unpack(head)
    if size > REQUEST_BYTES_MAX:
        raise WireError(f"a request of {size} bytes, more than {REQUEST_BYTES_MAX}: this is no remote-write stream")
    body = _exactly(stream, size)
    if len(body) < size:
        raise WireError("the stream ends within a request")
    return body


def _exactly(stream: BinaryIO, size: int) -> bytes:
    """Return `size` bytes, fewer only at the end."""
    parts = []
    while size > 0:
        data = read_some(stream, size)
        if not data:
            break
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


@define
class _Runs:
    """Series of the shape that the writer makes: a label block, then samples of 18 bytes."""

    registry: SeriesRegistry
    known: dict[bytes, int]
    """Label blocks that were met before, and their refs."""
    refs: list[int] = field(factory=list)
    rows: list[NDArray[Any]] = field(factory=list)

    def take(self, series: bytes) -> bool:
        """Take the samples of a series if it has that shape and its labels are known."""
        end = _labels_end(series)
        if end <= 0 or (len(series) - end) % _SAMPLE.itemsize:
            return False
        ref = self._ref(series[:end])
        if ref is None:
            return False
        rows = np.frombuffer(series, _SAMPLE, -1, end)
        heads = (rows["head"] == _HEAD).all() and (rows["tag"] == _TIME_TAG).all()
        if not heads or ((rows["time"] & 0x80) != _MORE).any():
            return False
        self.refs.append(ref)
        self.rows.append(rows)
        return True

    def _ref(self, block: bytes) -> int | None:
        """Return the ref of a label block, None where it is not a canonical one with a metric name."""
        ref = self.known.get(block)
        if ref is not None:
            return ref
        try:
            pairs = [(p.name.decode(), p.value.decode()) for p in TimeSeries.FromString(block).labels]
            labels = labels_of(dict(pairs))
        except (DecodeError, ValueError):
            return None
        if encode_block(labels) != block:
            return None
        if len(self.known) > KNOWN_MAX:
            self.known.clear()
        ref = self.known[block] = self.registry.intern(labels)
        return ref

    def batch(self) -> Batch:
        counts = np.array([len(r) for r in self.rows], np.int64)
        rows = np.concatenate([np.empty(0, _SAMPLE), *self.rows])
        times = ((rows["time"] & 0x7F).astype(np.int64) << _SHIFTS).sum(axis=1)
        values = without_handles(np.ascontiguousarray(rows["value"]).astype(np.float64, copy=False))
        return Batch(np.repeat(np.array(self.refs, np.uint32), counts), times, values, "import")


def read_request(
    message: bytes, registry: SeriesRegistry, known: dict[bytes, int], refusals: Refusals, number: int
) -> Batch:
    """Return the samples of an uncompressed request; raises `WireError` where it is malformed.

    known: label blocks of earlier requests, to which new ones are added.
    """
    try:
        series: list[bytes] = list(SplitRequest.FromString(message).timeseries)
    except DecodeError:
        raise WireError("malformed write request") from None
    runs = _Runs(registry, known)
    others = [s for s in series if not runs.take(s)]
    if not others:
        return runs.batch()
    rest = b"".join([b"\x0a" + varint(len(s)) + s for s in others])
    decoded = decode_message(rest, registry)
    for reason in decoded.reasons:
        refusals.refuse(number, 0, reason)
    return joined_batches([runs.batch(), decoded.batch])


def joined_batches(batches: Sequence[Batch]) -> Batch:
    """Return the samples of several batches as one."""
    if len(batches) == 1:
        return batches[0]
    values, table = joined([(np.empty(0), None), *((b.values, b.histograms) for b in batches)])
    refs = np.concatenate([np.empty(0, np.uint32), *(b.refs for b in batches)])
    times = np.concatenate([np.empty(0, np.int64), *(b.timestamps_ms for b in batches)])
    return Batch(refs, times, values, "import", histograms=table)


def _labels_end(series: bytes) -> int:
    """Return where the label block of a series ends, 0 where that is not clear."""
    at, end = 0, len(series)
    while at + 1 < end and series[at] == 0x0A:
        size = series[at + 1]
        if size >= 0x80:
            if at + 2 >= end or series[at + 2] >= 0x80:
                return 0
            size = (size & 0x7F) | series[at + 2] << 7
            at += 1
        at += 2 + size
    return at if at <= end else 0
