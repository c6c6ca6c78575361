"""What was decoded of a push, in whatever format: the batch, and what of it could not be taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import Factory, define, field, frozen

from ..model.batch import Batch

PROBLEMS_MAX: Final = 10
"""Faults of one push that are put in words; all are counted."""


@frozen(eq=False)
class Pushed:
    """A decoded push.

    refused: reason -> how many lines, points or samples were left out.  problems: sentences about the first of them, each
    with its position.
    """

    batch: Batch
    refused: Mapping[str, int] = Factory(dict)
    problems: tuple[str, ...] = ()


@define
class Faults:
    """Collects what is wrong with a push while it is decoded."""

    refused: dict[str, int] = field(factory=dict)
    problems: list[str] = field(factory=list)

    def add(self, reason: str, problem: str, count: int = 1) -> None:
        """Note that something was left out; `problem` says what and where."""
        self.refused[reason] = self.refused.get(reason, 0) + count
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)

    def pushed(self, batch: Batch) -> Pushed:
        """Return the decoded push."""
        return Pushed(batch, self.refused, tuple(self.problems))
