"""Remote write 1.0, receiving: a snappy-compressed WriteRequest -> a batch.

Format: https://prometheus.io/docs/specs/prw/remote_write_spec/.  A request is split into its series without looking
into them.  Where the last bytes of a series are one sample and the bytes before it are a label block that the registry
knows, nothing else is decoded (see `remote_write_samples.py`); all other series are decoded by the protobuf library.
Not here: remote write 2.0, sending (`remote_write_encoder.py`), HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Final

import cramjam
import numpy as np
from attrs import define, field, frozen
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import LimitExceeded, WireError
from ..model.batch import Batch
from ..model.labels import NAME, Labels, to_text
from ..model.metadata import MetricMetadata
from ..model.registry import SeriesRegistry, read_varint
from .remote_write_samples import FULL_BYTES, read_tails
from .remote_write_schema import TYPE_OF_NUMBER, SplitRequest, TimeSeries

REASONS_MAX: Final = 10
"""Refused series that are described in words; the others are only counted."""

_NAME_FIELD: Final = b"\x0a\x08__name__\x12"


@frozen
class WriteLimits:
    """Bounds of one request.  decoded_bytes_max: bytes after decompression (as in Prometheus)."""

    decoded_bytes_max: int = 32 << 20


@frozen(eq=False)
class Decoded:
    """A decoded request: the batch, and what it leaves out.

    refused_series, refused_samples: with labels that cannot be (no `__name__`, a name twice, not UTF-8);
    `reasons` describes the first few.  histograms, exemplars: native histograms and exemplars, which are not stored.
    """

    batch: Batch
    refused_series: int = 0
    refused_samples: int = 0
    reasons: tuple[str, ...] = ()
    histograms: int = 0
    exemplars: int = 0


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
    work = _Work(registry)
    tails = read_tails(series)
    sizes = tails.sample_bytes.tolist()
    if sizes.count(FULL_BYTES) == len(sizes):
        blocks = list(map(bytes.__getitem__, series, repeat(slice(None, -FULL_BYTES))))
    else:
        blocks = [s[:-n] if n else b"" for s, n in zip(series, sizes, strict=True)]
    refs = registry.refs_of_hashes(list(map(hash, blocks)))
    slow: list[int] = []
    if None in refs:
        slow = work.new_series(blocks, refs)
    columns = np.fromiter((r or 0 for r in refs) if slow else refs, np.uint32, len(refs))
    times, values = tails.timestamps_ms, tails.values
    if slow:
        for i in slow:
            try:
                work.general(i, series[i])
            except DecodeError:
                raise WireError("malformed series", _offset_of_series(data, i)) from None
        columns, times, values = work.merged(columns, times, values, slow)
    batch = Batch(columns, times, values, "remote_write", _metadata(request.metadata))
    return Decoded(
        batch, work.refused_series, work.refused_samples, tuple(work.reasons), work.histograms, work.exemplars
    )


@define
class _Work:
    """The part of a request that is not the fast path."""

    registry: SeriesRegistry
    refused_series: int = 0
    refused_samples: int = 0
    reasons: list[str] = field(factory=list)
    histograms: int = 0
    exemplars: int = 0
    odd_blocks: dict[int, tuple[bytes, int]] = field(factory=dict)
    """By index: label blocks that are not canonical, and the series they seem to be."""
    position: list[int] = field(factory=list)
    refs: list[int] = field(factory=list)
    times: list[int] = field(factory=list)
    values: list[float] = field(factory=list)

    def new_series(self, blocks: Sequence[bytes], refs: list[int | None]) -> list[int]:
        """Fill in `refs` of label blocks that are new and canonical; return the indexes that need the general way."""
        slow = []
        registry = self.registry
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
                    self.odd_blocks[i] = block, new
            slow.append(i)
        return slow

    def general(self, index: int, data: bytes) -> None:
        """Decode series number `index` with the protobuf library; raises `DecodeError`."""
        series = TimeSeries.FromString(data)
        self.histograms += len(series.histograms)
        self.exemplars += len(series.exemplars)
        pairs = [(p.name, p.value) for p in series.labels]
        labels, fault = _canonical(pairs)
        if fault:
            self.refused_series += 1
            self.refused_samples += len(series.samples) + len(series.histograms)
            if len(self.reasons) < REASONS_MAX:
                self.reasons.append(fault)
            return
        if not series.samples:
            return
        ref = self.registry.intern(labels)
        block, expected = self.odd_blocks.get(index, (b"", -1))
        if ref == expected:  # labels in another order, nothing worse: the fast path may know them from now on
            self.registry.remember_block(block, ref)
        for sample in series.samples:
            self.position.append(index)
            self.refs.append(ref)
            self.times.append(sample.timestamp)
            self.values.append(sample.value)

    def merged(
        self,
        refs: NDArray[np.uint32],
        times: NDArray[np.int64],
        values: NDArray[np.float64],
        slow: Sequence[int],
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]:
        """Return the columns of both ways together, in the order of the request."""
        quick = np.ones(len(refs), np.bool_)
        quick[slow] = False
        order = np.argsort(np.concatenate([np.flatnonzero(quick), np.array(self.position, np.int64)]), kind="stable")
        return (
            np.concatenate([refs[quick], np.array(self.refs, np.uint32)])[order],
            np.concatenate([times[quick], np.array(self.times, np.int64)])[order],
            np.concatenate([values[quick], np.array(self.values, np.float64)])[order],
        )


def _canonical(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[Labels, str]:
    """Return (label set, "") or (what could be read of it, why it is refused)."""
    labels: dict[str, str] = {}
    fault = ""
    for raw_name, raw_value in pairs:
        try:
            name, value = raw_name.decode(), raw_value.decode()
        except UnicodeDecodeError:
            fault = fault or "a label is not valid UTF-8"
            continue
        if not name:
            fault = fault or "a label has no name"
        elif name in labels:
            fault = fault or f'label name "{name}" is not unique'
        labels[name] = value
    found = tuple(sorted((n, v) for n, v in labels.items() if v))
    if not fault and not labels.get(NAME):
        fault = "a series has no metric name"
    return found, fault and f"{fault}: {to_text(found)}"


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
