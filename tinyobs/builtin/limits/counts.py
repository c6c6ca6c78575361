"""How many series there are: in total, by metric, job, source and rule, and how many of them are new this hour and day.

A series counts from its number on until it had no sample for `forget_after`.  What is known of each is kept in arrays by
ref, ten bytes a series; the hourly look for those that are gone is one pass over them.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ...model.gate import Candidates
from ...model.pair_table import JOB, METRIC_NAME
from ...model.registry import SeriesRegistry

MINUTE_MS: Final = 60_000
NO_RULE: Final = -1
SOURCES_MAX: Final = 100_000
"""Sources that are told apart; series of further ones count for one together."""
_AT_ONCE: Final = 100_000

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)


@define
class Window:
    """Series that are new in one hour, or day, of the clock."""

    size_ms: int
    number: int = 0
    total: int = 0
    of_rule: list[int] = field(factory=list)

    def turn(self, now_ms: int) -> bool:
        """Begin anew when the hour is over; tell whether it was."""
        number = now_ms // self.size_ms
        if number == self.number:
            return False
        self.number, self.total, self.of_rule = number, 0, [0] * len(self.of_rule)
        return True


class Counts:
    """The counted series.  Used under the registry's lock, but for `mark`."""

    def __init__(self, registry: SeriesRegistry, rules: int) -> None:
        self._registry = registry
        self.total = 0
        self.of_rule = [0] * rules
        self.hour, self.day = Window(3_600_000), Window(86_400_000)
        self.hour.of_rule, self.day.of_rule = [0] * rules, [0] * rules
        self.of_pair = np.zeros(1024, np.int32)
        """By the pair id of a metric name or job."""
        self.of_source = [0]
        self._sources: dict[str, int] = {}
        self._source_names = [""]
        self._seen = np.zeros(1024, np.uint32)
        """Minute of the last sample, 0 for series that do not count."""
        self._rule = np.zeros(1024, np.uint16)
        self._source = np.zeros(1024, np.uint32)

    def source_id(self, source: str) -> int:
        """Return the number of a source."""
        found = self._sources.get(source)
        if found is None:
            if len(self._sources) >= SOURCES_MAX:
                return 0
            found = self._sources[source] = len(self.of_source)
            self.of_source.append(0)
            self._source_names.append(source)
        return found

    def reserve(self, rule: int, source: int, earlier: Counts | None) -> int:
        """Count a series that has no number yet, and is not new; return the number of its source, given that which it had before."""
        name = earlier._source_names[source] if earlier is not None else ""
        source = self.source_id(name) if name else 0
        self.count(np.array([rule]), np.array([source]), is_new=False)
        return source

    def pairs(self, ids: I64) -> NDArray[np.int32]:
        """Return the numbers of series of metric names or jobs; ids that are not remembered yet have none."""
        known = self.of_pair
        return np.where((ids >= 0) & (ids < len(known)), known.take(ids, mode="clip"), 0)

    def is_counted(self, refs: U32) -> NDArray[np.bool_]:
        """Return which series count."""
        self._ensure()
        return self._seen[refs] > 0

    def keep_windows(self, earlier: Counts, rules: dict[int, int]) -> None:
        """Take over how many series are new in this hour and day; rules: number -> number before, of those that were there."""
        for window, before in ((self.hour, earlier.hour), (self.day, earlier.day)):
            if window.number == before.number:
                window.total = before.total
                for rule, number in rules.items():
                    window.of_rule[rule] = before.of_rule[number]

    def mark(self, refs: U32, now_ms: int) -> None:
        """Note that series that count have samples."""
        if len(refs) and int(refs.max()) >= len(self._seen):
            self._ensure()
        self._seen[refs] = max(now_ms // MINUTE_MS, 1)

    def count(self, rules: I64, sources: I64, *, is_new: bool) -> None:
        """Count series of these rules and sources in the sums."""
        n = len(rules)
        self.total += n
        for rule, more in enumerate(np.bincount(rules + 1, minlength=len(self.of_rule) + 1)[1:].tolist()):
            self.of_rule[rule] += more
        for source, more in zip(*(x.tolist() for x in np.unique(sources, return_counts=True)), strict=True):
            self.of_source[source] += more
        if is_new:
            self.hour.total += n
            self.day.total += n

    def count_one(self, rule: int, source: int, is_own_hour: bool, is_own_day: bool) -> None:
        """Count a new series in the sums; is_own_hour, is_own_day: whether it is new for its rule only."""
        self.total += 1
        self.of_source[source] += 1
        if rule >= 0:
            self.of_rule[rule] += 1
        for window, is_own in ((self.hour, is_own_hour), (self.day, is_own_day)):
            if is_own:
                window.of_rule[rule] += 1
            else:
                window.total += 1

    def take_back(self, rule: int, source: int) -> None:
        """Undo the counting of a series that counted already."""
        self.total -= 1
        self.of_source[source] -= 1
        if rule >= 0:
            self.of_rule[rule] -= 1

    def add(self, refs: U32, names: I64, jobs: I64, rules: I64, sources: I64, now_ms: int) -> None:
        """Note series that are in the sums, and count their metric names and jobs (pair ids, -1 for none)."""
        self._ensure()
        self._add_pairs(names, jobs, 1)
        self._seen[refs] = max(now_ms // MINUTE_MS, 1)
        self._rule[refs] = rules + 1
        self._source[refs] = sources

    def keep_times(self, refs: U32, earlier: Counts) -> None:
        """Take over when series had their last samples."""
        self._seen[refs] = earlier._seen[refs]

    def sources_of(self, refs: U32, into: Counts) -> I64:
        """Return the sources of series as `into` numbers them."""
        distinct, place = np.unique(self._source[refs], return_inverse=True)
        names = [self.source_name(i) for i in distinct.tolist()]
        return np.array([into.source_id(name) if name else 0 for name in names], np.int64)[place]

    def source_name(self, source: int) -> str:
        """Return the name of a source, "" for the one that has none."""
        return self._source_names[source]

    def forget(self, before_ms: int) -> U32:
        """Count series no more that had no sample since; return them."""
        seen = self._seen
        refs = np.flatnonzero((seen > 0) & (seen < max(before_ms // MINUTE_MS, 0))).astype(np.uint32)
        for i in range(0, len(refs), _AT_ONCE):
            self._release(refs[i : i + _AT_ONCE])
        return refs

    def rule_of(self, ref: int) -> int:
        """Return the rule of a series, `NO_RULE` for none."""
        return int(self._rule[ref]) - 1

    def _release(self, refs: U32) -> None:
        names, jobs = name_and_job(self._registry.candidates(refs))
        self._add_pairs(names, jobs, -1)
        self.total -= len(refs)
        for rule, n in enumerate(np.bincount(self._rule[refs], minlength=len(self.of_rule) + 1)[1:].tolist()):
            self.of_rule[rule] -= n
        for source, n in zip(*np.unique(self._source[refs], return_counts=True), strict=True):
            self.of_source[int(source)] -= int(n)
        self._seen[refs] = 0

    def _add_pairs(self, names: I64, jobs: I64, sign: int) -> None:
        ids = np.concatenate([names[names >= 0], jobs[jobs >= 0]])
        if int(ids.max(initial=0)) >= len(self.of_pair):
            self.of_pair = _longer(self.of_pair, int(ids.max()) + 1)
        distinct, counts = np.unique(ids, return_counts=True)
        self.of_pair[distinct] += (sign * counts).astype(np.int32)

    def _ensure(self) -> None:
        count = len(self._registry)
        if count > len(self._seen):
            self._seen, self._rule = _longer(self._seen, count), _longer(self._rule, count)
            self._source = _longer(self._source, count)


def name_and_job(candidates: Candidates) -> tuple[I64, I64]:
    """Return the pair ids of the metric name and of `job` of each series, -1 for none."""
    columns = candidates.columns
    if not columns.size:
        none = np.full(len(columns), -1, np.int64)
        return none, none
    names = np.where(columns >= 0, candidates.texts.names_of(np.maximum(columns, 0)), -1)
    return _of_name(columns, names, METRIC_NAME), _of_name(columns, names, JOB)


def _of_name(columns: I64, names: I64, name: int) -> I64:
    hit = names == name
    found: I64 = np.where(hit.any(axis=1), columns[np.arange(len(columns)), hit.argmax(axis=1)], -1)
    return found


def _longer(values: NDArray[T], count: int) -> NDArray[T]:
    out = np.zeros(max(count, 2 * len(values)), values.dtype)
    out[: len(values)] = values
    return out
