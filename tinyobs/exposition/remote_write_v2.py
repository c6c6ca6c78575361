"""Remote write 2.0, sending: rows of samples -> `io.prometheus.write.v2.Request`.

All texts of a request stand once in its table of symbols, the first of which is "", and series refer to them by number.
The encoder numbers every text it has ever seen; a request is made by renumbering those that occur in it, as one array,
and writing the numbers as varints, as one array of bytes.  Source: prometheus.io/docs/specs/prw/remote_write_spec_2_0.
Not here: compression, which samples go into which request.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ..model.exemplars import Exemplar
from ..model.histograms import numbers_of
from ..model.labels import NAME, Labels, get
from ..model.metadata import MetricMetadata
from ..model.ragged import offsets_of
from ..model.registry import varint
from .remote_write_rows import SAMPLE_BYTES, ByRef, SendRows, message_at, one_sample, put_times, sample_bytes, unusual
from .remote_write_schema import TYPE_OF_NUMBER

I64 = NDArray[np.int64]

SYMBOLS_MAX: Final = 1 << 21
"""Different texts of one request: their numbers are varints of three bytes at most."""
_NUMBER_OF_TYPE: Final = {t: i for i, t in enumerate(TYPE_OF_NUMBER)}
_START_TAG: Final = b"\x18"

MetadataOf = Callable[[str], MetricMetadata | None]
"""What is known of the metric of this name."""


@define
class _Texts:
    """Texts by number; number 0 is ""."""

    numbers: dict[str, int] = field(factory=lambda: {"": 0})
    fields: list[bytes] = field(factory=lambda: [b"\x22\x00"])
    """Each as a field `symbols`."""

    def number(self, text: str) -> int:
        """Return the number of a text, giving it one when it is new."""
        found = self.numbers.get(text)
        if found is None:
            found = self.numbers[text] = len(self.fields)
            self.fields.append(_symbol(text))
        return found


class Encoder2:
    """Makes `io.prometheus.write.v2.Request`s; remembers the series that `add` told it of."""

    content_type: Final = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    version: Final = "2.0.0"

    def __init__(self, metadata_of: MetadataOf = lambda name: None) -> None:
        """metadata_of: asked once for each metric name, until `forget_metadata`."""
        self._metadata_of = metadata_of
        self._texts = _Texts()
        self._labels = ByRef()
        """The number of its metric name and those of all its texts, as uint32s."""
        self._known: dict[int, tuple[int, int, int]] = {}
        """By metric name (type, help, unit), texts by number."""
        self._local = np.zeros(64, np.int64)

    def __contains__(self, ref: int) -> bool:
        return ref in self._labels

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, ref: int, labels: Labels, block: bytes = b"") -> None:
        """Remember a series by the labels that it is sent with."""
        number = self._texts.number
        texts = [number(text) for pair in labels for text in pair]
        self._labels.put(ref, struct.pack(f"={len(texts) + 1}I", number(get(labels, NAME)), *texts))

    def clear(self) -> None:
        """Forget all series and texts."""
        self._labels = ByRef()
        self._known.clear()
        self._texts = _Texts()

    def forget_metadata(self) -> None:
        """Ask for metadata anew."""
        self._known.clear()

    def encode(self, rows: SendRows) -> bytes:
        """Return the request, not compressed.

        `KeyError` for a series that is not remembered.  Exemplars without a sample are left out: the message has no
        place for them.
        """
        found = self._labels.take(rows.refs.tolist())
        counts = np.fromiter(map(len, found), np.int64, len(found)) >> 2
        flat = np.frombuffer(b"".join(found), np.uint32)
        names = offsets_of(counts)[:-1]
        texts, offsets = np.delete(flat, names), offsets_of(counts - 1)
        metadata = [self._metadata(name) for name in flat[names].tolist()]
        used = self._used(texts, metadata)
        more = self._extra_texts(rows, len(used))
        numbers = _varints(self._local[texts], offsets)
        heads = self._metadata_fields(metadata)
        parts = [self._texts.fields[i] for i in used.tolist()]
        parts += map(_symbol, more)
        parts += _series(rows, numbers, heads, self._exemplar_numbers(more))
        self._local[used] = 0
        return b"".join(parts)

    def _metadata(self, name: int) -> tuple[int, int, int]:
        """Return (type, help, unit) of a metric name, texts by number."""
        found = self._known.get(name)
        if found is None:
            m = self._metadata_of(self._text(name)) or MetricMetadata()
            number = self._texts.number
            found = self._known[name] = (_NUMBER_OF_TYPE[m.type], number(m.help), number(m.unit))
        return found

    def _text(self, number: int) -> str:
        raw = self._texts.fields[number]
        at = 1
        while raw[at] & 0x80:
            at += 1
        return raw[at + 1 :].decode("utf-8", "surrogatepass")

    def _used(self, texts: NDArray[np.uint32], metadata: Sequence[tuple[int, int, int]]) -> I64:
        """Return the numbers of the texts that occur, ascending; `_local` is then the number of each in the request."""
        if len(self._local) < len(self._texts.fields):
            self._local = np.zeros(2 * len(self._texts.fields), np.int64)
        local = self._local
        local[texts] = 1
        local[list({n for m in set(metadata) for n in m[1:]})] = 1
        local[0] = 1
        used = np.flatnonzero(local)
        if len(used) > SYMBOLS_MAX:
            local[used] = 0
            raise ValueError(f"a request with more than {SYMBOLS_MAX} different texts")
        local[used] = np.arange(len(used))
        return used

    def _metadata_fields(self, metadata: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """Return the field `metadata` for each series."""
        made: dict[tuple[int, int, int], bytes] = {}
        for m in set(metadata):
            kind, help, unit = m[0], int(self._local[m[1]]), int(self._local[m[2]])
            content = b"\x08" + varint(kind) if kind else b""
            content += b"\x18" + varint(help) if help else b""
            content += b"\x20" + varint(unit) if unit else b""
            made[m] = b"\x2a" + varint(len(content)) + content if content else b""
        return [made[m] for m in metadata]

    def _extra_texts(self, rows: SendRows, first: int) -> dict[str, int]:
        """Return the texts of exemplars that no series of the request has, with their numbers; they are not kept."""
        more: dict[str, int] = {}
        for e in chain.from_iterable(rows.exemplars.values()):
            for text in chain.from_iterable(e.labels):
                known = self._texts.numbers.get(text)
                if (known is None or (known and not self._local[known])) and text not in more:
                    more[text] = first + len(more)
        return more

    def _exemplar_numbers(self, more: dict[str, int]) -> Callable[[str], int]:
        def number(text: str) -> int:
            found = more.get(text)
            return int(self._local[self._texts.numbers[text]]) if found is None else found

        return number


def _series(
    rows: SendRows, numbers: Sequence[bytes], metadata: Sequence[bytes], number: Callable[[str], int]
) -> list[bytes]:
    """Return the fields `timeseries` of all rows.  numbers: the field `labels_refs` of each."""
    size = SAMPLE_BYTES
    flat = sample_bytes(rows.timestamps_ms, rows.values)
    samples = [flat[i : i + size] for i in range(0, size * len(rows), size)]
    _put_starts(rows, samples)
    handles = numbers_of(rows.values)
    for i in unusual(rows, handles).tolist():
        samples[i] = _unusual_sample(rows, i, int(handles[i]), samples[i])
        samples[i] += b"".join(_exemplar(e, number) for e in rows.exemplars.get(i, ()))
    parts: list[bytes] = []
    lengths: dict[int, bytes] = {}
    for labels, sample, about in zip(numbers, samples, metadata, strict=True):
        total = len(labels) + len(sample) + len(about)
        head = lengths.get(total)
        if head is None:
            head = lengths[total] = b"\x2a" + varint(total)
        parts += (head, labels, sample, about)
    return parts


def _put_starts(rows: SendRows, samples: list[bytes]) -> None:
    """Add the start to those samples that have one in this era; the others are not changed."""
    if rows.starts_ms is None:
        return
    at = np.flatnonzero(rows.starts_ms)
    stamps = np.empty((len(at), 6), np.uint8)
    put_times(stamps, rows.starts_ms[at])
    flat = stamps.tobytes()
    for k, (i, start) in enumerate(zip(at.tolist(), rows.starts_ms[at].tolist(), strict=True)):
        stamp = flat[6 * k : 6 * k + 6] if 1 << 35 <= start < 1 << 42 else varint(start & 0xFFFF_FFFF_FFFF_FFFF)
        content = samples[i][2:] + _START_TAG + stamp
        samples[i] = b"\x12" + varint(len(content)) + content


def _unusual_sample(rows: SendRows, i: int, handle: int, quick: bytes) -> bytes:
    time = int(rows.timestamps_ms[i])
    start = 0 if rows.starts_ms is None else int(rows.starts_ms[i])
    if handle >= 0:
        message = message_at(rows, i, handle)
        if start:
            message += b"\x88\x01" + varint(start & 0xFFFF_FFFF_FFFF_FFFF)
        return b"\x1a" + varint(len(message)) + message
    plain = one_sample(time, quick)
    if not start:
        return plain
    content = plain[2:] + _START_TAG + varint(start & 0xFFFF_FFFF_FFFF_FFFF)
    return b"\x12" + varint(len(content)) + content


def _exemplar(e: Exemplar, number: Callable[[str], int]) -> bytes:
    refs = b"".join(varint(number(text)) for text in chain.from_iterable(e.labels))
    content = b"\x0a" + varint(len(refs)) + refs if refs else b""
    content += b"\x11" + np.array(e.value, "<f8").tobytes() + b"\x18" + varint(e.timestamp_ms & 0xFFFF_FFFF_FFFF_FFFF)
    return b"\x22" + varint(len(content)) + content


def _varints(numbers: I64, offsets: I64) -> list[bytes]:
    """Return the field `labels_refs` of each series: rows of numbers below `SYMBOLS_MAX` as packed varints."""
    lengths = 1 + (numbers >= 1 << 7) + (numbers >= 1 << 14)
    table = np.empty((len(numbers), 3), np.uint8)
    table[:, 0] = numbers & 0x7F | np.where(lengths > 1, 0x80, 0)
    table[:, 1] = (numbers >> 7) & 0x7F | np.where(lengths > 2, 0x80, 0)
    table[:, 2] = numbers >> 14
    flat = table[np.arange(3) < lengths[:, None]].tobytes()
    ends = offsets_of(lengths)[offsets].tolist()
    heads: dict[int, bytes] = {}
    out = []
    for a, b in pairwise(ends):
        head = heads.get(b - a)
        if head is None:
            head = heads[b - a] = b"\x0a" + varint(b - a)
        out.append(head + flat[a:b])
    return out


def _symbol(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return b"\x22" + varint(len(raw)) + raw
