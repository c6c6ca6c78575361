"""Why series are refused: for each limit and what it holds for a sentence, counts, and the ref that stands for the series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from ...model.batch import LimitHit
from ...model.labels import Labels

FIRST: Final = 0xFFFF_0000
"""The first ref that stands for refused series; those between `STAND_INS` and this stand for folded ones."""
QUANTILE: Final = "quantile"
"""Stands for a limit where quantiles of series that are folded are left out, of which senders are not told: nothing is wrong."""
KINDS_MAX: Final = 4096
"""Refusals that are told apart; of further ones only the limit is named."""

SHOWN_MAX: Final = 1000
"""Entries in a report."""


@define
class Refusal:
    """One limit that was hit, by one metric, job, source or rule."""

    limit: str
    """The setting."""
    subject: str
    """What it holds for, in words."""
    value: int
    is_cardinality: bool
    """Whether it is a number of series, of which other series might have been one."""
    series: int = 0
    """Decisions: a series that comes again and again may be decided on again and again."""
    samples: int = 0
    first_ms: int = 0
    last_ms: int = 0
    example: Labels = field(factory=tuple)

    @property
    def text(self) -> str:
        """The sentence for the sender."""
        return f"{self.limit} {self.value}{self.subject and ' of ' + self.subject}"

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the report."""
        return {
            "limit": self.limit,
            "of": self.subject,
            "value": self.value,
            "samples": self.samples,
            "decisions": self.series,
            "first": self.first_ms,
            "last": self.last_ms,
            "example": dict(self.example),
        }


class Refusals:
    """All of them, by the ref that stands for their series."""

    def __init__(self) -> None:
        self._refs: dict[tuple[str, str, int], int] = {}
        self._all: list[Refusal] = []

    def of(self, limit: str, value: int, subject: str = "", *, is_cardinality: bool = True) -> int:
        """Return the ref for series that a limit refuses."""
        key = (limit, subject, value)
        ref = self._refs.get(key)
        if ref is None and len(self._all) >= KINDS_MAX:
            key = (limit, "", value)
            ref = self._refs.get(key)
        if ref is None:
            ref = self._refs[key] = FIRST + min(len(self._all), 0xFFF0)
            if len(self._all) <= 0xFFF0:
                self._all.append(Refusal(*key, is_cardinality))
        return ref

    def decided(self, ref: int, series: int, labels: Labels = ()) -> None:
        """Count series that were turned away; labels: of one of them."""
        found = self.at(ref)
        found.series += series
        found.example = found.example or labels

    def at(self, ref: int) -> Refusal:
        """Return what a ref stands for."""
        return self._all[ref - FIRST]

    def count(self, samples: Mapping[int, int], now_ms: int) -> tuple[LimitHit, ...]:
        """Count refused samples, given by ref; return what the sender is told, which is nothing of quantiles."""
        hits = []
        for ref, n in samples.items():
            found = self.at(ref)
            found.samples += n
            found.first_ms, found.last_ms = found.first_ms or now_ms, now_ms
            if found.limit != QUANTILE:
                hits.append(LimitHit(found.text, n, found.is_cardinality))
        return tuple(hits)

    def samples_by_limit(self) -> dict[str, int]:
        """Return refused samples by setting."""
        out: dict[str, int] = {}
        for r in self._all:
            out[r.limit] = out.get(r.limit, 0) + r.samples
        return out

    def as_json(self) -> list[dict[str, Any]]:
        """Return the entries of the report, of those that samples were refused for, the worst first."""
        hit = sorted((r for r in self._all if r.samples), key=lambda r: -r.samples)
        return [r.as_json() for r in hit[:SHOWN_MAX]]
