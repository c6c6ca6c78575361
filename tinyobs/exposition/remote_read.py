"""Remote read: a snappy-compressed ReadRequest -> queries; series -> samples, or frames of chunks.

Format: prompb/remote.proto of Prometheus and storage/remote/codec.go, chunked.go.  Not here: which series, limits on
samples, HTTP (`tinyobs.web.api_v1.read`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
from attrs import frozen
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import WireError
from ..model.columns import SeriesColumns
from ..model.histograms import Histogram, numbers_of
from ..model.labels import Labels
from ..model.matchers import Matcher, MatchType
from ..model.registry import encode_block, varint
from ..model.staleness import STALE_NAN, is_stale_value
from . import histogram_chunks, xor_chunks
from .crc32c import crc32c
from .protobuf_schema import message_classes
from .remote_write import WriteLimits, decompress
from .remote_write_encoder import histogram_message

QUERIES_MAX: Final = 1000
"""Queries in one request."""
MATCHERS_MAX: Final = 1000
"""Matchers in one query."""
SUPPORTED: Final = "SAMPLES, STREAMED_XOR_CHUNKS"

_MESSAGES = message_classes(
    "tinyobs.remote_read",
    {
        "ReadRequest": [(1, "queries", "*Query"), (2, "accepted_response_types", "*int32")],
        "Query": [
            (1, "start_timestamp_ms", "int64"),
            (2, "end_timestamp_ms", "int64"),
            (3, "matchers", "*LabelMatcher"),
            (4, "hints", "ReadHints"),
        ],
        "LabelMatcher": [(1, "type", "int32"), (2, "name", "string"), (3, "value", "string")],
        "ReadHints": [(3, "start_ms", "int64"), (4, "end_ms", "int64")],
    },
)
ReadRequestMessage: Final = _MESSAGES["ReadRequest"]
CHUNKS_AT_ONCE: Final = 256
"""Chunks of floats that are encoded side by side: their samples fit into a processor's cache."""
_MATCH_TYPES: Final = (MatchType.EQUAL, MatchType.NOT_EQUAL, MatchType.REGEX, MatchType.NOT_REGEX)
_XOR, _HISTOGRAM, _FLOAT_HISTOGRAM = 1, 2, 3
_SAMPLE_BYTES: Final = 18
_SIX_BYTES: Final = (1 << 35, 1 << 42)
"""Times in ms whose varints take six bytes: from 1971 to 2109."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


class ResponseType(IntEnum):
    """How series are answered."""

    SAMPLES = 0
    STREAMED_XOR_CHUNKS = 1


@frozen
class ReadQuery:
    """One query: series that fulfil the matchers, samples from mint_ms to maxt_ms, both included."""

    mint_ms: int
    maxt_ms: int
    matchers: tuple[Matcher, ...]


@frozen
class ReadRequest:
    """A request.  response: the first of those asked for that is supported."""

    queries: tuple[ReadQuery, ...]
    response: ResponseType = ResponseType.SAMPLES


class MatcherError(ValueError):
    """A matcher of a well-formed request cannot be used; the text is that of Prometheus."""


def decode(body: bytes | bytearray, limits: WriteLimits | None = None) -> ReadRequest:
    """Return the request of a body.

    Raises `WireError` for what is no request or asks for types that are not supported, `LimitExceeded` for one that is
    too long, and `MatcherError`.
    """
    message = ReadRequestMessage()
    try:
        message.ParseFromString(decompress(body, limits or WriteLimits()))
    except DecodeError as e:
        raise WireError(f"malformed ReadRequest: {e}") from None
    if len(message.queries) > QUERIES_MAX or any(len(q.matchers) > MATCHERS_MAX for q in message.queries):
        raise WireError(f"more than {QUERIES_MAX} queries or {MATCHERS_MAX} matchers")
    return ReadRequest(tuple(map(_query, message.queries)), _response(list(message.accepted_response_types)))


def encode_request(queries: Sequence[ReadQuery], accepted: Sequence[int] = ()) -> bytes:
    """Return the message of a request, not compressed."""
    message = ReadRequestMessage(accepted_response_types=accepted)
    for query in queries:
        into = message.queries.add(start_timestamp_ms=query.mint_ms, end_timestamp_ms=query.maxt_ms)
        for m in query.matchers:
            into.matchers.add(type=_MATCH_TYPES.index(m.type), name=m.name, value=m.value)
    data: bytes = message.SerializeToString()
    return data


def without_external(query: ReadQuery, external: Mapping[str, str]) -> tuple[Matcher, ...]:
    """Return the matchers for the storage: it does not have the external labels that every answer gets."""
    return tuple(
        [
            Matcher(MatchType.EQUAL, m.name, "") if m.type is MatchType.EQUAL and external.get(m.name) == m.value else m
            for m in query.matchers
        ]
    )


def merged(labels: Labels, external: Labels) -> Labels:
    """Return labels with the external ones that they do not have, in order."""
    if not external:
        return labels
    return tuple(sorted({**dict(external), **dict(labels)}.items()))


def _query(message: Any) -> ReadQuery:
    """Return a query; the hints of a client say which part of its range it needs."""
    mint, maxt = message.start_timestamp_ms, message.end_timestamp_ms
    if message.HasField("hints") and message.hints.start_ms <= message.hints.end_ms and message.hints.end_ms:
        mint, maxt = max(mint, message.hints.start_ms), min(maxt, message.hints.end_ms)
    return ReadQuery(mint, maxt, tuple(map(_matcher, message.matchers)))


def _matcher(message: Any) -> Matcher:
    if not 0 <= message.type < len(_MATCH_TYPES):
        raise MatcherError("invalid matcher type")
    try:
        return Matcher(_MATCH_TYPES[message.type], message.name, message.value)
    except ValueError as e:
        raise MatcherError(str(e)) from None


def _response(accepted: Sequence[int]) -> ResponseType:
    if not accepted:
        return ResponseType.SAMPLES
    for number in accepted:
        if number in (ResponseType.SAMPLES, ResponseType.STREAMED_XOR_CHUNKS):
            return ResponseType(number)
    names = " ".join(map(str, accepted))
    raise WireError(
        f"server does not support any of the requested response types: [{names}]; supported: map[{SUPPORTED}]"
    )


# -- samples ---------------------------------------------------------------------------------------------------


def encode_result(columns: Sequence[SeriesColumns], external: Labels) -> bytes:
    """Return the field of a ReadResponse for one query; series without a sample are left out."""
    parts = [_series(c, i, external) for c in columns for i in range(len(c)) if c.offsets[i] < c.offsets[i + 1]]
    return _field(1, b"".join(_field(1, part) for part in parts))


def _series(columns: SeriesColumns, i: int, external: Labels) -> bytes:
    labels, times, values = columns.one(i)
    head = encode_block(merged(labels, external))
    if columns.histograms is None:
        return head + _samples(times, values)
    numbers = numbers_of(values)
    native = [
        _field(4, histogram_message(columns.histograms.one(n), t))
        for t, n in zip(times.tolist(), numbers.tolist(), strict=True)
        if n >= 0
    ]
    return head + _samples(times[numbers < 0], values[numbers < 0]) + b"".join(native)


def _samples(times: I64, values: F64) -> bytes:
    """Return the fields of float samples, made as rows of bytes where all times take six."""
    if len(times) and times[0] >= _SIX_BYTES[0] and times[-1] < _SIX_BYTES[1]:
        rows = np.empty((len(times), _SAMPLE_BYTES), np.uint8)
        rows[:, :3] = (0x12, 0x10, 0x09)
        rows[:, 3:11] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
        rows[:, 11] = 0x10
        for i in range(6):
            rows[:, 12 + i] = (times >> 7 * i & 0x7F) | (0x80 if i < 5 else 0)
        return rows.tobytes()
    return b"".join(
        _field(2, b"\x09" + v.tobytes() + b"\x10" + varint(t & 0xFFFF_FFFF_FFFF_FFFF))
        for t, v in zip(times.tolist(), values.astype("<f8"), strict=True)
    )


# -- chunks ----------------------------------------------------------------------------------------------------


def encode_frames(columns: SeriesColumns, external: Labels, query: int, frame_bytes_max: int) -> Iterator[bytes]:
    """Yield frames with the chunks of all series; each holds those of one series, as many as fit.

    A frame is over when its chunks reach `frame_bytes_max` less the labels; so it may be longer by one chunk.
    """
    chunks = _chunks(columns)
    tail = b"\x10" + varint(query) if query else b""
    for labels, parts in zip(columns.labels, chunks, strict=True):
        if not parts:
            continue
        head = encode_block(merged(labels, external))
        room = frame_bytes_max - len(head)
        waiting: list[bytes] = []
        left = room
        for i, part in enumerate(parts):
            waiting.append(part)
            left -= len(part)
            if left <= 0 or i == len(parts) - 1:
                yield _frame(_field(1, head + b"".join(waiting)) + tail)
                waiting, left = [], room


def _frame(message: bytes) -> bytes:
    return varint(len(message)) + crc32c(message).to_bytes(4, "big") + message


def _chunks(columns: SeriesColumns) -> list[list[bytes]]:
    """Return the fields of the chunks of each series, in order of time."""
    out: list[list[bytes]] = [[] for _ in range(len(columns))]
    if not columns.samples:
        return out
    native = np.zeros(columns.samples, np.bool_) if columns.histograms is None else numbers_of(columns.values) >= 0
    values, native = _with_plain_markers(columns, native)
    counts = np.diff(columns.offsets)
    series = np.repeat(np.arange(len(columns)), counts)
    within = np.arange(columns.samples) - columns.offsets[:-1][series]
    starts = np.flatnonzero((np.diff(series, prepend=-1) != 0) | (np.diff(native, prepend=False) != 0) | (within == 0))
    ends = np.append(starts[1:], columns.samples)
    runs = [(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    cuts = [(i, min(i + xor_chunks.CHUNK_SAMPLES, b)) for a, b in runs if not native[a] for i in _steps(a, b)]
    floats = iter(_float_chunks(columns.timestamps_ms, values, cuts))
    for a, b in runs:
        into = out[int(series[a])]
        if native[a]:
            into += _histogram_chunks(columns, a, b)
        else:
            into += [next(floats) for _ in _steps(a, b)]
    return out


def _steps(first: int, end: int) -> range:
    return range(first, end, xor_chunks.CHUNK_SAMPLES)


def _with_plain_markers(columns: SeriesColumns, native: NDArray[np.bool_]) -> tuple[F64, NDArray[np.bool_]]:
    """Return values and which are histograms, staleness markers among these being made floats: they have no buckets."""
    if columns.histograms is None:
        return columns.values, native
    values, native = columns.values.copy(), native.copy()
    sums = columns.histograms.sums()
    at = np.flatnonzero(native)
    for place, number in zip(at.tolist(), numbers_of(values[at]).tolist(), strict=True):
        if is_stale_value(float(sums[number])):
            values[place], native[place] = STALE_NAN, False
    return values, native


def _float_chunks(times: I64, values: F64, cuts: Sequence[tuple[int, int]]) -> list[bytes]:
    return [
        chunk
        for i in range(0, len(cuts), CHUNKS_AT_ONCE)
        for chunk in _some_float_chunks(times, values, cuts[i : i + CHUNKS_AT_ONCE])
    ]


def _some_float_chunks(times: I64, values: F64, cuts: Sequence[tuple[int, int]]) -> list[bytes]:
    sizes = np.array([b - a for a, b in cuts])
    firsts = np.cumsum(sizes) - sizes
    if int(sizes.sum()) < len(times):
        chosen = np.concatenate([np.arange(a, b) for a, b in cuts])
        times, values = times[chosen], values[chosen]
    bodies = xor_chunks.encode(times, values, firsts)
    low, high = times[firsts].tolist(), times[firsts + sizes - 1].tolist()
    return [_chunk(a, b, _XOR, body) for a, b, body in zip(low, high, bodies, strict=True)]


def _histogram_chunks(columns: SeriesColumns, first: int, end: int) -> list[bytes]:
    table = columns.histograms
    assert table is not None
    times = columns.timestamps_ms[first:end].tolist()
    histograms: list[Histogram] = [table.one(n) for n in numbers_of(columns.values[first:end]).tolist()]
    out = []
    for a, b, hint in histogram_chunks.split(histograms):
        kind = _HISTOGRAM if histograms[a].is_integer else _FLOAT_HISTOGRAM
        body = histogram_chunks.encode(times[a:b], histograms[a:b], hint)
        out.append(_chunk(times[a], times[b - 1], kind, body))
    return out


def _chunk(mint_ms: int, maxt_ms: int, kind: int, data: bytes) -> bytes:
    """Return the field of a chunk within its series."""
    times = b"".join(
        bytes((tag,)) + varint(t & 0xFFFF_FFFF_FFFF_FFFF) for tag, t in ((0x08, mint_ms), (0x10, maxt_ms)) if t
    )
    return _field(2, times + bytes((0x18, kind)) + _field(4, data))


def _field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + varint(len(content)) + content
