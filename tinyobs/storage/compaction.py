"""What to merge: which segments become one, and when (`plan_merge`).  The merging itself is in `merging.py`.

Widths are the block, three blocks, nine, ... up to `EngineOptions.segment_ms_max`, aligned to the epoch, so that every
width divides the next.  The segments that lie within one stretch of a width become one, smallest width first, once
newer data shows that the stretch is complete.  A fresh segment that is alone there is written again all the same: what
stays is packed more densely than what comes from the head.  A small late addition to a large segment waits for company.  A segment
wider than all that, as an import may bring, takes in what is small beside it and lies within its time.

Only raw segments are merged with each other; those of tiers are made whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from .cut import WIDER
from .manifest import SegmentEntry
from .options import EngineOptions

INPUTS_MAX: Final = 16
"""Segments merged at a time."""
CROWD: Final = 8
"""Segments in a stretch that is not complete yet from which on they are merged all the same."""
SMALL: Final = 20
"""A segment so many times smaller than another is small beside it."""


def plan_merge(
    entries: Sequence[SegmentEntry], options: EngineOptions, left_out: Collection[int] = (), *, at_once: bool = False
) -> tuple[int, list[SegmentEntry]]:
    """Return (level, segments to merge into one of that level, in order of age); an empty list when all is well.

    left_out: numbers of segments that cannot be merged.  at_once: no stretch is waited for any longer.
    """
    entries = [e for e in entries if not e.tier_ms]
    newest = max((e.maxt_ms for e in entries), default=0)
    width, level = options.block_ms, 1
    while width <= options.segment_ms_max:
        groups: dict[int, list[SegmentEntry]] = {}
        for e in entries:
            if e.mint_ms // width == e.maxt_ms // width:
                groups.setdefault(e.mint_ms // width, []).append(e)
        for number, stretch in sorted(groups.items()):
            for group in _mergeable(entries, [e for e in stretch if e.sequence not in left_out]):
                complete = at_once or (number + 1) * width <= newest
                is_left = complete and level > 1 and _is_left(group, entries)
                if is_left or _is_worth_it(group[:INPUTS_MAX], complete=complete):
                    return level, group[:INPUTS_MAX]
        width, level = width * WIDER, level + 1
    inputs = _additions(entries, left_out, width // WIDER)
    return (level, inputs) if inputs else (0, [])


def _additions(entries: Sequence[SegmentEntry], left_out: Collection[int], width: int) -> list[SegmentEntry]:
    """Return a segment that lies in no stretch of the greatest width, and the small ones within it; [] for none."""
    for wide in entries:
        if wide.mint_ms // width == wide.maxt_ms // width or wide.sequence in left_out:
            continue
        within = [
            e
            for e in entries
            if e.sequence not in left_out
            and (
                e is wide or (wide.mint_ms <= e.mint_ms and e.maxt_ms <= wide.maxt_ms and e.bytes * SMALL <= wide.bytes)
            )
        ]
        for group in _mergeable(entries, within):
            if wide in group and _is_worth_it(group[:INPUTS_MAX], complete=True):
                return group[:INPUTS_MAX]
    return []


def _mergeable(entries: Sequence[SegmentEntry], stretch: Sequence[SegmentEntry]) -> Iterator[list[SegmentEntry]]:
    """Yield the parts of a stretch whose merging leaves the order of age as it is wherever segments overlap.

    The result stands in the place of the youngest input, so no other segment between two inputs may overlap the older.
    """
    wanted = {e.sequence for e in stretch}
    group: list[SegmentEntry] = []
    for e in entries:
        if e.sequence in wanted:
            group.append(e)
        elif any(e.mint_ms <= g.maxt_ms and e.maxt_ms >= g.mint_ms for g in group):
            yield group
            group = []
    yield group


def _is_left(group: Sequence[SegmentEntry], entries: Sequence[SegmentEntry]) -> bool:
    """Be one segment as the head was cut, which found no company and is no addition to another."""
    if len(group) != 1 or group[0].level:
        return False
    (only,) = group
    return not any(e is not only and e.mint_ms <= only.maxt_ms and e.maxt_ms >= only.mint_ms for e in entries)


def _is_worth_it(group: Sequence[SegmentEntry], *, complete: bool) -> bool:
    if len(group) < 2:
        return False
    if len(group) >= CROWD:
        return True
    largest = max(e.bytes for e in group)
    return complete and sum(e.bytes for e in group) - largest >= largest // SMALL
