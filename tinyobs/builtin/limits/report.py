"""What was folded, for those who look after it: by rule, label and metric.  The numbers of values are estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field

from .refusals import SHOWN_MAX
from .rules import Rules

RECORDS_MAX: Final = 10_000
"""Combinations of rule, label and metric that are told apart."""
EXAMPLES_MAX: Final = 10
_BITS: Final = 10
_REGISTERS: Final = 1 << _BITS
_MASK: Final = (1 << 64) - 1
_BIAS: Final = 0.7213 / (1 + 1.079 / _REGISTERS)


class DistinctCount:
    """About how many different texts were given, in 1 KiB; the error is 3 % as a rule.

    HyperLogLog: Flajolet and others, "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", 2007.
    """

    def __init__(self) -> None:
        self._registers = np.zeros(_REGISTERS, np.uint8)

    def add(self, texts: Sequence[str]) -> None:
        """Add texts, of which some may have been given before."""
        # The hash of Python is keyed for each process, 64 bits long, and kept in the text.
        hashes = np.array([hash(text) & _MASK for text in texts], np.uint64)
        _, exponents = np.frexp((hashes >> np.uint64(_BITS + 1)).astype(np.float64))
        ranks = (64 - _BITS - exponents).astype(np.uint8)
        np.maximum.at(self._registers, (hashes & np.uint64(_REGISTERS - 1)).astype(np.int64), ranks)

    def estimate(self) -> int:
        """Return how many."""
        estimate = _BIAS * _REGISTERS**2 / float(np.ldexp(1.0, -self._registers.astype(np.int64)).sum())
        empty = int(np.count_nonzero(self._registers == 0))
        if estimate <= 2.5 * _REGISTERS and empty:
            estimate = _REGISTERS * math.log(_REGISTERS / empty)
        return round(estimate)


@define
class Folded:
    """What was folded of one label of one family of metrics."""

    rule: int
    label: str
    family: str
    since_ms: int
    values: DistinctCount = field(factory=DistinctCount)
    examples: list[str] = field(factory=list)
    series: int = 0
    samples: int = 0
    last_ms: int = 0

    def add(self, values: Sequence[str], now_ms: int) -> None:
        """Note series with values that are not kept."""
        self.series += len(values)
        self.last_ms = now_ms
        self.values.add(values)
        if len(self.examples) < EXAMPLES_MAX:
            self.examples = list(dict.fromkeys([*self.examples, *values]))[:EXAMPLES_MAX]


class Report:
    """All that was folded since the start, by the rules that there are."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str, str], int] = {}
        self.records: list[Folded] = []

    def record(self, rule: int, label: str, family: str, now_ms: int) -> int:
        """Return the number of a record."""
        key = (rule, label, family)
        if key not in self._numbers and len(self.records) >= RECORDS_MAX:
            key = (rule, label, "")
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.records)
            self.records.append(Folded(*key, now_ms))
        return number

    def keep(self, numbers: Sequence[int]) -> list[int]:
        """Keep what was folded by rules that are still there; return the number that each record has now, -1 for those that go.

        numbers: by rule, the number that it has now, -1 for those that are gone.
        """
        found: list[int] = []
        kept: list[Folded] = []
        for record in self.records:
            record.rule = numbers[record.rule]
            found.append(len(kept) if record.rule >= 0 else -1)
            kept += [record] if record.rule >= 0 else []
        self.records = kept
        self._numbers = {(f.rule, f.label, f.family): i for i, f in enumerate(kept)}
        return found

    def as_json(self, rules: Rules) -> list[dict[str, Any]]:
        """Return the entries of the report, the most samples first."""
        return [
            {
                "rule": rules.all[f.rule].settings.match,
                "label": f.label,
                "metric": f.family,
                "keptValues": rules.all[f.rule].kept_count(f.label, f.family),
                "foldedValues": f.values.estimate(),
                "foldedSeries": f.series,
                "examples": f.examples,
                "samples": f.samples,
                "since": f.since_ms,
                "last": f.last_ms,
            }
            for f in sorted(self.records, key=lambda f: -f.samples)[:SHOWN_MAX]
        ]
