"""Changes of groups that wait for their commit, and what a change comes to: samples and records of the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final

import numpy as np
import trio
from attrs import Factory, define, field, frozen
from numpy.typing import NDArray

from ...exposition.formats import Format
from ...exposition.group_body import GroupBody
from ...model.batch import Batch
from ...model.histograms import Histograms, joined
from ...model.labels import Labels
from ...model.metadata import MetricMetadata
from ...model.staleness import STALE_NAN
from ...storage.push_journal_format import OPENMETRICS, PROTOBUF, TEXT, Record
from .groups import Changed, Group

ORIGIN: Final = "pushgateway"
FORMATS: Final = {TEXT: Format.TEXT_0_0_4, PROTOBUF: Format.PROTOBUF, OPENMETRICS: Format.OPENMETRICS_1_0_0}
"""Formats of bodies by their number in the journal."""
NUMBERS: Final = {format: number for number, format in FORMATS.items()}

BACK_MS: Final = 1000
"""A clock that went back by more than this is believed; else samples are moved behind the newest of their group."""


class Kind(Enum):
    """What is to be done."""

    PUSH = auto()
    """Replace the families of the same names."""
    REPLACE = auto()
    """Replace the group."""
    DELETE = auto()
    WIPE = auto()
    AGAIN = auto()
    """Store the last values of all groups again."""


@define(eq=False)
class Change:
    """Something to be done, and what became of it.

    body, raw, format: of a push.  fault: why a push was inconsistent.  error: why nothing could be done; is_over_limit:
    that there are too many series, and nothing else.
    """

    kind: Kind
    source: str
    time_ms: int
    key: Labels = ()
    body: GroupBody | None = None
    raw: bytes = b""
    format: Format = Format.TEXT_0_0_4
    awake: trio.Event = Factory(trio.Event)
    """Set when it is done, or when it is its turn to commit what waits."""
    is_done: bool = False
    fault: str = ""
    error: Exception | None = None
    is_over_limit: bool = False


@frozen(eq=False)
class Samples:
    """Samples of one time."""

    refs: NDArray[np.uint32]
    at_ms: int
    values: NDArray[np.float64]
    histograms: Histograms | None = None
    metadata: Mapping[str, MetricMetadata] = Factory(dict)


@define(eq=False)
class Applied:
    """What a change came to."""

    changed: list[Changed] = field(factory=list)
    samples: list[Samples] = field(factory=list)
    records: list[Record] = field(factory=list)


def batch_of(samples: Sequence[Samples]) -> Batch:
    """Return samples as one batch."""
    if len(samples) == 1:
        s = samples[0]
        return Batch(s.refs, np.full(len(s.refs), s.at_ms), s.values, ORIGIN, s.metadata, histograms=s.histograms)
    values, histograms = joined([(s.values, s.histograms) for s in samples])
    times = np.repeat(np.array([s.at_ms for s in samples]), [len(s.refs) for s in samples])
    metadata: dict[str, MetricMetadata] = {}
    for s in samples:
        metadata.update(s.metadata)
    refs = np.concatenate([s.refs for s in samples])
    return Batch(refs, times, values, ORIGIN, metadata, histograms=histograms)


def markers(refs: NDArray[np.uint32], at_ms: int) -> Samples:
    """Return what says that series end."""
    return Samples(refs, at_ms, np.full(len(refs), STALE_NAN))


def stamp(group: Group, time_ms: int) -> int:
    """Return the time for new samples of a group: never that of samples it has."""
    newest = group.stored_ms
    at_ms = newest + 1 if newest - BACK_MS < time_ms <= newest else time_ms
    group.stored_ms = at_ms
    return at_ms
