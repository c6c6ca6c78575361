"""The groups: what was pushed last to each grouping key.  Values and decisions, no clock, no files, nothing that waits.

A group is a row of *parts*, one for each push of which something is still current: a PUT leaves one, a POST adds one and
takes the families of its names out of the others.  Parts keep the bodies as they came, so that the journal can hold them, and
the columns of refs and values that are stored.  A push that looks as the one before changes values and decides nothing.

Every change returns what undoes it: what could not be made durable has not happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from attrs import define, evolve, field, frozen
from numpy.typing import NDArray

from ...errors import LimitExceeded
from ...exposition.formats import Format
from ...exposition.group_body import PUSH_FAILURE_TIME, PUSH_TIME, Structure
from ...model.histograms import Histograms, joined
from ...model.labels import NAME, Labels, from_mapping, to_text
from ...model.metadata import MetricMetadata, MetricType
from ...model.registry import SeriesRegistry
from .families import Families
from .owners import Owners

Refs = NDArray[np.uint32]
Values = NDArray[np.float64]

OWN_METADATA: Final = {
    PUSH_TIME: MetricMetadata(
        MetricType.GAUGE, "Last Unix time when changing this group in the Pushgateway succeeded."
    ),
    PUSH_FAILURE_TIME: MetricMetadata(
        MetricType.GAUGE, "Last Unix time when changing this group in the Pushgateway failed."
    ),
}
_NO_REFS: Final = np.zeros(0, np.uint32)


@frozen(eq=False)
class Part:
    """A push.  families: those of its structure that are still current.  places: of their series, None for all."""

    structure: Structure
    values: Values
    time_ms: int
    format: Format
    body: bytes
    histograms: Histograms | None = None
    families: frozenset[str] = frozenset()
    places: NDArray[np.int64] | None = None

    def refs(self) -> Refs:
        """Return the series that are current."""
        return self.structure.refs if self.places is None else self.structure.refs[self.places]

    def columns(self) -> tuple[Values, Histograms | None]:
        """Return their values."""
        return (self.values if self.places is None else self.values[self.places]), self.histograms

    def without(self, families: frozenset[str]) -> Part:
        """Return what is left where others have pushed families of these names."""
        left = self.families - families
        names = list(self.structure.families)
        kept = np.array([name in left for name in names], bool)
        places = np.flatnonzero(kept[self.structure.family_of]) if names else np.zeros(0, np.int64)
        return evolve(self, families=left, places=places)


@frozen(eq=False)
class State:
    """What a group holds.  pushed_ms, failed_ms: 0 for never.  refs: of all its series, those of its times at the end."""

    parts: tuple[Part, ...] = ()
    pushed_ms: int = 0
    failed_ms: int = 0
    refs: Refs = field(default=_NO_REFS)

    def families(self) -> dict[str, MetricMetadata]:
        """Return the families that are current, but for the group's own."""
        return {name: p.structure.families[name] for p in self.parts for name in p.families}

    def columns(self) -> tuple[Values, Histograms | None]:
        """Return the values of `refs`."""
        times = np.array([self.pushed_ms / 1000, self.failed_ms / 1000])
        if len(self.parts) == 1 and self.parts[0].histograms is None and self.parts[0].places is None:
            return np.concatenate((self.parts[0].values, times)), None
        return joined([*(p.columns() for p in self.parts), (times, None)])

    def body_bytes(self) -> int:
        """Return how long the bodies are that are kept."""
        return sum(len(p.body) for p in self.parts)


@define(eq=False)
class Group:
    """A grouping key and its state.  stored_ms: time of its newest samples."""

    key: Labels
    number: int
    own_refs: Refs
    state: State = field(factory=State)
    stored_ms: int = 0

    @property
    def empty_labels(self) -> tuple[str, ...]:
        """Labels of the key without a value: a Pushgateway tells groups apart by them, a storage does not."""
        return tuple([name for name, value in self.key if not value])


@frozen(eq=False)
class Changed:
    """A change that was made: the group, what ends with it, and how to undo it.

    structured: whether other families are there than before.
    """

    group: Group
    gone: Refs
    undo: Callable[[], None]
    structured: bool = False


class Groups:
    """All groups."""

    def __init__(self, registry: SeriesRegistry, groups_max: int, bytes_max: int) -> None:
        self.groups_max, self.bytes_max = groups_max, bytes_max
        self.by_key: dict[Labels, Group] = {}
        self.body_bytes = 0
        self.owners = Owners()
        self._families = Families()
        self._registry = registry
        self._numbers = 0

    def push(self, key: Labels, part: Part, *, replaces: bool, check: bool) -> Changed | str:
        """Take a push, or return why it is inconsistent; raises `LimitExceeded`."""
        group = self._group(key)
        old = group.state
        parts = (part,) if replaces else _added(old.parts, part)
        same = len(parts) == len(old.parts) and all(map(_alike, parts, old.parts))
        refs = old.refs if same and old.parts else _refs(parts, group.own_refs)
        state = State(parts, part.time_ms, old.failed_ms, refs)
        if self.body_bytes + state.body_bytes() - old.body_bytes() > self.bytes_max:
            raise LimitExceeded(
                "tinyobs.pushgateway.size_max", "the groups take more than tinyobs.pushgateway.size_max"
            )
        if refs is old.refs:
            return self._replace_state(group, state)
        if check:
            fault = self._fault(group, state)
            if fault:
                return fault
        return self._change(group, state)

    def fail(self, key: Labels, time_ms: int) -> Changed:
        """Note that a push to a group was inconsistent; raises `LimitExceeded`."""
        group = self._group(key)
        old = group.state
        refs = old.refs if len(old.refs) else group.own_refs
        state = evolve(old, failed_ms=time_ms, refs=refs)
        return self._replace_state(group, state) if refs is old.refs else self._change(group, state)

    def delete(self, key: Labels) -> Changed | None:
        """Delete a group; None when there is none."""
        group = self.by_key.get(key)
        return None if group is None else self._change(group, None)

    def __iter__(self) -> Iterator[Group]:
        return iter(self.by_key.values())

    def __len__(self) -> int:
        return len(self.by_key)

    def columns(self, groups: Sequence[Group]) -> tuple[Refs, Values, Histograms | None]:
        """Return the current values of groups; a series that several of them have is there once."""
        if not groups:
            return _NO_REFS, np.zeros(0), None
        refs = [self.owners.own(g.number, g.state.refs) for g in groups]
        columns = [g.state.columns() for g in groups]
        if self.owners.are_shared:
            mine = [self.owners.are_own(g.number, g.state.refs) for g in groups]
            columns = [(v[m], h) for (v, h), m in zip(columns, mine, strict=True)]
        values, histograms = joined(columns)
        return np.concatenate(refs), values, histograms

    # -- private -----------------------------------------------------------------------------------------------

    def _group(self, key: Labels) -> Group:
        """Return the group of a key, which is not among the others yet when it is new."""
        group = self.by_key.get(key)
        if group is not None:
            return group
        if len(self.by_key) >= self.groups_max:
            raise LimitExceeded(
                "tinyobs.pushgateway.groups_max", f"there are {self.groups_max} groups (tinyobs.pushgateway.groups_max)"
            )
        self._numbers += 1
        return Group(key, self._numbers, self._registry.intern_many(own_series(key), gated=False))

    def _fault(self, group: Group, state: State) -> str:
        """Return why a state does not fit with the other groups."""
        fault = self._families.fault(group.state.families(), state.families())
        if fault:
            return fault
        for ref, number in self.owners.others(group.number, state.refs):
            other = next((g for g in self if g.number == number), None)
            if other is not None and other.empty_labels == group.empty_labels:
                name = dict(self._registry.labels(ref))[NAME]
                return f'collected metric "{name}" was collected before with the same labels, in group {to_text(other.key)}'
        return ""

    def _replace_state(self, group: Group, state: State) -> Changed:
        """Give a group other values; its series stay."""
        old, stored_ms = group.state, group.stored_ms
        more = state.body_bytes() - old.body_bytes()
        self.body_bytes += more

        def undo() -> None:
            group.state, group.stored_ms = old, stored_ms
            self.body_bytes -= more

        group.state = state
        return Changed(group, _NO_REFS, undo)

    def _change(self, group: Group, state: State | None) -> Changed:
        """Give a group another state, or take it out (None)."""
        old, stored_ms, was_there = group.state, group.stored_ms, group.key in self.by_key
        gone = self._set(group, old, state)

        def undo() -> None:
            self._set(group, state or State(), old if was_there else None)
            group.stored_ms = stored_ms

        return Changed(group, gone, undo, structured=state is not None)

    def _set(self, group: Group, old: State, state: State | None) -> Refs:
        new = state or State()
        self._families.replace(old.families(), new.families())
        gone = self.owners.replace(group.number, old.refs, new.refs, lambda: ((g.number, g.state.refs) for g in self))
        self.body_bytes += new.body_bytes() - old.body_bytes()
        group.state = new
        if state is None:
            self.by_key.pop(group.key, None)
        else:
            self.by_key[group.key] = group
        return gone


def own_series(key: Labels) -> list[Labels]:
    """Return the series that every group has."""
    return [from_mapping({**dict(key), NAME: name}) for name in OWN_METADATA]


def _added(parts: tuple[Part, ...], part: Part) -> tuple[Part, ...]:
    """Return the parts of a group after a POST; one of the same structure keeps its place, so that nothing is decided."""
    for i, p in enumerate(parts):
        if p.places is None and _alike(p, part):  # nobody else has these families
            return (*parts[:i], part, *parts[i + 1 :])
    kept = []
    for p in parts:
        rest = p if p.families.isdisjoint(part.families) else p.without(part.families)
        if rest.families:
            kept.append(rest)
    return (*kept, part)


def _alike(a: Part, b: Part) -> bool:
    """Tell whether two parts have the same series and families."""
    return (
        a.structure.refs is b.structure.refs and a.structure.families is b.structure.families and a.places is b.places
    )


def _refs(parts: Sequence[Part], own: Refs) -> Refs:
    return np.concatenate([*(p.refs() for p in parts), own])
