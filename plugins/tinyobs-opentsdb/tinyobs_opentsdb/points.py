"""Data points of OpenTSDB -> samples: the names of their series, their times, and a memory for both protocols.

A time is in seconds up to 11 digits, else in milliseconds (opentsdb.net, "Writing Data"); with a fraction it is in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

import numpy as np
from attrs import define, field
from tinyobs.exposition.floats import printable
from tinyobs.exposition.names import plain_label_name, plain_metric_name
from tinyobs.exposition.pushed import Faults, Pushed
from tinyobs.model.batch import Batch
from tinyobs.model.gate import STAND_INS
from tinyobs.model.labels import NAME, Labels, from_mapping
from tinyobs.model.registry import SeriesRegistry

MALFORMED: Final = "malformed"
SERIES_MAX: Final = 1_000_000
"""Series remembered by how they were written; beyond that all are forgotten, and come back when they are seen."""
KEYS_BYTES_MAX: Final = 128 << 20
"""The bytes of how they were written likewise: one series may have many long spellings."""
SECONDS_MAX: Final = 99_999_999_999
TIME_MS_MAX: Final = 2.0**53


@define
class SeriesMemory:
    """The series of metrics and tags.  One thread at a time.

    keep_names: names stay as they are; else `_` stands for characters that names of Prometheus cannot have.
    """

    registry: SeriesRegistry
    keep_names: bool = False
    extra: Labels = ()
    series_max: int = SERIES_MAX
    _refs: dict[Hashable, int] = field(factory=dict)
    _refs_bytes: int = 0

    def find(self, key: Hashable) -> int | None:
        """Return the series that was remembered by a key."""
        return self._refs.get(key)

    def remember(self, key: tuple[Any, ...], metric: str, tags: Iterable[tuple[str, str]]) -> int:
        """Return the series of a metric with tags, and remember it; raises `ValueError` where it can be none."""
        if not metric:
            raise ValueError("a data point has no metric")
        found: dict[str, str] = {}
        for name, value in tags:
            if not name or not value:
                raise ValueError(f"a tag has a name and a value: {printable(f'{name}={value}'.encode())}")
            found[name if self.keep_names else plain_label_name(name)] = value
        found.update(self.extra)
        found[NAME] = metric if self.keep_names else plain_metric_name(metric)
        ref = self.registry.intern(from_mapping(found))
        if ref < STAND_INS:
            if len(self._refs) >= self.series_max or self._refs_bytes > KEYS_BYTES_MAX:
                self._refs.clear()
                self._refs_bytes = 0
            self._refs[key] = ref
            self._refs_bytes += sum(sum(map(len, part)) if isinstance(part, tuple) else len(part) for part in key)
        return ref


@define
class Points:
    """Samples in the order in which they came, and what was wrong with others."""

    refs: list[int] = field(factory=list)
    times_ms: list[int] = field(factory=list)
    values: list[float] = field(factory=list)
    faults: Faults = field(factory=Faults)

    def add(self, ref: int, time_ms: int, value: float) -> None:
        """Add a sample."""
        self.refs.append(ref)
        self.times_ms.append(time_ms)
        self.values.append(value)

    def pushed(self) -> Pushed:
        """Return all."""
        batch = Batch(
            np.array(self.refs, np.uint32),
            np.array(self.times_ms, np.int64),
            np.array(self.values, np.float64),
            "opentsdb",
        )
        return self.faults.pushed(batch)


def time_ms(number: Any, parse: Callable[[Any], float] = float) -> int:
    """Return a time in ms; raises `ValueError`."""
    try:
        value = parse(number)
    except (TypeError, ValueError):
        raise ValueError(f"a time that is not a number: {printable(str(number).encode())}") from None
    ms = value * 1000 if abs(value) <= SECONDS_MAX else value
    if not abs(ms) <= TIME_MS_MAX:
        raise ValueError(f"a time that cannot be: {printable(str(number).encode())}")
    return round(ms)
