"""Bunches of lines -> the state.  What is sent again and again, the name and the tail of a line, is read once.

    myapp.requests:1|c|#env:prod        name b"myapp.requests", value b"1", tail b"c|#env:prod"

A pair of name and tail has a number, found by one look into a dictionary; columns over these numbers say which series it is
and what is done to its values, and values are read and added up column by column.  Lines that are not so simple are taken
apart one by one (`exposition/statsd.py`), and become simple ones.

The memory of pairs is bounded: when it is full all are forgotten and read anew.  A pair that stands for a series which has
expired gets another at its next line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ...exposition.statsd import (
    Kind,
    LineError,
    Meaning,
    is_event,
    is_service_check,
    meaning_of,
    pieces_of,
    service_check_of,
)
from ...model.labels import NAME, from_mapping
from .mapper import Definition, Family, Mapped, Mapper
from .series import CONFLICT, F64, I64, LIMIT
from .state import State

PAIRS_MIN: Final = 10_000
PAIRS_PER_SERIES: Final = 2
PAIRS_BYTES_MAX: Final = 128 << 20
"""Pairs that are remembered: so many, or so many for each series there may be; and their bytes."""
INTERNED_AT_ONCE: Final = 64
"""New series from which on they get their refs at once, and not when they are stored."""
SERVICE_CHECK: Final = "statsd_service_check"

_DEAD: Final = -1
_DROPPED: Final = -4
_REASONS: Final = {LIMIT: "series_limit", CONFLICT: "conflicting_type"}
_OWN_LABELS: Final = {Family.CLASSIC: "le", Family.SUMMARY: "quantile"}
"""Labels that tell the parts of a metric from each other; a tag of that name gets another one."""
_NUMBER: Final = re.compile(  # possessive, see `exposition/floats.py`
    rb"[+-]?(?:(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?\d++)?|inf(?:inity)?|nan)\Z", re.IGNORECASE
)
_TIMESTAMP: Final = re.compile(rb"\|T-?\d+(?=\||\Z)")
_DIGITS: Final = b"0123456789."
_DIVISORS: Final = {Kind.TIMER: 1000.0}

Refuse = Callable[[str, int, bytes], None]
"""Counts what is refused: the reason, how many, and the first line of them."""


@define
class LineCounts:
    """What became of lines."""

    lines: int = 0
    dropped: int = 0
    events: int = 0
    service_checks: int = 0
    bad_tags: int = 0


@define(eq=False)
class _Pairs:
    """What is remembered of pairs, in columns: the series, and what is done to a value."""

    numbers: dict[tuple[bytes, bytes], int] = field(factory=dict)
    texts: list[tuple[bytes, bytes]] = field(factory=list)
    size_bytes: int = 0
    series: I64 = field(factory=lambda: np.full(1024, _DEAD, np.int64))
    divisors: F64 = field(factory=lambda: np.ones(1024))
    scales: F64 = field(factory=lambda: np.ones(1024))
    weights: F64 = field(factory=lambda: np.ones(1024))

    def add(self, pair: tuple[bytes, bytes], target: _Target) -> int:
        """Remember a pair, or a pair anew; return its number."""
        number = self.numbers.get(pair)
        if number is None:
            number = self.numbers[pair] = len(self.numbers)
            self.texts.append(pair)
            self.size_bytes += len(pair[0]) + len(pair[1])
            if number == len(self.series):
                for name in ("series", "divisors", "scales", "weights"):
                    setattr(self, name, np.concatenate([getattr(self, name)] * 2))
        self.series[number] = target.series
        self.divisors[number], self.scales[number], self.weights[number] = target.divisor, target.scale, target.weight
        return number

    def line(self, number: int, value: bytes) -> bytes:
        """Return about the line that a pair and a value came from."""
        name, tail = self.texts[number]
        return name + b":" + value + b"|" + tail


@frozen
class _Target:
    """What a pair leads to.  series: negative where it is refused or dropped."""

    series: int
    divisor: float = 1.0
    scale: float = 1.0
    weight: float = 1.0


class Bunches:
    """Takes lines for a state, by the rules of a mapper."""

    def __init__(self, state: State, mapper: Mapper, refuse: Refuse, counts: LineCounts) -> None:
        self._state, self._mapper, self._refuse, self.counts = state, mapper, refuse, counts
        self._styles = mapper.settings.tag_styles
        self._labels = dict(mapper.settings.labels)
        self._pairs_max = max(PAIRS_MIN, PAIRS_PER_SERIES * mapper.settings.series_max)
        self._pairs = _Pairs()

    def forget(self, series: I64) -> None:
        """Let pairs of series that have expired find another, and those find one that there was no room for."""
        numbers = self._pairs.series
        numbers[np.isin(numbers, series) | (numbers == LIMIT)] = _DEAD

    def take(self, lines: bytes, now_ms: int) -> int:
        """Take lines, as they came; return how many of them had to be read one by one."""
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n").removesuffix(b"\r")
        names: list[bytes] = []
        values: list[bytes] = []
        tails: list[bytes] = []
        for line in filter(None, lines.split(b"\n")):
            name, _, rest = line.partition(b":")
            value, _, tail = rest.partition(b"|")
            names.append(name)
            values.append(value)
            tails.append(tail)
        if not names:
            return 0
        if b"|T" in lines:  # else each second would be something new
            tails = [_TIMESTAMP.sub(b"", tail) if b"|T" in tail else tail for tail in tails]
        self.counts.lines += len(names)
        if len(self._pairs.numbers) > self._pairs_max or self._pairs.size_bytes > PAIRS_BYTES_MAX:
            self._pairs = _Pairs()
        get = self._pairs.numbers.get
        found = np.array([get(pair, _DEAD) for pair in zip(names, tails, strict=True)], np.int64)
        is_known = (found >= 0) & (self._pairs.series[found] != _DEAD)
        if not is_known.all():
            found, values = self._resolve(found, is_known, names, values, tails, now_ms)
        self._add(found, values, now_ms)
        if self._state.table.unnamed_count >= INTERNED_AT_ONCE:
            self._state.table.intern()
        return len(names) - int(is_known.sum())

    # -- lines that were not seen before -----------------------------------------------------------------------

    def _resolve(
        self,
        found: I64,
        is_known: NDArray[np.bool_],
        names: Sequence[bytes],
        values: list[bytes],
        tails: Sequence[bytes],
        now_ms: int,
    ) -> tuple[I64, list[bytes]]:
        """Return (numbers of pairs, values) with what unknown lines say put in their place."""
        pairs: list[int] = []
        kept: list[bytes] = []
        at = 0
        for i in np.flatnonzero(~is_known).tolist():
            pairs += found[at:i].tolist()
            kept += values[at:i]
            at = i + 1
            for pair, value in self._unknown(names[i], values[i], tails[i], now_ms):
                pairs.append(pair)
                kept.append(value)
        pairs += found[at:].tolist()
        kept += values[at:]
        return np.array(pairs, np.int64), kept

    def _unknown(self, name: bytes, value: bytes, tail: bytes, now_ms: int) -> list[tuple[int, bytes]]:
        """Return what one line says; what it does not say well is counted."""
        line = name + b":" + value + b"|" + tail if tail or value else name
        if is_event(line):
            self.counts.events += 1
            return []
        try:
            if is_service_check(line):
                return self._service_check(line, now_ms)
            if not tail and not value:
                raise LineError("malformed_line")
            pieces = pieces_of(value, tail)
        except LineError as e:
            self._refuse(e.reason, 1, line)
            return []
        found = []
        for one, rest in pieces:
            try:
                found.append((self._pair_of(name, one, rest, now_ms), one))
            except LineError as e:
                self._refuse(e.reason, 1, line)
        return found

    def _pair_of(self, name: bytes, value: bytes, tail: bytes, now_ms: int) -> int:
        number = self._pairs.numbers.get((name, tail), _DEAD)
        if number >= 0 and self._pairs.series[number] != _DEAD:
            return number
        meaning = meaning_of(name, tail, self._styles)
        _check_value(value, meaning.kind)  # before there is a series, whose first sample would be 0
        self.counts.bad_tags += meaning.bad_tags
        return self._pairs.add((name, tail), self._target(meaning, now_ms))

    def _target(self, meaning: Meaning, now_ms: int) -> _Target:
        mapped = self._mapper.map(meaning.name, meaning.kind)
        if mapped.definition is None:
            return _Target(_DROPPED)
        series = self._series(mapped, mapped.definition, meaning.tags, now_ms)
        is_observed = mapped.definition.family >= Family.NATIVE
        return _Target(
            series,
            meaning.rate if meaning.kind is Kind.COUNTER else _DIVISORS.get(meaning.kind, 1.0),
            mapped.scale,
            1 / meaning.rate if is_observed else 1.0,
        )

    def _series(self, mapped: Mapped, definition: Definition, tags: Mapping[str, str], now_ms: int) -> int:
        """Return the number of the series; tags yield to labels of mappings, unless those honor them."""
        if not mapped.name:
            raise LineError("empty_metric_name")
        labels = {**self._labels, **tags}
        labels.update({k: v for k, v in mapped.labels.items() if not (mapped.honor_labels and k in tags)})
        own = _OWN_LABELS.get(definition.family)
        if own in labels:
            labels[f"exported_{own}"] = labels.pop(own)
        labels[NAME] = mapped.name
        return self._state.table.number(from_mapping(labels), definition, now_ms)

    def _service_check(self, line: bytes, now_ms: int) -> list[tuple[int, bytes]]:
        self.counts.service_checks += 1
        if not self._mapper.settings.service_checks:
            return []
        check = service_check_of(line, self._styles)
        mapped = Mapped(SERVICE_CHECK, {"check": check.name}, None)
        definition = Definition(Family.GAUGE, "0 ok, 1 warning, 2 critical, 3 unknown", self._mapper.settings.ttl_ms)
        target = _Target(self._series(mapped, definition, check.tags, now_ms))
        key = (b"_sc", check.name.encode() + repr(sorted(check.tags.items())).encode())
        return [(self._pairs.add(key, target), b"%d" % check.status)]

    # -- values ------------------------------------------------------------------------------------------------

    def _add(self, found: I64, values: list[bytes], now_ms: int) -> None:
        series = self._pairs.series[found]
        if (series < 0).any():
            self._count_refused(found, series, values)
            kept = np.flatnonzero(series >= 0)
            found, series, values = found[kept], series[kept], [values[i] for i in kept.tolist()]
        table = self._state.table
        families = table.families[series]
        is_set = families == Family.SET
        if is_set.any():
            self._collect(found, series, values, np.flatnonzero(is_set).tolist())
        numbers, is_relative, is_bad = _numbers(values, is_set)
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = numbers / self._pairs.divisors[found] * self._pairs.scales[found]
            finite = np.isfinite(numbers * self._pairs.weights[found])
        bad = is_bad | (~finite & (families != Family.GAUGE))
        negative = (families == Family.COUNTER) & (numbers < 0)
        if bad.any() or negative.any():
            self._refuse_those(bad, "malformed_value", found, values)
            self._refuse_those(negative & ~bad, "illegal_negative_counter", found, values)
            good = ~(bad | negative)
            found, series, families, numbers = found[good], series[good], families[good], numbers[good]
            is_relative = is_relative[good]
        table.touched_ms[series] = now_ms
        self._give(series, families, numbers, is_relative, self._pairs.weights[found], now_ms)

    def _give(
        self,
        series: I64,
        families: NDArray[np.int8],
        numbers: F64,
        is_relative: NDArray[np.bool_],
        weights: F64,
        now_ms: int,
    ) -> None:
        """Give values to the state, by what their series are."""
        counters = families == Family.COUNTER
        if counters.all():
            self._state.count(series, numbers)
            return
        self._state.count(series[counters], numbers[counters])
        gauges = families == Family.GAUGE
        self._state.measure(series[gauges], numbers[gauges], is_relative[gauges])
        observed = families >= Family.NATIVE
        if observed.any():
            self._state.observe(series[observed], numbers[observed], weights[observed], now_ms)

    def _collect(self, found: I64, series: I64, values: Sequence[bytes], places: Sequence[int]) -> None:
        lost = [i for i in places if not self._state.collect(int(series[i]), values[i])]
        if lost:
            self._refuse("set_limit", len(lost), self._pairs.line(int(found[lost[0]]), values[lost[0]]))

    def _count_refused(self, found: I64, series: I64, values: Sequence[bytes]) -> None:
        for number, reason in _REASONS.items():
            self._refuse_those(series == number, reason, found, values)
        self.counts.dropped += int((series == _DROPPED).sum())

    def _refuse_those(self, which: NDArray[np.bool_], reason: str, found: I64, values: Sequence[bytes]) -> None:
        places = np.flatnonzero(which)
        if len(places):
            first = int(places[0])
            self._refuse(reason, len(places), self._pairs.line(int(found[first]), values[first]))


def _numbers(values: list[bytes], skipped: NDArray[np.bool_]) -> tuple[F64, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (numbers, which have a sign, which are none); `skipped` ones are taken for 0.

    Only digits and points, as nearly all have, are left to `float`, which would also take `1_0` and ` 1`.
    """
    nothing = np.zeros(len(values), bool)
    if not skipped.any() and not b"".join(values).translate(None, _DIGITS):
        try:
            return np.array(list(map(float, values))), nothing, nothing
        except ValueError:
            pass
    numbers = np.zeros(len(values))
    is_relative, is_bad = nothing.copy(), nothing.copy()
    for i, value in enumerate(values):
        if skipped[i]:
            continue
        number = _number(value)
        if number is None:
            is_bad[i] = True
        else:
            numbers[i], is_relative[i] = number, value[0] in b"+-"
    return numbers, is_relative, is_bad


def _number(value: bytes) -> float | None:
    """Return what a text says, None where it is no number or too large for one."""
    if not _NUMBER.match(value):
        return None
    number = float(value)
    return None if math.isinf(number) and b"n" not in value.lower() else number


def _check_value(value: bytes, kind: Kind) -> None:
    """Raise `LineError` where a kind cannot have a value."""
    if kind is Kind.SET:
        return
    number = _number(value)
    if number is None or not (kind is Kind.GAUGE or math.isfinite(number)):
        raise LineError("malformed_value")
    if kind is Kind.COUNTER and number < 0:
        raise LineError("illegal_negative_counter")
