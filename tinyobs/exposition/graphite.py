r"""Graphite's plaintext protocol: lines of `path[;tag=value...] value [timestamp]`.

A timestamp is in seconds, with or without a fraction; a missing one, `-1` and `N` mean now.  Tags follow the path, each after
a semicolon (Graphite 1.1, "Tag Support").  Names: a metric or label name of Prometheus is made by `_` for every character
that it cannot have, or names are kept as they are.

Most bodies have three words in each line, one blank between them: those are read as columns.  Any other line is read by
itself, and is where it is decided what is wrong.  What a path with its tags means is decided when it first comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.batch import Batch
from ..model.gate import STAND_INS
from ..model.hash_table import MISSING
from ..model.labels import NAME, Labels, from_mapping
from ..model.registry import SeriesRegistry
from .floats import parse_float, parse_floats, printable
from .graphite_pickle import Point, read_points
from .names import plain_label_name, plain_metric_name
from .pushed import Faults, Pushed

MALFORMED: Final = "malformed"
NOT_A_NUMBER: Final = "nan"
DROPPED: Final = "dropped_by_mapping"
"""The reason that lines are counted under which a rule drops; they are no fault."""
PATHS_MAX: Final = 1_000_000
"""Paths remembered with their series; beyond that all are forgotten, and come back when they are seen."""
PATHS_BYTES_MAX: Final = 128 << 20
"""Their bytes likewise: many spellings of one series, or paths that a mapping drops, may be long."""
PATH_BYTES_MAX: Final = 16 << 10

_NOW: Final = (b"-1", b"N", b"-1.0")
_TIME_MS_MAX: Final = 2.0**53

Columns = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]]
MapPath = Callable[[str], "Labels | None"]
"""Returns the labels, `__name__` included, that a rule gives to a path; () where it is dropped, None where no rule fits."""


class GraphiteParser:
    """Reads bodies of one sender or many; one thread at a time."""

    def __init__(
        self,
        registry: SeriesRegistry,
        *,
        keep_names: bool = False,
        extra_labels: Labels = (),
        map_path: MapPath | None = None,
        paths_max: int = PATHS_MAX,
    ) -> None:
        """keep_names: names stay as they are, dots included.  extra_labels: added to all."""
        self._registry, self._keep, self._extra, self._map = registry, keep_names, extra_labels, map_path
        self._paths_max = paths_max
        self._refs: dict[bytes, int] = {}
        self._refs_bytes = 0

    def parse(self, body: bytes, now_ms: int) -> Pushed:
        """Return the samples of lines; a line that cannot be read is counted and named, the others stay."""
        if not body.endswith(b"\n"):
            body += b"\n"
        faults = Faults()
        return self._pushed(self._by_columns(body, now_ms) or self._by_lines(body, now_ms, faults), faults)

    def parse_pickle(self, message: bytes, now_ms: int) -> Pushed:
        """Return the samples of a message of Carbon's pickle protocol; what cannot be read is counted, the rest stays."""
        faults = Faults()
        points: list[Point | None] = []
        try:
            points = read_points(message)
        except ValueError as e:
            faults.add(MALFORMED, str(e))
        samples = []
        for number, point in enumerate(points):
            try:
                if point is None:
                    raise ValueError("not (path, (timestamp, value))")
                path, at, value = point
                samples.append((self._ref(path), _time(_word(at), now_ms), parse_float(_word(value))))
            except ValueError as e:
                faults.add(MALFORMED, f"data point {number}: {e}")
        refs, times, values = zip(*samples, strict=True) if samples else ((), (), ())
        columns = np.array(refs, np.uint32), np.array(times, np.int64), np.array(values, np.float64)
        return self._pushed(columns, faults)

    def _pushed(self, columns: Columns, faults: Faults) -> Pushed:
        refs, times, values = columns
        dropped = refs == MISSING
        if dropped.any():
            faults.refused[DROPPED] = int(dropped.sum())
            refs, times, values = refs[~dropped], times[~dropped], values[~dropped]
        absent = np.isnan(values)
        if absent.any():
            faults.add(NOT_A_NUMBER, "values that are not a number are left out", int(absent.sum()))
            refs, times, values = refs[~absent], times[~absent], values[~absent]
        return faults.pushed(Batch(refs, times, values, "graphite"))

    def _by_columns(self, body: bytes, now_ms: int) -> Columns | None:
        """Read a body whose lines all have three words, one blank between them; None for any other."""
        words = body.split()
        paths, values, times = words[::3], words[1::3], words[2::3]
        if not words or len(times) != len(paths):
            return None
        if b"\n".join(map(b" ".join, zip(paths, values, times, strict=True))) + b"\n" != body:
            return None
        try:
            numbers = parse_floats(values)
            at = _times(times, now_ms)
        except ValueError:
            return None
        found = list(map(self._refs.get, paths))
        if None in found:
            try:
                self._learn(dict.fromkeys(path for path, ref in zip(paths, found, strict=True) if ref is None))
                found = [self._ref(path) if ref is None else ref for path, ref in zip(paths, found, strict=True)]
            except ValueError:
                return None
        return np.array(found, np.uint32), at, numbers

    def _by_lines(self, body: bytes, now_ms: int, faults: Faults) -> Columns:
        refs: list[int] = []
        times: list[int] = []
        values: list[float] = []
        for number, line in enumerate(body.split(b"\n")[:-1], 1):
            words = line.split()
            if not words:
                continue
            try:
                if len(words) not in (2, 3):
                    raise ValueError(f"a line has a path, a value and a timestamp: {printable(line)}")
                value = parse_float(words[1])
                at = _time(words[2], now_ms) if len(words) == 3 else now_ms
                ref = self._refs.get(words[0])
                refs.append(self._ref(words[0]) if ref is None else ref)
                times.append(at)
                values.append(value)
            except ValueError as e:
                faults.add(MALFORMED, f"line {number}: {e}")
        return np.array(refs, np.uint32), np.array(times, np.int64), np.array(values, np.float64)

    def _ref(self, path: bytes) -> int:
        """Return the series of a path that is not known; raises `ValueError`."""
        known = self._refs.get(path)
        if known is not None:
            return known
        labels = self._labels(path)
        ref = self._registry.intern(labels) if labels else MISSING
        if ref < STAND_INS or not labels:
            self._remember(path, ref)
        return ref

    def _learn(self, paths: Iterable[bytes]) -> None:
        """Number the series of paths together, which one by one takes several times as long; raises `ValueError`."""
        series = {path: labels for path in paths if (labels := self._labels(path))}
        refs = self._registry.intern_many(series.values()).tolist()
        for path, ref in zip(series, refs, strict=True):
            if ref < STAND_INS:
                self._remember(path, ref)

    def _remember(self, path: bytes, ref: int) -> None:
        if len(self._refs) >= self._paths_max or self._refs_bytes > PATHS_BYTES_MAX:
            self._refs.clear()
            self._refs_bytes = 0
        self._refs[path] = ref
        self._refs_bytes += len(path)

    def _labels(self, path: bytes) -> Labels:
        if len(path) > PATH_BYTES_MAX:
            raise ValueError(f"a path of {len(path)} bytes: {printable(path)}")
        try:
            name, *tags = path.decode().split(";")
        except UnicodeDecodeError:
            raise ValueError(f"the path is not UTF-8: {printable(path)}") from None
        found: dict[str, str] = {}
        for tag in tags:
            label, equals, value = tag.partition("=")
            if not equals or not label or not value:
                raise ValueError(f"a tag is name=value, not {printable(tag.encode())}")
            found[label if self._keep else plain_label_name(label)] = value
        found.update(self._extra)
        if not name:
            raise ValueError(f"a path without a name: {printable(path)}")
        mapped = self._map(name) if self._map is not None else None
        if mapped is not None:
            found = found | dict(mapped) if mapped else {}
        else:
            found[NAME] = name if self._keep else plain_metric_name(name)
        return from_mapping(found)


def _word(number: object) -> bytes:
    """Return a number of a message as a line would have it; raises `ValueError`."""
    if isinstance(number, bytes):
        return number
    if isinstance(number, bool) or not isinstance(number, int | float | str):
        raise ValueError("a timestamp or a value that is no number")
    return str(number).encode()


def _times(words: Sequence[bytes], now_ms: int) -> NDArray[np.int64]:
    """Return times in ms; raises `ValueError` where one is none."""
    if not b"".join(words).translate(None, b"0123456789") and max(map(len, words)) <= 12:
        return np.fromiter(map(int, words), np.int64, len(words)) * 1000
    return np.array([_time(word, now_ms) for word in words], np.int64)


def _time(word: bytes, now_ms: int) -> int:
    if word in _NOW:
        return now_ms
    ms = parse_float(word) * 1000
    if not abs(ms) <= _TIME_MS_MAX:
        raise ValueError(f"a time that cannot be: {printable(word)}")
    return round(ms)
