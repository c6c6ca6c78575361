"""What all outputs have in common, and the columns that they put out."""

from __future__ import annotations

import abc
from collections.abc import Iterator

from attrs import frozen

from ..model.histograms import Histograms
from .arrays import F64, I64
from .counters import Growth


@frozen(eq=False)
class Samples:
    """Samples as they came, with the numbers of their groups and input series."""

    groups: I64
    inputs: I64
    times: I64
    values: F64


@frozen(eq=False)
class Column:
    """One value for each of some groups, under a name and perhaps one more label.

    values: with handles where `histograms` are put out.
    """

    output: str
    groups: I64
    values: F64
    label: tuple[str, str] | None = None
    histograms: Histograms | None = None


class Output(abc.ABC):
    """The state of one output of a rule, in arrays by group or by input series."""

    def grow(self, groups: int, inputs: int) -> None:  # noqa: B027 - some keep nothing by number
        """Make room for so many groups and input series."""

    @abc.abstractmethod
    def columns(self, groups: I64, group_of_input: I64) -> Iterator[Column]:
        """Yield what is put out for these groups, ascending, and begin the next interval."""

    @abc.abstractmethod
    def forget(self, groups: I64) -> None:
        """Let these groups be as if they had never been."""

    @abc.abstractmethod
    def keep(self, groups: I64, inputs: I64) -> None:
        """Keep only these groups and input series, which are numbered anew in this order."""


class OfSamples(Output):
    """An output that is made of the values of samples."""

    @abc.abstractmethod
    def add(self, samples: Samples) -> None:
        """Take samples."""


class OfCounters(Output):
    """An output that is made of the growth of counters."""

    @abc.abstractmethod
    def add(self, growth: Growth, counts_firsts: bool) -> None:
        """Take the growth; counts_firsts: whether the first sample of a series counts in full where that is wanted."""
