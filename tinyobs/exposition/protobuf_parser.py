"""Scraped bodies in the protobuf format -> columns, with a memory per target.

Format: length-delimited messages `io.prometheus.client.MetricFamily` (`client_schema.py`), read as Prometheus reads them.
The contract is that of `scrape_parser.py`.  A body of known structure takes the fast path of `protobuf_layout.py`; any
other is decoded metric by metric, and metrics that were there before keep the numbers of their series.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from typing import Final

import numpy as np
import zstandard
from attrs import define, field
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import WireError
from ..model.histograms import Histograms, from_blobs, handles, without_handles
from ..model.labels import Labels
from ..model.metadata import MetricMetadata, MetricType
from .body_reader import ParserLimits
from .client_schema import COUNTER, GAUGE, GAUGE_HISTOGRAM, HISTOGRAM, SUMMARY, UNTYPED, FamilyRead
from .formats import Format
from .histogram_rules import HistogramRules
from .protobuf_layout import Family, Known, Layout, Run, next_family, plain_values, values_and_hash
from .protobuf_metrics import BareExemplar, Decoded, FamilyHead, Key, decode_metric, series_of
from .scrape_parser import EXEMPLAR_CHARACTERS_MAX, Exemplar, Parsed
from .tails import NO_TIMESTAMP

TYPES: Final = {
    COUNTER: MetricType.COUNTER,
    GAUGE: MetricType.GAUGE,
    SUMMARY: MetricType.SUMMARY,
    UNTYPED: MetricType.UNKNOWN,
    HISTOGRAM: MetricType.HISTOGRAM,
    GAUGE_HISTOGRAM: MetricType.GAUGE_HISTOGRAM,
}
FAMILIES_MAX: Final = 1 << 20
"""Families that a body may have."""
METRICS_MAX: Final = 10_000_000
"""Metrics that a family may have."""
ZSTD_LEVEL: Final = 3


class Misfit(Exception):
    """A body does not have the structure of the one before."""


@define
class _Columns:
    """Samples as they are gathered."""

    values: list[float] = field(factory=list)
    times: list[int] = field(factory=list)
    starts: list[int] = field(factory=list)
    places: list[int] = field(factory=list)
    """Of each sample in the body."""
    blobs: list[bytes] = field(factory=list)
    """Histograms, and below the places of their samples."""
    blob_places: list[int] = field(factory=list)
    exemplars: list[tuple[int, BareExemplar]] = field(factory=list)
    """With the place of the first sample of their metric."""

    def add(self, metric: Known | Decoded, place: int) -> int:
        """Add the samples of a metric from `place` on; return the place behind them."""
        count = len(metric.values)
        if metric.histogram:
            self.blobs.append(metric.histogram)
            self.blob_places.append(place)
        self.values += metric.values
        self.times += [metric.time_ms] * count
        self.starts += [metric.start_ms] * count
        self.places += range(place, place + count)
        return place + count


class ProtobufParser:
    """The parser of one target.  Not thread-safe; a body that fails leaves it as it was."""

    format = Format.PROTOBUF

    def __init__(self, rules: HistogramRules | None = None, *, limits: ParserLimits | None = None) -> None:
        self.rules = rules or HistogramRules(native=True)
        self.limits = limits or ParserLimits()
        self._layout: Layout | None = None
        self._packed = b""
        """Keys and numbers of the last body's metrics."""
        self._absent: dict[Key, tuple[tuple[int, ...], int]] = {}
        """Numbers and last body of metrics that the last body did not have."""
        self._free: list[int] = []
        self._number_end = 0
        self._body_count = 0

    def parse(self, body: bytes) -> Parsed:
        """Return the samples of a body; raises `WireError` where it is malformed.

        A body of no bytes is an empty scrape, and is forgotten at once.
        """
        if not body:
            return Parsed(np.empty(0, np.int32), np.empty(0), None, {}, (), {})
        if self._layout is not None:
            try:
                return self._parse_known(body, self._layout)
            except (Misfit, WireError):
                pass  # where nothing is as it was, families seem to begin where there are none
        return _Reading(body, self).run()

    def _parse_known(self, body: bytes, layout: Layout) -> Parsed:
        """Return the samples of a body that has the structure of the last one; raises `Misfit` where it has not."""
        columns, runs, at = _Columns(), [], 0
        changed: list[tuple[Family, int, Known]] = []
        for entry in layout.entries:
            if at >= len(body):
                raise Misfit
            if isinstance(entry, Run):
                runs.append(body[at : at + entry.size])
                at += entry.size
            else:
                start, at = next_family(body, at)
                self._known_family(body[start:at], entry, columns, changed)
        if at != len(body):
            raise Misfit
        values = np.empty(len(layout.numbers))
        plain, digest = values_and_hash(b"".join(runs), layout.value_offsets)
        if digest != layout.plain_hash:
            raise Misfit
        for family, i, known in changed:
            family.metrics[i] = known
        values[layout.plain_places] = plain
        self._body_count += 1
        if self._absent and self._body_count % self.limits.absent_bodies_max == 0:
            self.forget()
        return _parsed(layout.numbers, values, layout.starts_ms, columns, {}, {})

    def _known_family(
        self, data: bytes, entry: Family, columns: _Columns, changed: list[tuple[Family, int, Known]]
    ) -> None:
        head, metrics = read_family(data)
        if hash(head) != entry.head or len(metrics) != len(entry.metrics):
            raise Misfit
        place = entry.first
        for i, (raw, known) in enumerate(zip(metrics, entry.metrics, strict=True)):
            if hash(raw) != known.raw:
                decoded = decode_metric(raw, head, self.rules)
                if decoded is None or hash(decoded.key) != known.key:
                    raise Misfit
                known = known_of(raw, decoded)
                changed.append((entry, i, known))
                columns.exemplars += [(place, e) for e in decoded.exemplars]
            place = columns.add(known, place)

    def known(self) -> dict[Key, tuple[int, ...]]:
        """Return the numbers of the metrics of the last body, and of those lately gone."""
        known = {key: numbers for key, (numbers, _) in self._absent.items()}
        if self._packed:
            known.update(marshal.loads(zstandard.decompress(self._packed)))  # noqa: S302 - of our own making
        return known

    def remember(self, known: dict[Key, tuple[int, ...]], present: dict[Key, tuple[int, ...]], layout: Layout) -> None:
        """Commit a body that was read: what is known, what is gone, what is forgotten."""
        self._body_count += 1
        last = self._body_count - 1
        absent = ((k, n) for k, n in known.items() if k not in present)
        self._absent = {k: self._absent.get(k, (n, last)) for k, n in absent}
        self.forget()
        self._packed = zstandard.ZstdCompressor(ZSTD_LEVEL).compress(marshal.dumps(list(present.items())))
        self._layout = layout

    def forget(self) -> None:
        """Take back the numbers of metrics that have been gone for long."""
        oldest = self._body_count - self.limits.absent_bodies_max
        for key, (numbers, last) in list(self._absent.items()):
            if last < oldest:
                del self._absent[key]
                self._free += numbers

    def numbers_from(self) -> tuple[list[int], int]:
        """Return (free numbers, one above the highest given out)."""
        return self._free, self._number_end

    def take_numbers(self, from_free: int, end: int) -> None:
        """Commit that so many of the free numbers, and all below `end`, are given out."""
        del self._free[:from_free]
        self._number_end = end


class _Reading:
    """One body read metric by metric; commits to its parser at the end."""

    def __init__(self, body: bytes, parser: ProtobufParser) -> None:
        self._body, self._parser = body, parser
        self._known = parser.known()
        self._present: dict[Key, tuple[int, ...]] = {}
        self._new: dict[int, Labels] = {}
        self._free, self._end = parser.numbers_from()
        self._from_free = 0
        self._numbers: list[int] = []
        self._columns = _Columns()
        self._metadata: dict[str, MetricMetadata] = {}
        self._entries: list[Run | Family] = []
        self._runs: list[bytes] = []
        self._run_bytes = 0
        self._offsets: list[int] = []
        self._plain_places: list[int] = []

    def run(self) -> Parsed:
        """Return the samples; raises `WireError`."""
        body, at, count = self._body, 0, 0
        while at < len(body):
            count += 1
            if count > FAMILIES_MAX:
                raise WireError(f"more than {FAMILIES_MAX} metric families", at)
            start, end = next_family(body, at)
            try:
                self._family(at, start, end)
            except WireError as e:
                raise e if e.offset >= 0 else WireError(e.reason, start) from None
            at = end
        numbers = np.array(self._numbers, np.int32)
        numbers.flags.writeable = False  # every body of this structure shares them
        parsed = _parsed(numbers, np.empty(len(numbers)), None, self._columns, self._metadata, self._new)
        self._parser.take_numbers(self._from_free, self._end)
        self._parser.remember(self._known, self._present, self._layout(numbers))
        return parsed

    def _layout(self, numbers: NDArray[np.int32]) -> Layout:
        places, offsets = np.array(self._plain_places, np.int64), np.array(self._offsets, np.int64)
        starts = np.array(self._columns.starts, np.int64)
        _, digest = values_and_hash(b"".join(self._runs), offsets)
        return Layout(self._entries, numbers, places, offsets, digest, starts if starts[places].any() else None)

    def _family(self, at: int, start: int, end: int) -> None:
        data = self._body[start:end]
        head, metrics = read_family(data)
        if metrics:
            name = _checked_name(head)
            help_text, unit = head.help.decode("utf-8", "replace"), head.unit.decode("utf-8", "replace")
            self._metadata[name] = MetricMetadata(TYPES[head.type], help_text, unit)
        first = len(self._numbers)
        offsets = plain_values(data, head.type) if metrics else None
        family = Family(hash(head), first)
        for raw in metrics:
            decoded = decode_metric(raw, head, self._parser.rules)
            if decoded is None:
                family.metrics.append(Known(hash(raw), 0, (), NO_TIMESTAMP, 0, b""))
                continue
            place = len(self._numbers)
            self._numbers += self._numbers_of(decoded.key)
            self._columns.add(decoded, place)
            self._columns.exemplars += [(place, e) for e in decoded.exemplars]
            if offsets is None:
                family.metrics.append(known_of(raw, decoded))
        if len(self._numbers) > self._parser.limits.series_max:
            raise WireError(f"more than {self._parser.limits.series_max} series")
        if offsets is None or len(offsets) != len(metrics):
            self._entries.append(family)
        else:
            self._add_plain(at, start, end, offsets, first)

    def _add_plain(self, at: int, start: int, end: int, offsets: list[int], first: int) -> None:
        last = self._entries[-1] if self._entries else None
        if isinstance(last, Run):
            self._entries[-1] = Run(last.size + end - at)
        else:
            self._entries.append(Run(end - at))
        before = self._run_bytes + start - at
        self._offsets += [before + offset for offset in offsets]
        self._plain_places += range(first, first + len(offsets))
        self._runs.append(self._body[at:end])
        self._run_bytes += end - at

    def _numbers_of(self, key: Key) -> tuple[int, ...]:
        """Return the numbers of the series of a metric, new ones where it is not known."""
        numbers = self._known.get(key)
        if numbers is None:
            labels = list(series_of(key))
            numbers = tuple([self._next_number() for _ in labels])
            self._new.update(zip(numbers, labels, strict=True))
            self._known[key] = numbers
        self._present[key] = numbers
        return numbers

    def _next_number(self) -> int:
        if self._from_free < len(self._free):
            self._from_free += 1
            return self._free[self._from_free - 1]
        if self._end >= self._parser.limits.series_max:
            raise WireError(f"more than {self._parser.limits.series_max} series")
        self._end += 1
        return self._end - 1


def read_family(data: bytes) -> tuple[FamilyHead, list[bytes]]:
    """Return a family and its metrics, not decoded; raises `WireError`."""
    try:
        family = FamilyRead.FromString(data)
    except DecodeError:
        raise WireError("malformed metric family") from None
    if len(family.metric) > METRICS_MAX:
        raise WireError(f"more than {METRICS_MAX} metrics in a family")
    return FamilyHead(family.name, family.type, family.help, family.unit), list(family.metric)


def known_of(raw: bytes, decoded: Decoded) -> Known:
    """Return what is remembered of a metric."""
    return Known(hash(raw), hash(decoded.key), decoded.values, decoded.time_ms, decoded.start_ms, decoded.histogram)


def _checked_name(head: FamilyHead) -> str:
    """Return the name of a family; raises `WireError` for what Prometheus refuses."""
    try:
        name = head.name.decode()
    except UnicodeDecodeError:
        name = ""
    if not name:
        raise WireError(f"invalid metric name: {head.name!r}")
    try:
        head.help.decode()
    except UnicodeDecodeError:
        raise WireError(f'invalid help for metric "{name}": not UTF-8') from None
    if head.type not in TYPES:
        raise WireError(f'unknown metric type for metric "{name}": {head.type}')
    unit = head.unit.decode("utf-8", "replace")
    stem, what = (name.removesuffix("_total"), "counter") if head.type == COUNTER else (name, "metric")
    if unit and not stem.endswith("_" + unit):
        raise WireError(f'unit "{unit}" not a suffix of {what} "{name}"')
    return name


def _parsed(
    numbers: NDArray[np.int32],
    values: NDArray[np.float64],
    plain_starts: NDArray[np.int64] | None,
    columns: _Columns,
    metadata: Mapping[str, MetricMetadata],
    new: Mapping[int, Labels],
) -> Parsed:
    """Return the columns of a body.  values: those of plain families are in place already."""
    places = np.array(columns.places, np.int64)
    values[places] = columns.values
    values = without_handles(values)
    times = starts = None
    if any(t != NO_TIMESTAMP for t in columns.times):
        times = np.full(len(numbers), NO_TIMESTAMP, np.int64)
        times[places] = columns.times
    if plain_starts is not None or any(columns.starts):
        starts = np.zeros(len(numbers), np.int64) if plain_starts is None else plain_starts.copy()
        starts[places] = columns.starts
    histograms: Histograms | None = None
    if columns.blobs:
        histograms = from_blobs(columns.blobs)
        values[columns.blob_places] = handles(0, len(columns.blobs))
    exemplars = tuple(
        Exemplar(int(numbers[place + i]), labels, value, time)
        for place, (i, labels, value, time) in columns.exemplars
        if sum(len(n) + len(v) for n, v in labels) <= EXEMPLAR_CHARACTERS_MAX
    )
    return Parsed(numbers, values, times, metadata, exemplars, new, histograms, starts)
