"""Series of a text body that belong together, folded into one: classic histograms into native ones with custom buckets,
and `_created` series into the start times of the series that they speak of.

Which series belong together is decided once for each structure of bodies.  Rules: prometheus model/textparse/nhcbparse.go
(only families of TYPE histogram; series that have no number as bound stay) and openmetricsparse.go (`_created` of counters,
histograms and summaries).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from attrs import Factory, define, evolve, field, frozen
from numpy.typing import NDArray

from ..model.histograms import from_blobs, handles, pack
from ..model.labels import NAME, Labels, drop, from_pairs, metric_name
from ..model.metadata import MetricType
from .custom_buckets import custom_histogram
from .floats import parse_float
from .formats import Format
from .histogram_rules import HistogramRules
from .lexing import BOUND_LABEL
from .scrape_parser import Exemplar, Parsed, ScrapeParser
from .tails import NO_TIMESTAMP

I64 = NDArray[np.int64]
GroupKey = tuple[str, Labels]
"""(name of the family, labels but those of the single series)."""

_HISTOGRAM: Final = ("_bucket", "_count", "_sum")
_MEMBERS: Final = ("", "_total", *_HISTOGRAM)
_COUNTING: Final = (MetricType.COUNTER, MetricType.HISTOGRAM, MetricType.SUMMARY)
_MILLISECONDS_MAX: Final = 2.0**62


@define
class _Group:
    """A classic histogram: places of its samples in the body; -1 where there is none."""

    number: int
    bounds: list[float] = Factory(list)
    buckets: list[int] = Factory(list)
    count: int = -1
    sum: int = -1
    places: I64 = Factory(lambda: np.empty(0, np.int64))
    seen: bytes = b""
    """The values it was made of last, and the histogram, b"" where there is none."""
    packed: bytes = b""

    def convert(self, values: NDArray[np.float64]) -> bytes:
        """Return the packed histogram of a body, b"" where there is none."""
        own = values[self.places].tobytes()
        if own != self.seen:
            buckets = zip(self.bounds, values[self.buckets].tolist(), strict=True)
            count = float(values[self.count]) if self.count >= 0 else None
            made = custom_histogram(buckets, count, float(values[self.sum]) if self.sum >= 0 else 0.0)
            self.seen, self.packed = own, b"" if made is None else pack(made)
        return self.packed


@frozen(eq=False)
class _Plan:
    """What to do with bodies of one structure.

    series: the numbers it is for.  kept: places of samples that stay.  started: places of samples with a start time, and
    `created` for each of them the place of the sample that tells it.
    """

    series: NDArray[np.int32]
    kept: I64
    groups: tuple[_Group, ...]
    started: I64
    created: I64
    group_of: Mapping[int, int]
    """The number of a classic series -> that of its histogram."""


class FoldingParser:
    """Reads bodies as a `ScrapeParser` does, and folds.  Numbers of its own: even for single series, odd for histograms."""

    def __init__(self, parser: ScrapeParser, rules: HistogramRules, *, created: bool) -> None:
        self._parser, self._rules, self._created = parser, rules, created
        self._labels: dict[int, Labels] = {}
        """Of all numbers that the parser has given out; it gives those that are free out again."""
        self._types: dict[str, MetricType] = {}
        self._numbers: dict[GroupKey, int] = {}
        """Of the histograms of the last structure."""
        self._plan: _Plan | None = None

    @property
    def format(self) -> Format:
        """The format of the bodies."""
        return self._parser.format

    def parse(self, body: bytes) -> Parsed:
        """Return the samples of a body; raises `ExpositionError` where any line is malformed."""
        parsed = self._parser.parse(body)
        self._labels.update(parsed.new)
        types = {name: m.type for name, m in parsed.metadata.items()}
        changed = any(self._types.get(name) is not type_ for name, type_ in types.items())
        self._types.update(types)
        new = {2 * number: labels for number, labels in parsed.new.items()}
        plan = self._plan
        if plan is None or changed or parsed.new or not _same(plan.series, parsed.series):
            before = self._numbers
            plan = self._plan = self._planned(parsed.series)
            for key, number in self._numbers.items():
                if before.get(key) != number:
                    new[2 * number + 1] = from_pairs([*key[1], (NAME, key[0])])
        return _folded(parsed, plan, new)

    def _planned(self, series: NDArray[np.int32]) -> _Plan:
        numbers = series.tolist()
        members: dict[GroupKey, list[int]] = {}
        created: dict[GroupKey, int] = {}
        groups: dict[GroupKey, _Group] = {}
        gone = set()
        group_of = {}
        taken = _Numbers(self._numbers)
        for place, number in enumerate(numbers):
            labels = self._labels[number]
            name = metric_name(labels)
            if self._created:
                if (started := self._key(name, labels, ("_created",))) is not None:
                    created[started] = place
                    gone.add(place)
                    continue
                if (counting := self._key(name, labels, _MEMBERS)) is not None:
                    members.setdefault(counting, []).append(place)
            key = self._histogram_of(name, labels)
            if key is not None:
                group = groups.get(key)
                if group is None:
                    group = groups[key] = _Group(taken.of(key))
                _add(group, name, labels, place)
                group_of[number] = group.number
                if not self._rules.always_classic:
                    gone.add(place)
        self._numbers = {key: group.number for key, group in groups.items()}
        for i, (key, group) in enumerate(groups.items()):
            group.places = np.array([*group.buckets, *(p for p in (group.count, group.sum) if p >= 0)], np.int64)
            if key in created:  # a histogram starts when its series do
                members[key].append(len(numbers) + i)
        kept = np.array([place for place in range(len(numbers)) if place not in gone], np.int64)
        pairs = [(place, at) for key, at in created.items() for place in members.get(key, ())]
        started_at, told_at = np.array(pairs, np.int64).reshape(-1, 2).T
        return _Plan(series, kept, tuple(groups.values()), started_at, told_at, group_of)

    def _key(self, name: str, labels: Labels, suffixes: tuple[str, ...]) -> GroupKey | None:
        """Return the key of the counting family that a series with one of the suffixes belongs to."""
        for suffix in suffixes:
            base = name.removesuffix(suffix)
            type_ = self._types.get(base) if base != name or not suffix else None
            if type_ in _COUNTING:
                return base, drop(labels, {NAME, BOUND_LABEL.get(type_, NAME)})
        return None

    def _histogram_of(self, name: str, labels: Labels) -> GroupKey | None:
        """Return the key of the classic histogram that a series is a part of."""
        if not self._rules.convert or not name.endswith(_HISTOGRAM):
            return None
        base, _, suffix = name.rpartition("_")
        if self._types.get(base) is not MetricType.HISTOGRAM or (suffix == "bucket" and _bound(labels) is None):
            return None
        return base, drop(labels, {NAME, "le"})


@define
class _Numbers:
    """Numbers of histograms: known ones keep theirs, new ones get the lowest that is free."""

    known: Mapping[GroupKey, int]
    _used: set[int] = field(init=False)
    _next: int = 0

    def __attrs_post_init__(self) -> None:
        self._used = set(self.known.values())

    def of(self, key: GroupKey) -> int:
        number = self.known.get(key)
        if number is None:
            while self._next in self._used:
                self._next += 1
            number = self._next
            self._used.add(number)
        return number


def _add(group: _Group, name: str, labels: Labels, place: int) -> None:
    bound = _bound(labels) if name.endswith("_bucket") else None
    if bound is not None:
        group.bounds.append(bound)
        group.buckets.append(place)
    elif name.endswith("_count"):
        group.count = place
    else:
        group.sum = place


def _bound(labels: Labels) -> float | None:
    """Return the bound of a bucket, None where it has none."""
    for name, value in labels:
        if name == "le":
            try:
                bound = parse_float(value.encode())
            except ValueError:
                return None
            return None if math.isnan(bound) else bound
    return None


def _same(a: NDArray[np.int32], b: NDArray[np.int32]) -> bool:
    return a is b or np.array_equal(a, b)


def _folded(parsed: Parsed, plan: _Plan, new: Mapping[int, Labels]) -> Parsed:
    """Return a body of the structure of a plan, folded."""
    values, times = parsed.values, parsed.timestamps_ms
    blobs = [group.convert(values) for group in plan.groups]
    made = [i for i, blob in enumerate(blobs) if blob]
    starts = None
    if len(plan.started):
        starts = np.zeros(len(values) + len(blobs), np.int64)
        starts[plan.started] = _milliseconds(values[plan.created])
        starts = np.concatenate([starts[plan.kept], starts[len(values) :][made]])
    numbers = [2 * plan.groups[i].number + 1 for i in made]
    series = np.concatenate([parsed.series[plan.kept] * np.int32(2), np.array(numbers, np.int32)])
    if times is not None:
        own = [int(times[plan.groups[i].places[-1]]) for i in made]
        times = np.concatenate([times[plan.kept], np.array(own, np.int64)])
        times = times if (times != NO_TIMESTAMP).any() else None
    return evolve(
        parsed,
        series=series,
        values=np.concatenate([values[plan.kept], handles(0, len(made))]),
        timestamps_ms=times,
        exemplars=tuple(_exemplars(parsed.exemplars, plan)),
        new=new,
        histograms=from_blobs([blobs[i] for i in made]) if made else None,
        starts_ms=starts,
    )


def _exemplars(exemplars: Iterable[Exemplar], plan: _Plan) -> Iterable[Exemplar]:
    """Yield exemplars for the series that are left; those of native histograms need a time."""
    if not exemplars:
        return
    left = set(plan.series[plan.kept].tolist())
    moved = []
    for e in exemplars:
        if e.series in left:
            yield evolve(e, series=2 * e.series)
        if e.series in plan.group_of and e.timestamp_ms is not None:
            moved.append(evolve(e, series=2 * plan.group_of[e.series] + 1))
    yield from sorted(moved, key=lambda e: e.timestamp_ms or 0)


def _milliseconds(seconds: NDArray[np.float64]) -> I64:
    """Return start times in ms; what is no time is 0, which stands for none."""
    with np.errstate(over="ignore"):
        ms = seconds * 1000
    return np.where(np.abs(ms) < _MILLISECONDS_MAX, ms, 0.0).astype(np.int64)
