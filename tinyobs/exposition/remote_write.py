"""Remote write 1.0, receiving: a snappy-compressed WriteRequest -> a batch.

Format: https://prometheus.io/docs/specs/prw/remote_write_spec/.  A request is split into its series without looking
into them.  Where the last bytes of a series are one sample and the bytes before it are a label block that the registry
knows, nothing else is decoded (see `remote_write_samples.py`); all other series take `remote_write_general.py`.
Not here: remote write 2.0, sending (`remote_write_encoder.py`), HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Final

import cramjam
import numpy as np
from attrs import frozen
from google.protobuf.message import DecodeError

from ..errors import LimitExceeded, WireError
from ..model.batch import Batch
from ..model.histograms import without_handles
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry, read_varint
from .remote_write_general import GeneralWay
from .remote_write_samples import FULL_BYTES, read_tails
from .remote_write_schema import TYPE_OF_NUMBER, SplitRequest

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
    both.  refused_exemplars: with labels that cannot be, of refused series included.
    """

    batch: Batch
    refused_series: int = 0
    refused_samples: int = 0
    refused_histograms: int = 0
    refused_exemplars: int = 0
    reasons: tuple[str, ...] = ()


def decode(body: bytes, registry: SeriesRegistry, *, limits: WriteLimits | None = None) -> Decoded:
    """Return the samples of a snappy-compressed WriteRequest, series interned, in the order of the request.

    Raises `WireError` where the body is malformed (nothing of it is used) and `LimitExceeded` where it is too long.
    """
    return decode_message(decompress(body, limits or WriteLimits()), registry)


def decoded_bytes(body: bytes) -> int:
    """Return the size of a snappy block after decompression as its head tells it, 0 where it has none."""
    try:
        return int(cramjam.snappy.decompress_raw_len(body))
    except cramjam.DecompressionError:
        return 0


def decompress(body: bytes, limits: WriteLimits) -> bytes:
    """Return the content of a snappy block, whose length is checked first."""
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > limits.decoded_bytes_max:
            raise LimitExceeded(
                "decoded_bytes_max", f"the request decompresses to {size} bytes, more than {limits.decoded_bytes_max}"
            )
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as e:
        raise WireError(f"not a snappy block: {e}") from None


def decode_message(data: bytes, registry: SeriesRegistry) -> Decoded:
    """Return the samples of an uncompressed WriteRequest; see `decode`."""
    try:
        request = SplitRequest.FromString(data)
    except DecodeError:
        raise WireError("malformed write request", _top_level_fault(data)) from None
    series: list[bytes] = list(request.timeseries)
    way = GeneralWay(registry)
    tails = read_tails(series)
    sizes = tails.sample_bytes.tolist()
    if sizes.count(FULL_BYTES) == len(sizes):
        blocks = list(map(bytes.__getitem__, series, repeat(slice(None, -FULL_BYTES))))
    else:
        blocks = [s[:-n] if n else b"" for s, n in zip(series, sizes, strict=True)]
    refs = registry.refs_of_hashes(list(map(hash, blocks)))
    slow: list[int] = []
    if None in refs:
        slow = _new_series(way, blocks, refs)
    columns = np.fromiter((r or 0 for r in refs) if slow else refs, np.uint32, len(refs))
    values = without_handles(tails.values)
    quick, histograms = (columns, tails.timestamps_ms, values), None
    for i in slow:
        try:
            way.take(i, series[i])
        except DecodeError:
            raise WireError("malformed series", _offset_of_series(data, i)) from None
    if slow:
        quick, histograms = way.merged(quick, slow)
    metadata = _metadata(request.metadata)
    batch = Batch(*quick, "remote_write", metadata, histograms=histograms, exemplars=way.sorted_exemplars())
    return Decoded(
        batch,
        way.refused_series,
        way.refused_samples,
        way.refused_histograms,
        way.refused_exemplars,
        tuple(way.reasons),
    )


def _new_series(way: GeneralWay, blocks: Sequence[bytes], refs: list[int | None]) -> list[int]:
    """Fill in `refs` of label blocks that are new and canonical; return the indexes that need the general way."""
    slow = []
    registry = way.registry
    for i, ref in enumerate(refs):
        if ref is not None:
            continue
        block = blocks[i]
        # A series without a name must never be interned: its block would be known from then on.
        if _names_metric(block):
            try:
                new = registry.intern_block(block)
            except WireError:
                pass
            else:
                # A block that is no canonical one is not found by its own hash: names out of order, twice, ...
                if registry.refs_of_hashes([hash(block)])[0] is not None:
                    refs[i] = new
                    continue
                way.odd_blocks[i] = block, new
        slow.append(i)
    return slow


def _names_metric(block: bytes) -> bool:
    """Tell whether a label block has a metric name that is not empty."""
    at = 0
    try:
        while at < len(block):
            if block[at] != 0x0A:
                return False
            size, at = read_varint(block, at + 1)
            if block.startswith(_NAME_FIELD, at):
                return size > len(_NAME_FIELD) + 1
            at += size
    except WireError:
        pass  # the general way says what is wrong
    return False


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
