"""Remote write 1.0, receiving: a snappy-compressed WriteRequest -> a batch.

Format: https://prometheus.io/docs/specs/prw/remote_write_spec/.  A request is split into its series without looking
into them.  Where the last bytes of a series are one sample and the bytes before it are a label block that the registry
knows, nothing else is decoded (see `remote_write_samples.py`); all other series take `remote_write_general.py`.
Not here: remote write 2.0, sending (`remote_write_encoder.py`), HTTP.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import cramjam
import numpy as np
from attrs import frozen
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import LimitExceeded, WireError
from ..model.batch import Batch
from ..model.block_hash import PADDING_BYTES, Blocks, blocks_of
from ..model.hash_table import MISSING
from ..model.histograms import Histograms, without_handles
from ..model.label_block import labels_of_block, read_varint
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry
from .message_pieces import Check
from .remote_write_gather import Columns, Gathered
from .remote_write_general import GeneralWay
from .remote_write_pieces import request_pieces
from .remote_write_samples import read_tails
from .remote_write_schema import TYPE_OF_NUMBER, SplitRequest
from .remote_write_split import split

_NAME_FIELD: Final = b"\x0a\x08__name__\x12"


@frozen
class WriteLimits:
    """Bounds of one request.  decoded_bytes_max: bytes after decompression (as in Prometheus)."""

    decoded_bytes_max: int = 32 << 20


@frozen(eq=False)
class Decoded:
    """A decoded request: the batch, and what it leaves out.

    refused_series, refused_samples: with labels that cannot be (no `__name__`, a name twice, not UTF-8); samples are
    histograms as well.  refused_histograms: those that contradict themselves.  `reasons` describes the first few of
    both.  refused_exemplars: with labels that cannot be, of refused series included.  stored: to be called when the batch is
    durable, so that what it says once is not said again.
    """

    batch: Batch
    refused_series: int = 0
    refused_samples: int = 0
    refused_histograms: int = 0
    refused_exemplars: int = 0
    reasons: tuple[str, ...] = ()
    stored: Callable[[], None] = lambda: None


def decode(body: bytes | bytearray, registry: SeriesRegistry, *, limits: WriteLimits | None = None) -> Decoded:
    """Return the samples of a snappy-compressed WriteRequest, series interned, in the order of the request.

    Raises `WireError` where the body is malformed (nothing of it is used) and `LimitExceeded` where it is too long.
    """
    data, size = unpacked(body, limits or WriteLimits())
    return _decode_padded(data, size, registry)


def decode_pieces(
    body: bytes | bytearray,
    registry: SeriesRegistry,
    bytes_max: int,
    *,
    limits: WriteLimits | None = None,
    check: Check = lambda: None,
) -> Iterator[Decoded]:
    """Yield what is in a request of about so many bytes at a time; what was yielded before an error may have been used.

    check: called between two pieces at most, see `message_pieces.cut_message`.  Else as `decode`.
    """
    for data, size, offset in request_pieces(*unpacked(body, limits or WriteLimits()), bytes_max, check):
        try:
            yield _decode_padded(data, size, registry)
        except WireError as e:
            raise WireError(e.reason, -1 if offset < 0 or e.offset < 0 else offset + e.offset) from None


def decoded_bytes(body: bytes | bytearray) -> int:
    """Return the size of a snappy block after decompression as its head tells it, 0 where it has none."""
    try:
        return int(cramjam.snappy.decompress_raw_len(body))
    except cramjam.DecompressionError:
        return 0


def decompress(body: bytes | bytearray, limits: WriteLimits) -> bytes:
    """Return the content of a snappy block, whose length is checked first."""
    buffer, size = unpacked(body, limits)
    return buffer[:size].tobytes()


def decode_message(data: bytes, registry: SeriesRegistry) -> Decoded:
    """Return the samples of an uncompressed WriteRequest; see `decode`."""
    return _decode_padded(np.frombuffer(data + bytes(PADDING_BYTES), np.uint8), len(data), registry)


def unpacked(body: bytes | bytearray, limits: WriteLimits) -> tuple[NDArray[np.uint8], int]:
    """Return (buffer, bytes used of it) with the content of a snappy block."""
    try:
        size = int(cramjam.snappy.decompress_raw_len(body))
        if size > limits.decoded_bytes_max:
            raise LimitExceeded(
                "decoded_bytes_max", f"the request decompresses to {size} bytes, more than {limits.decoded_bytes_max}"
            )
        buffer = np.empty(size + PADDING_BYTES, np.uint8)
        if size:
            cramjam.snappy.decompress_raw_into(body, buffer.data[:size])
        else:
            cramjam.snappy.decompress_raw(body)
    except cramjam.DecompressionError as e:
        raise WireError(f"not a snappy block: {e}") from None
    return buffer, size


def _decode_padded(buffer: NDArray[np.uint8], size: int, registry: SeriesRegistry) -> Decoded:
    metadata: Mapping[str, MetricMetadata] = {}
    series = split(buffer, size)
    if series is None:  # not just a list of series, or damaged
        try:
            request = SplitRequest.FromString(buffer[:size].tobytes())
        except DecodeError:
            raise WireError("malformed write request", _top_level_fault(buffer[:size].tobytes())) from None
        series, metadata = blocks_of(list(request.timeseries)), _metadata(request.metadata)
    tails = read_tails(series)
    blocks = Blocks(series.data, series.starts, series.lengths - tails.sample_bytes)
    refs = registry.refs_of_blocks(blocks)
    refs[tails.sample_bytes == 0] = MISSING
    way = GeneralWay(registry)
    slow = _new_series(way, blocks, refs, tails.sample_bytes)
    quick, histograms = Columns(refs, tails.timestamps_ms, without_handles(tails.values)), None
    for i in slow:
        try:
            way.take(i, series.one(i))
        except DecodeError:
            raise WireError("malformed series", _offset_of_series(buffer[:size].tobytes(), i)) from None
    if slow:
        stays = np.ones(len(refs), np.bool_)
        stays[slow] = False
        quick = Columns(quick.refs[stays], quick.times_ms[stays], quick.values[stays])
        quick, histograms = way.merged(quick, np.flatnonzero(stays))
    return decoded(quick, histograms, way, metadata)


def decoded(
    columns: Columns, histograms: Histograms | None, way: Gathered, metadata: Mapping[str, MetricMetadata]
) -> Decoded:
    """Return a decoded request: its samples, and what the general way found besides."""
    batch = Batch(
        columns.refs,
        columns.times_ms,
        columns.values,
        "remote_write",
        metadata,
        histograms=histograms,
        starts_ms=columns.starts_ms,
        exemplars=way.sorted_exemplars(),
    )
    return Decoded(
        batch,
        way.refused_series,
        way.refused_samples,
        way.refused_histograms,
        way.refused_exemplars,
        tuple(way.reasons),
    )


def _new_series(
    way: GeneralWay, blocks: Blocks, refs: NDArray[np.uint32], sample_bytes: NDArray[np.uint8]
) -> list[int]:
    """Fill in `refs` of label blocks that are new and canonical; return the indexes that need the general way."""
    unknown = np.flatnonzero((refs == MISSING) & (sample_bytes > 0))
    if len(unknown):
        refs[unknown] = way.registry.intern_blocks(blocks.take(unknown))
    slow: list[int] = np.flatnonzero(refs == MISSING).tolist()
    for i in slow:
        if not sample_bytes[i]:
            continue
        block = blocks.one(i)
        # A series without a name must never be interned: its block would be known from then on.
        if _names_metric(block):
            with contextlib.suppress(WireError):  # the general way says what is wrong
                way.odd_blocks[i] = block, way.registry.intern_block(block)
    return slow


def _names_metric(block: bytes) -> bool:
    """Tell whether a label block has a metric name that is not empty."""
    try:
        labels = labels_of_block(block)
    except WireError:
        return False  # the general way says what is wrong
    return any(block.startswith(_NAME_FIELD, a) and b - a > len(_NAME_FIELD) + 1 for a, b, _ in labels)


def _metadata(entries: Sequence[object]) -> Mapping[str, MetricMetadata]:
    found = {}
    for e in entries:
        kind = e.type if 0 <= e.type < len(TYPE_OF_NUMBER) else 0  # type: ignore[attr-defined]
        name, help, unit = (x.decode("utf-8", "replace") for x in (e.metric_family_name, e.help, e.unit))  # type: ignore[attr-defined]
        if name:
            found[name] = MetricMetadata(TYPE_OF_NUMBER[kind], help, unit)
    return found


def _fields(data: bytes, at: int = 0) -> list[tuple[int, int, int]]:
    """Return (field number, start of content, end) of the length-delimited fields up to the first fault."""
    out = []
    while at < len(data):
        tag, at = read_varint(data, at)
        kind = tag & 7
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind in (0, 2):
            size, after = read_varint(data, at)
            at = after
            size = size if kind == 2 else 0
        elif kind not in (1, 5):
            break
        if size > len(data) - at:
            break
        if kind == 2:
            out.append((tag >> 3, at, at + size))
        at += size
    return out


def _top_level_fault(data: bytes) -> int:
    """Return the end of the last sound field of a request."""
    try:
        sound = _fields(data)
    except WireError as e:
        return e.offset
    return sound[-1][2] if sound else 0


def _offset_of_series(data: bytes, index: int) -> int:
    try:
        starts = [start for number, start, _ in _fields(data) if number == 1]
    except WireError:
        return -1
    return starts[index] if index < len(starts) else -1
