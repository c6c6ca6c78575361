"""The JSON of the first TinyObs: `{"metrics":[{"name":...,"type":...,"value":...,"labels":{...},"timestamp":...}]}`.

A body is all or nothing: the first metric that cannot be taken is a `V1Fault` with its index.  What a series is called is
looked at once and remembered (`V1Decoder`), which also counts series against the limits.  Page: docs/receivers/v1-api.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson
from attrs import field, frozen
from numpy.typing import NDArray

from ..model.labels import NAME, Labels
from ..model.metadata import MetricMetadata, MetricType
from ..model.registry import SeriesRegistry
from .v1_times import ZERO_MS, TimeReader

TYPES: Final[Mapping[str, MetricType]] = {
    "counter": MetricType.COUNTER,
    "gauge": MetricType.GAUGE,
    "histogram": MetricType.HISTOGRAM,
}
HISTOGRAM_PARTS: Final = ("_bucket", "_sum", "_count")
"""What the names of the series of a histogram end in."""
FORGET_MS: Final = 24 * 3_600_000
"""Series that were not pushed for so long are forgotten, and do not count any more."""
SWEEP_MS: Final = 3_600_000
"""How often they are looked for."""

Key = tuple[Any, ...]
"""Name, type, and the pairs of labels as they were sent."""


class V1Fault(Exception):
    """A body that cannot be taken; `index` is that of the metric, -1 for the whole."""

    def __init__(self, message: str, index: int = -1) -> None:
        self.index = index
        super().__init__(message if index < 0 else f"Invalid metric at index {index}: {message}")


class SeriesLimit(Exception):
    """There is no room for another series."""


@frozen
class V1Limits:
    """What a body may have; lengths in bytes."""

    metrics_max: int = 1000
    labels_max: int = 20
    name_bytes_max: int = 256
    label_name_bytes_max: int = 256
    label_value_bytes_max: int = 1024
    series_max: int = 100_000
    series_per_metric_max: int = 10_000


@frozen(eq=False)
class Decoded:
    """refs, times_ms, values: of the metrics, in order.  deltas: positions of those that say what was added since the last time.

    metadata: families whose type is not known to be stored.
    """

    refs: NDArray[np.uint32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    deltas: NDArray[np.int64]
    metadata: Mapping[str, MetricMetadata] = field(factory=dict)

    def __len__(self) -> int:
        return len(self.refs)


def load_metrics(body: bytes, metrics_max: int) -> list[Any]:
    """Return the list `metrics` of a body; raises `V1Fault`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise V1Fault(f"Invalid JSON: {e}") from None
    metrics = document.get("metrics") if isinstance(document, dict) else document
    if metrics is None:
        return []
    if not isinstance(metrics, list) or metrics is document:
        raise V1Fault('Invalid JSON: not an object with a list "metrics"')
    if metrics_max and len(metrics) > metrics_max:
        raise V1Fault(f"too many metrics in request (max {metrics_max}): {len(metrics)}")
    return metrics


def labels_of(metric: Any, limits: V1Limits, extra: Labels = ()) -> Labels:
    """Return the labels of a metric, its name with them, within the limits; raises `ValueError`.

    extra: labels that are added, in the place of those of the same names.
    """
    if not isinstance(metric, dict):
        raise ValueError("a metric is an object")
    name, labels = metric.get("name"), metric.get("labels")
    if not isinstance(name, str | None):
        raise ValueError("metric name must be a text")
    if not name:
        raise ValueError("metric name cannot be empty")
    if _is_longer(name, limits.name_bytes_max):
        raise ValueError(f"metric name too long (max {limits.name_bytes_max} bytes): {name[:80]!r}")
    if metric.get("type") not in (None, "", *TYPES):
        raise ValueError(f"type must be counter, gauge or histogram, not {str(metric['type'])[:80]!r}")
    if not isinstance(labels, dict | None):
        raise ValueError("labels is an object of texts")
    found: dict[str, str] = {}
    if labels:
        if len(labels) > limits.labels_max:
            raise ValueError(f"too many labels (max {limits.labels_max}): metric {name[:80]!r} has {len(labels)}")
        for key, value in labels.items():
            _check_label(key, value, limits)
        found.update(labels)
    found.update(extra)
    found[NAME] = name
    return tuple(sorted((key, value) for key, value in found.items() if value))


class V1Decoder:
    """Decodes bodies.  Not thread-safe: one call at a time.

    Remembers how each series was called; what is remembered is bounded by `limits.series_max`, and a series beyond that is
    refused, as the first TinyObs does.
    """

    def __init__(self, registry: SeriesRegistry, limits: V1Limits, *, with_deltas: bool = True) -> None:
        self.limits = limits
        self._registry = registry
        self._with_deltas = with_deltas
        self._slots: dict[Key, int] = {}
        self._keys: list[Key | None] = []
        self._refs = np.empty(1024, np.uint32)
        self._is_delta = np.empty(1024, np.bool_)
        self._seen_ms = np.empty(1024, np.int64)
        self._free: list[int] = []
        self._by_name: dict[str, int] = {}
        self._untold: dict[str, MetricMetadata] = {}
        self._told: dict[str, MetricMetadata] = {}
        self._times = TimeReader()
        self._sweep_at_ms = 0

    @property
    def series_count(self) -> int:
        """Series remembered."""
        return len(self._slots)

    def take(self, metrics: list[Any], extra: Labels, now_ms: int) -> Decoded:
        """Return what metrics say; raises `V1Fault` or `SeriesLimit`, and remembers nothing then.

        now_ms: the time of those without one.
        """
        self._sweep(now_ms)
        fresh = _Fresh()
        slots: list[int] = []
        times: list[int] = []
        values: list[float] = []
        find, read = self._slots.get, self._times.read
        for index, metric in enumerate(metrics):
            try:
                labels = metric.get("labels")
                key = (
                    (metric["name"], metric.get("type"), *labels.items(), *extra)
                    if labels
                    else (metric["name"], metric.get("type"), *extra)
                )
                slot = find(key)
            except (AttributeError, KeyError, TypeError):
                key, slot = None, None
            try:
                slots.append(self._fresh(key, metric, extra, fresh) if slot is None else slot)
                value, stamp = metric.get("value", 0.0), metric.get("timestamp")
                if type(value) is not float and type(value) is not int:
                    raise ValueError("value must be a number")
                values.append(value)
                time_ms = ZERO_MS if stamp is None else read(stamp)
                times.append(now_ms if time_ms == ZERO_MS else time_ms)
            except (ValueError, TypeError) as e:
                message = str(e) if isinstance(e, ValueError) else "timestamp must be a text"
                raise V1Fault(message, index) from None
        return self._decoded(np.array(slots, np.int64), fresh, times, values, now_ms)

    def told(self, metadata: Mapping[str, MetricMetadata]) -> None:
        """Note that metadata is stored."""
        for family, one in metadata.items():
            self._told[family] = one
            if self._untold.get(family) == one:
                del self._untold[family]

    def _decoded(
        self, slots: NDArray[np.int64], fresh: _Fresh, times: list[int], values: list[float], now_ms: int
    ) -> Decoded:
        if fresh.labels:
            given = self._commit(fresh)
            is_new = slots < 0
            slots[is_new] = given[-1 - slots[is_new]]
        self._seen_ms[slots] = now_ms
        return Decoded(
            self._refs[slots],
            np.array(times, np.int64),
            np.array(values, np.float64),
            np.flatnonzero(self._is_delta[slots]),
            dict(self._untold),
        )

    def _fresh(self, key: Key | None, metric: Any, extra: Labels, fresh: _Fresh) -> int:
        """Return a number for a series that is not remembered: -1, -2, ...; raises `ValueError` or `SeriesLimit`."""
        labels = labels_of(metric, self.limits, extra)
        assert key is not None  # what has labels can be a key
        number = fresh.numbers.get(key)
        if number is not None:
            return number
        name, limits = metric["name"], self.limits
        if limits.series_max and len(self._slots) + len(fresh.labels) >= limits.series_max:
            raise SeriesLimit(f"cardinality limit exceeded (max {limits.series_max} unique series)")
        of_name = self._by_name.get(name, 0) + fresh.by_name.get(name, 0)
        if limits.series_per_metric_max and of_name >= limits.series_per_metric_max:
            raise SeriesLimit(
                f"metric cardinality limit exceeded (max {limits.series_per_metric_max} series per metric): {name!r}"
            )
        fresh.by_name[name] = fresh.by_name.get(name, 0) + 1
        fresh.labels.append(labels)
        number = fresh.numbers[key] = -len(fresh.labels)
        return number

    def _commit(self, fresh: _Fresh) -> NDArray[np.int64]:
        """Remember new series; return their slots."""
        refs = self._registry.intern_many(fresh.labels, gated=False)  # bounded by limits of its own
        slots = []
        for (key, number), ref in zip(fresh.numbers.items(), refs.tolist(), strict=True):
            if self._free:
                slot = self._free.pop()
            else:
                slot = len(self._keys)
                self._keys.append(None)
                if slot == len(self._refs):
                    self._grow()
            # The texts of the registry, so that each is there once.
            pairs = self._registry.labels(ref)
            shared = dict(zip(fresh.labels[-number - 1], pairs, strict=True))
            name, type_ = dict(pairs)[NAME], sys.intern(key[1]) if key[1] else key[1]
            self._refs[slot] = ref
            self._is_delta[slot] = self._with_deltas and type_ == "histogram" and name.endswith(HISTOGRAM_PARTS)
            own = self._keys[slot] = (name, type_, *[shared.get(p, p) for p in key[2:]])
            self._slots[own] = slot
            self._by_name[name] = self._by_name.get(name, 0) + 1
            self._note_type(name, type_)
            slots.append(slot)
        return np.array(slots, np.int64)

    def _note_type(self, name: str, type_: str | None) -> None:
        if type_:
            family = family_of(name, type_)
            one = MetricMetadata(TYPES[type_])
            if self._told.get(family) != one:
                self._untold[family] = one

    def _grow(self) -> None:
        self._refs = np.concatenate((self._refs, self._refs))
        self._is_delta = np.concatenate((self._is_delta, self._is_delta))
        self._seen_ms = np.concatenate((self._seen_ms, self._seen_ms))

    def _sweep(self, now_ms: int) -> None:
        """Forget series that were not pushed for long."""
        if now_ms < self._sweep_at_ms:
            return
        self._sweep_at_ms = now_ms + SWEEP_MS
        for slot in np.flatnonzero(self._seen_ms[: len(self._keys)] < now_ms - FORGET_MS).tolist():
            key = self._keys[slot]
            if key is not None:
                self._keys[slot] = None
                self._free.append(slot)
                del self._slots[key]
                self._by_name[key[0]] -= 1
                if not self._by_name[key[0]]:
                    del self._by_name[key[0]]


class _Fresh:
    """Series of one body that are not remembered: key -> -1, -2, ... in the order of `labels`."""

    def __init__(self) -> None:
        self.numbers: dict[Key, int] = {}
        self.labels: list[Labels] = []
        self.by_name: dict[str, int] = {}


def family_of(name: str, type_: str) -> str:
    """Return the family of a metric, which has the type."""
    if type_ == "histogram":
        for part in HISTOGRAM_PARTS:
            if name.endswith(part) and len(name) > len(part):
                return name.removesuffix(part)
    return name


def _check_label(key: Any, value: Any, limits: V1Limits) -> None:
    if not key:
        raise ValueError("label name cannot be empty")
    if key == NAME:
        raise ValueError(f"the label {NAME} is the metric's name")
    if not isinstance(value, str):
        raise ValueError(f"the value of label {key[:80]!r} must be a text")
    if _is_longer(key, limits.label_name_bytes_max):
        raise ValueError(f"label key too long (max {limits.label_name_bytes_max} bytes): {key[:80]!r}")
    if _is_longer(value, limits.label_value_bytes_max):
        raise ValueError(f"label value too long (max {limits.label_value_bytes_max} bytes): that of {key[:80]!r}")


def _is_longer(text: str, bytes_max: int) -> bool:
    return bool(bytes_max) and len(text) * 4 > bytes_max and len(text.encode()) > bytes_max
