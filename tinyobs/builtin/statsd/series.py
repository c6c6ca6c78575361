"""The series that lines made, by number: what is known of each, in columns.

A number is given again after its series has expired.  What a metric name is (counter, gauge, ...) the first series of it
decides; another kind of the same name, or of a name that a summary or histogram needs, is refused while that lives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...model.labels import NAME, Labels, metric_name
from ...model.registry import SeriesRegistry
from .mapper import Definition, Family

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

LIMIT: Final = -2
CONFLICT: Final = -3
"""Instead of a number: there are too many series, or the name is another kind of metric."""

_PARTS: Final = {
    Family.CLASSIC: ("_bucket", "_sum", "_count"),
    Family.SUMMARY: ("_sum", "_count"),
}
_FIRST_SIZE: Final = 1024


class SeriesTable:
    """Series and their columns; the columns are replaced when they grow.

    values: of a counter its total, of a gauge its value, else the sum of observations.  counts: of observations.
    touched_ms: when a line came last.
    """

    def __init__(self, registry: SeriesRegistry, series_max: int) -> None:
        self._registry, self._series_max = registry, series_max
        self._number_of: dict[Labels, int] = {}
        self._free: list[int] = []
        self._owners: dict[str, tuple[str, Family]] = {}
        self._living: dict[str, int] = {}
        self._unnamed: list[int] = []
        self.labels: list[Labels] = []
        self.definitions: list[Definition | None] = []
        self.refs: list[NDArray[np.uint32]] = []
        """The series that are stored for each: one, or those of a classic histogram or summary; none before `intern`."""
        self.first_refs = np.zeros(_FIRST_SIZE, np.uint32)
        """The first of those."""
        self.fresh: list[int] = []
        """Numbers that were given; whoever describes them takes them out."""
        self.families = np.full(_FIRST_SIZE, -1, np.int8)
        """The `Family` of each, -1 for none."""
        self.values: F64 = np.zeros(_FIRST_SIZE)
        self.counts: F64 = np.zeros(_FIRST_SIZE)
        self.touched_ms: I64 = np.zeros(_FIRST_SIZE, np.int64)
        self.starts_ms: I64 = np.zeros(_FIRST_SIZE, np.int64)
        self.ttls_ms: I64 = np.zeros(_FIRST_SIZE, np.int64)
        self.schemas = np.zeros(_FIRST_SIZE, np.int8)
        self.buckets_max = np.zeros(_FIRST_SIZE, np.int32)

    def __len__(self) -> int:
        return len(self._number_of)

    @property
    def size(self) -> int:
        """One more than the largest number."""
        return len(self.labels)

    def number(self, labels: Labels, definition: Definition, now_ms: int) -> int:
        """Return the number of a series, a new one if need be; `LIMIT` or `CONFLICT` when it cannot have one."""
        number = self._number_of.get(labels)
        if number is not None:
            known = self.definitions[number]
            return number if known is not None and known.family is definition.family else CONFLICT
        name = metric_name(labels)
        names = _names(name, definition.family)
        owner = (name, definition.family)
        if any(self._owners.get(n, owner) != owner for n in names):
            return CONFLICT
        if len(self._number_of) >= self._series_max:
            return LIMIT
        number = self._free.pop() if self._free else self._append()
        self._owners.update(dict.fromkeys(names, owner))
        self._living[name] = self._living.get(name, 0) + 1
        self._number_of[labels] = number
        self._fill(number, labels, definition, now_ms)
        return number

    @property
    def unnamed_count(self) -> int:
        """Series that have no refs yet."""
        return len(self._unnamed)

    def intern(self) -> None:
        """Give refs to all series; many at one time cost a fraction of what they do one by one."""
        if not self._unnamed:
            return
        stored = [list(_stored(self.labels[n], d)) for n in self._unnamed if (d := self.definitions[n]) is not None]
        refs = self._registry.intern_many([labels for one in stored for labels in one], gated=False)
        at = 0
        for number, one in zip(self._unnamed, stored, strict=True):
            self.refs[number] = refs[at : at + len(one)]
            self.first_refs[number] = refs[at]
            at += len(one)
        self._unnamed.clear()

    def of_family(self, family: Family) -> I64:
        """Return the numbers of all series of a family, ascending."""
        return np.flatnonzero(self.families[: self.size] == family)

    def expired(self, now_ms: int) -> I64:
        """Return the numbers of series that nothing was sent for longer than they are kept."""
        n = self.size
        is_over = (self.ttls_ms[:n] > 0) & (self.families[:n] >= 0) & (self.touched_ms[:n] + self.ttls_ms[:n] < now_ms)
        return np.flatnonzero(is_over)

    def release(self, numbers: I64) -> None:
        """Forget series."""
        for number in numbers.tolist():
            labels, definition = self.labels[number], self.definitions[number]
            assert definition is not None
            name = metric_name(labels)
            self._living[name] -= 1
            if not self._living[name]:
                del self._living[name]
                for part in _names(name, definition.family):
                    del self._owners[part]
            del self._number_of[labels]
            self.labels[number], self.definitions[number], self.refs[number] = (), None, self.refs[number][:0]
            self._free.append(number)
        self.families[numbers] = -1

    # -- private -----------------------------------------------------------------------------------------------

    def _append(self) -> int:
        number = len(self.labels)
        if number == len(self.families):
            for name in (
                "values",
                "counts",
                "touched_ms",
                "starts_ms",
                "ttls_ms",
                "schemas",
                "buckets_max",
                "first_refs",
            ):
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
            self.families = np.concatenate([self.families, np.full_like(self.families, -1)])
        self.labels.append(())
        self.definitions.append(None)
        self.refs.append(np.empty(0, np.uint32))
        return number

    def _fill(self, number: int, labels: Labels, definition: Definition, now_ms: int) -> None:
        self.labels[number], self.definitions[number] = labels, definition
        self._unnamed.append(number)
        self.fresh.append(number)
        self.families[number] = definition.family
        self.values[number] = self.counts[number] = 0.0
        self.touched_ms[number] = self.starts_ms[number] = now_ms
        self.ttls_ms[number] = definition.ttl_ms
        self.schemas[number], self.buckets_max[number] = definition.schema, definition.buckets_max


def _names(name: str, family: Family) -> list[str]:
    return [name, *(name + part for part in _PARTS.get(family, ()))]


def _stored(labels: Labels, definition: Definition) -> Iterator[Labels]:
    """Yield the label sets that are stored for a series: those of buckets or quantiles come before sum and count."""
    name = metric_name(labels)
    if definition.family is Family.CLASSIC:
        for bound in (*definition.bounds, float("inf")):
            yield _with(labels, name + "_bucket", "le", _number(bound))
    elif definition.family is Family.SUMMARY:
        for quantile in definition.quantiles:
            yield _with(labels, name, "quantile", _number(quantile))
    else:
        yield labels
        return
    yield _with(labels, name + "_sum")
    yield _with(labels, name + "_count")


def _with(labels: Labels, name: str, label: str = "", value: str = "") -> Labels:
    found = {**dict(labels), NAME: name}
    if label:
        found[label] = value
    return tuple(sorted(found.items()))


def _number(value: float) -> str:
    """Return a bound or quantile as Prometheus stores it: `0.5`, `1.0`, `+Inf`."""
    return "+Inf" if value == float("inf") else repr(float(value))
