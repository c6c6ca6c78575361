"""Series as Datadog's agent and libraries send them -> samples: API v1 (JSON), v2 (JSON and protobuf), and distributions.

    v1  {"series":[{"metric":"a.b","points":[[1700000000,1.5]],"tags":["env:prod"],"host":"h","device":"d","type":"gauge"}]}
    v2  {"series":[{"metric":"a.b","points":[{"timestamp":1700000000,"value":1.5}],"tags":["env:prod"],
                    "resources":[{"type":"host","name":"h"}],"type":3}]}
    distribution_points  as v1, each point with a list of values in the place of one

Times are seconds.  Host, device and resources become labels; a tag becomes a label, one without a colon has the value
`no_label_value`; a tag of a name that is taken by them is `exported_<name>`, both as in VictoriaMetrics.  Values are kept as
they are: a count says how many there were since the last one, a rate how many a second.  Sketches and lists of values become
histograms (`distributions.py`).
Sources: docs.datadoghq.com "Submit metrics", docs.victoriametrics.com "DataDog".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import orjson
from attrs import define, field
from google.protobuf.message import DecodeError
from tinyobs.errors import WireError
from tinyobs.exposition.floats import printable
from tinyobs.exposition.names import plain_label_name, plain_metric_name
from tinyobs.exposition.pushed import Faults, Pushed
from tinyobs.model.batch import Batch
from tinyobs.model.gate import STAND_INS
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import NAME, Labels, from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry

from .distributions import histogram_of_sketch, histogram_of_values
from .wire import MetricPayload, SketchPayload

MALFORMED: Final = "malformed"
NO_VALUE: Final = "no_label_value"
SERIES_MAX: Final = 1_000_000
"""Series remembered by how they were written; beyond that all are forgotten, and come back when they are seen."""
KEYS_BYTES_MAX: Final = 128 << 20
"""The bytes of how they were written likewise: one series may have many long spellings."""
TIME_SECONDS_MAX: Final = 2.0**53 / 1000

Pairs = Sequence[tuple[str, str]]


@define
class SeriesReader:
    """Reads bodies.  One thread at a time.  keep_names: names stay; else `_` stands for what Prometheus could not have."""

    registry: SeriesRegistry
    keep_names: bool = False
    extra: Labels = ()
    series_max: int = SERIES_MAX
    _refs: dict[Hashable, int] = field(factory=dict)
    _refs_bytes: int = 0

    def v1(self, body: bytes) -> Pushed:
        """Return the samples of a body of API v1; raises `WireError`."""
        return self._read(_json(body), self._of_v1)

    def v2(self, body: bytes) -> Pushed:
        """Return the samples of a JSON body of API v2; raises `WireError`."""
        return self._read(_json(body), self._of_v2)

    def v2_protobuf(self, body: bytes) -> Pushed:
        """Return the samples of a protobuf body of API v2; raises `WireError`."""
        return self._read(_message(MetricPayload, body).series, self._of_message)

    def sketches(self, body: bytes) -> Pushed:
        """Return the histograms of a body of sketches; raises `WireError`."""
        return self._read(_message(SketchPayload, body).sketches, self._of_sketch)

    def distribution_points(self, body: bytes) -> Pushed:
        """Return the histograms of a body of API v1 with lists of values; raises `WireError`."""
        return self._read(_json(body), self._of_values)

    def _read(self, series: Iterable[Any], take: Callable[[Any, _Samples], None]) -> Pushed:
        samples = _Samples()
        for index, one in enumerate(series):
            samples.index = index
            try:
                take(one, samples)
            except (ValueError, OverflowError) as e:
                samples.faults.add(MALFORMED, f"series {index}: {e}")
        return samples.pushed()

    def _of_v1(self, one: Any, samples: _Samples) -> None:
        ref, points = self._head_of_v1(one)
        for number, point in enumerate(points):
            samples.try_to(number, samples.add, ref, *_pair(point))

    def _of_values(self, one: Any, samples: _Samples) -> None:
        ref, points = self._head_of_v1(one)
        for number, point in enumerate(points):
            time, values = _pair(point)
            samples.try_to(number, lambda t=time, v=values: samples.add_histogram(ref, t, histogram_of_values(v)))

    def _head_of_v1(self, one: Any) -> tuple[int, list[Any]]:
        """Return the series and its points."""
        found = _object(one, "a series")
        fixed = [(k, _text(found[k], k)) for k in ("host", "device") if found.get(k)]
        points = _list(found.get("points"), "points")
        return self._ref(_text(found.get("metric"), "metric"), fixed, _list(found.get("tags") or [], "tags")), points

    def _of_v2(self, one: Any, samples: _Samples) -> None:
        found = _object(one, "a series")
        resources = [_object(r, "a resource") for r in _list(found.get("resources") or [], "resources")]
        fixed = [
            (_text(r["type"], "type"), _text(r["name"], "name")) for r in resources if r.get("type") and r.get("name")
        ]
        metric, points = _text(found.get("metric"), "metric"), _list(found.get("points"), "points")
        ref = self._ref(metric, fixed, _list(found.get("tags") or [], "tags"))
        for number, point in enumerate(points):
            time, value = (point.get("timestamp"), point.get("value")) if isinstance(point, dict) else (None, None)
            samples.try_to(number, samples.add, ref, time, value)
        self._describe(metric, found.get("unit"), samples)

    def _of_message(self, one: Any, samples: _Samples) -> None:
        ref = self._ref(one.metric, [(r.type, r.name) for r in one.resources if r.type and r.name], one.tags)
        for number, point in enumerate(one.points):
            samples.try_to(number, samples.add, ref, point.timestamp, point.value)
        self._describe(one.metric, one.unit, samples)

    def _of_sketch(self, one: Any, samples: _Samples) -> None:
        ref = self._ref(one.metric, [("host", one.host)] if one.host else (), one.tags)
        for number, sketch in enumerate(one.dogsketches):
            samples.try_to(number, lambda s=sketch: samples.add_histogram(ref, s.ts, histogram_of_sketch(s)))

    def _describe(self, metric: str, unit: Any, samples: _Samples) -> None:
        """Take note of a unit; types of Datadog are none of Prometheus."""
        if isinstance(unit, str) and unit:
            samples.metadata[self._metric(metric)] = MetricMetadata(MetricType.UNKNOWN, "", unit)

    def _metric(self, name: str) -> str:
        return name if self.keep_names else plain_metric_name(name)

    def _ref(self, metric: str, fixed: Pairs, tags: Sequence[Any]) -> int:
        key = (metric, tuple(fixed), tuple(tags))
        try:
            ref = self._refs.get(key)
        except TypeError:
            raise ValueError("a tag must be a text") from None
        if ref is None:
            ref = self.registry.intern(self._labels(metric, fixed, tags))
            if ref < STAND_INS:
                if len(self._refs) >= self.series_max or self._refs_bytes > KEYS_BYTES_MAX:
                    self._refs.clear()
                    self._refs_bytes = 0
                self._refs[key] = ref
                self._refs_bytes += len(metric) + sum(map(len, tags)) + sum(len(k) + len(v) for k, v in fixed)
        return ref

    def _labels(self, metric: str, fixed: Pairs, tags: Sequence[Any]) -> Labels:
        if not metric:
            raise ValueError("a series has no metric")
        found = {self._label(name): value for name, value in fixed}
        taken = {self._label(name) for name, _ in fixed}
        for tag in tags:
            if not isinstance(tag, str):
                raise ValueError(f"a tag must be a text, not {printable(repr(tag).encode())}")
            name, colon, value = tag.lstrip(":").partition(":")
            if not name:
                continue
            label = self._label(name)
            found[f"exported_{label}" if label in taken else label] = value if colon else NO_VALUE
        found.update(self.extra)
        found[NAME] = self._metric(metric)
        return from_mapping({name: value for name, value in found.items() if value})

    def _label(self, name: str) -> str:
        return name if self.keep_names else plain_label_name(name)


@define
class _Samples:
    """Samples so far, and what was wrong with others."""

    refs: list[int] = field(factory=list)
    times_ms: list[int] = field(factory=list)
    values: list[float] = field(factory=list)
    metadata: dict[str, MetricMetadata] = field(factory=dict)
    faults: Faults = field(factory=Faults)
    histograms: list[tuple[int, Histogram]] = field(factory=list)
    index: int = 0
    """The series that is read."""

    def try_to(self, number: int, add: Callable[..., None], *arguments: Any) -> None:
        """Add point `number` of a series; one that cannot be read costs no other."""
        try:
            add(*arguments)
        except (ValueError, OverflowError) as e:
            self.faults.add(MALFORMED, f"series {self.index}, point {number}: {e}")

    def add_histogram(self, ref: int, seconds: Any, histogram: Histogram | None) -> None:
        """Add a histogram, if there is one; raises `ValueError` where its time is none."""
        if histogram is not None:
            self.add(ref, seconds, 0.0)
            self.histograms.append((len(self.refs) - 1, histogram))

    def add(self, ref: int, seconds: Any, value: Any) -> None:
        """Add a sample; raises `ValueError` where its time or value is none."""
        for number in (seconds, value):
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError("a point must have a time and a value, both numbers")
        if not abs(seconds) <= TIME_SECONDS_MAX:
            raise ValueError(f"a time that cannot be: {seconds}")
        number = float(value)
        if math.isnan(number):
            raise ValueError("a value that is not a number")
        self.refs.append(ref)
        self.times_ms.append(round(seconds * 1000))
        self.values.append(number)

    def pushed(self) -> Pushed:
        """Return all."""
        values, table = np.array(self.values, np.float64), None
        if self.histograms:
            places, histograms = zip(*self.histograms, strict=True)
            values[list(places)] = handles(0, len(places))
            table = histograms_of(histograms)
        batch = Batch(
            np.array(self.refs, np.uint32),
            np.array(self.times_ms, np.int64),
            values,
            "datadog",
            self.metadata,
            histograms=table,
        )
        return self.faults.pushed(batch)


def _json(body: bytes) -> list[Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise WireError(f"not JSON: {e.msg}", e.pos) from None
    series = found.get("series") if isinstance(found, dict) else None
    if not isinstance(series, list):
        raise WireError('a body is an object with a list "series"')
    return series


def _message(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise WireError(f"the body is no {kind.DESCRIPTOR.name} of protobuf") from None


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{what} must be an object")
    return found


def _pair(point: Any) -> tuple[Any, Any]:
    """Return time and value of a point of API v1, nothing for what is no such point."""
    return (point[0], point[1]) if isinstance(point, list) and len(point) == 2 else (None, None)


def _list(found: Any, what: str) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"{what} must be a list")
    return found


def _text(found: Any, what: str) -> str:
    if not isinstance(found, str) or not found:
        raise ValueError(f"{what} must be a text that is not empty")
    return found
