"""Which tier answers which stretch of a query's time.

For every stretch the choice is made anew, since raw samples go sooner than tiers and the newest have none yet.  In order:
the coarsest tier that serves the query (`serves`), raw samples where they are whole, then the finest of what is left.
A tier that newer raw samples have made stale stands behind raw samples for as long as these are there.

Pure: nothing is read here.  Rules and bounds: docs/format/tiers.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from attrs import evolve, frozen

from ..model.rollup import READS, Aggregate, Rounding
from ..model.select_hints import SelectHints
from .deletes import Delete
from .manifest import SegmentEntry
from .segment_reader import SegmentReader

TIER_LEVEL: Final = 100
"""Segments of tiers have levels from here on; what is above it is the place of their aggregate in `AGGREGATES`."""
AGGREGATES: Final = (Aggregate.EDGES, Aggregate.MIN, Aggregate.MAX, Aggregate.SUM, Aggregate.COUNT)
BUCKETS_MIN: Final = 4
"""Buckets that a range must be long for a tier to serve it when its borders are none of the tier's."""

_NEVER: Final = 2**62
Span = tuple[int, int]
"""Times after the first up to and including the second, ms."""


def aggregate_of(entry: SegmentEntry) -> Aggregate:
    """Return the aggregate that a segment of a tier holds."""
    return AGGREGATES[entry.level - TIER_LEVEL]


def span_of(entry: SegmentEntry) -> Span:
    """Return the stretch that a segment of a tier stands for."""
    assert entry.covers is not None
    return entry.covers[0] - 1, entry.covers[1]


@frozen(eq=False)
class TierSpans:
    """What the tiers of a manifest cover.  pairs: their segments.  raw_mint_ms, raw_maxt_ms: of raw segments.

    fresh, all: for each width the spans that it covers, ascending and apart; those of `fresh` have nothing newer.
    """

    pairs: tuple[tuple[SegmentEntry, SegmentReader], ...]
    fresh: dict[int, list[Span]]
    all: dict[int, list[Span]]
    raw_mint_ms: int
    raw_maxt_ms: int


@frozen(eq=False)
class TierView:
    """The tiers as of one moment.  whole_from_ms: since when all raw samples are there; the rest as in `TierSpans`."""

    pairs: tuple[tuple[SegmentEntry, SegmentReader], ...]
    whole_from_ms: int
    fresh: dict[int, list[Span]]
    all: dict[int, list[Span]]

    @property
    def widths(self) -> list[int]:
        """The widths of the tiers, ascending."""
        return sorted(self.all)


@frozen
class Stretch:
    """A span of time and where its samples come from: `width` is that of a tier, 0 for raw samples."""

    after_ms: int
    until_ms: int
    width: int


@frozen(eq=False)
class Choice:
    """Where the samples of a query come from, in order of time.  rounding: how its windows have to be rounded."""

    stretches: list[Stretch]
    rounding: Rounding | None

    @property
    def resolution_ms(self) -> int:
        """The coarsest width."""
        return max((s.width for s in self.stretches), default=0)


def is_stale(tier: SegmentEntry, entries: Sequence[SegmentEntry]) -> bool:
    """Tell whether there are raw samples in the stretch of a tier's segment that it was not made from."""
    after, until = span_of(tier)
    return any(not e.tier_ms and e.sequence > tier.source and e.maxt_ms > after and e.mint_ms <= until for e in entries)


def kept_fresh(
    before: Sequence[SegmentEntry],
    removed: Sequence[SegmentEntry],
    added: Sequence[SegmentEntry],
    live: Sequence[SegmentEntry],
) -> tuple[SegmentEntry, ...]:
    """Return the segments after a change: rewriting raw samples brings nothing that tiers made of them lack."""
    rewritten = max((e.sequence for e in added if not e.tier_ms), default=0)
    if not rewritten or all(e.tier_ms for e in removed) or not any(e.tier_ms for e in live):
        return tuple(live)
    return tuple(
        [evolve(e, source=max(e.source, rewritten)) if e.tier_ms and not is_stale(e, before) else e for e in live]
    )


def widened(delete: Delete, entry: SegmentEntry) -> Delete:
    """Return a delete as it holds for a segment: of a tier it takes whole buckets."""
    if not entry.tier_ms:
        return delete
    low = (delete.mint_ms - 1) // entry.tier_ms * entry.tier_ms + 1
    return evolve(delete, mint_ms=low, maxt_ms=delete.maxt_ms + -delete.maxt_ms % entry.tier_ms)


def spans_of(pairs: Sequence[tuple[SegmentEntry, SegmentReader]]) -> TierSpans | None:
    """Return what the tiers among the live segments cover, None without any."""
    tiers = tuple([(e, r) for e, r in pairs if e.tier_ms])
    if not tiers:
        return None
    raw = [e for e, _ in pairs if not e.tier_ms]
    fresh: dict[int, list[Span]] = {}
    every: dict[int, list[Span]] = {}
    for e, _ in tiers:
        if aggregate_of(e) is Aggregate.COUNT:
            every.setdefault(e.tier_ms, []).append(span_of(e))
            if not is_stale(e, raw):
                fresh.setdefault(e.tier_ms, []).append(span_of(e))
    return TierSpans(
        tiers,
        {w: united(spans) for w, spans in fresh.items()},
        {w: united(spans) for w, spans in every.items()},
        min((e.mint_ms for e in raw), default=_NEVER),
        max((e.maxt_ms for e in raw), default=-_NEVER),
    )


def view_of(spans: TierSpans | None, head: tuple[int, int], retention_ms: int) -> TierView | None:
    """Return the tiers as of this moment, None without any.

    head: (oldest, newest) time in the head, the oldest above the newest when it is empty.  retention_ms: of raw samples.
    """
    if spans is None:
        return None
    coarsest = max(spans.all)
    oldest, newest = min(head[0], spans.raw_mint_ms), max(head[1], spans.raw_maxt_ms)
    whole_from = max(newest - retention_ms, oldest)
    whole_from += -(whole_from - 1) % coarsest  # borders between raw samples and tiers are borders of buckets
    fresh = spans.fresh
    if head[0] <= head[1]:
        # Samples in the head are in no tier: what is as new as the oldest of them is read from raw samples.
        limit = (head[0] - 1) // coarsest * coarsest
        fresh = {w: united([(a, min(b, limit)) for a, b in found]) for w, found in fresh.items()}
    return TierView(spans.pairs, whole_from, fresh, spans.all)


def united(spans: Sequence[Span]) -> list[Span]:
    """Return spans as few, ascending, none touching another; empty ones are left out."""
    out: list[Span] = []
    for after, until in sorted(s for s in spans if s[0] < s[1]):
        if out and after <= out[-1][1]:
            out[-1] = (out[-1][0], max(until, out[-1][1]))
        else:
            out.append((after, until))
    return out


def is_aligned(width: int, hints: SelectHints) -> bool:
    """Tell whether all borders of the windows of a query are borders of buckets."""
    range_ms = hints.range_ms if hints.function else 0
    return hints.first_ms % width == hints.step_ms % width == range_ms % width == 0


def serves(width: int, hints: SelectHints) -> bool:
    """Tell whether a tier may be used although raw samples are there."""
    if hints.function not in READS or 0 < hints.step_ms < width:
        return False
    if not hints.step_ms:  # whole buckets from the tier, raw samples at both ends: exact
        return bool(hints.function) and hints.range_ms >= BUCKETS_MIN * width
    if is_aligned(width, hints):
        return not hints.function or hints.range_ms >= width
    return hints.range_ms >= (BUCKETS_MIN * width if hints.function else width)


def preference(widths: Sequence[int], hints: SelectHints | None) -> list[int]:
    """Return the widths (0 raw) in the order in which they are wanted; `widths` ascends."""
    if hints is None or hints.resolution_ms == 0:
        return [0]
    if hints.resolution_ms is not None:
        wanted = [w for w in reversed(widths) if w <= hints.resolution_ms]
        return [*wanted, 0, *(w for w in widths if w > hints.resolution_ms)]
    wanted = [w for w in reversed(widths) if serves(w, hints)]
    return [*wanted, 0, *(w for w in widths if w not in wanted)]


def choose(view: TierView, hints: SelectHints, mint_ms: int, maxt_ms: int) -> Choice:
    """Return the stretches of the time from `mint_ms` to `maxt_ms`, both included; the first may begin earlier."""
    order = preference(view.widths, hints)
    if order == [0]:
        return Choice([Stretch(mint_ms - 1, maxt_ms, 0)], None)
    after, until = mint_ms - 1, maxt_ms
    spans = [s for by_width in (view.fresh, view.all) for found in by_width.values() for s in found]
    inner = {x for s in spans for x in s} | {view.whole_from_ms - 1}
    borders = sorted({after, until} | {x for x in inner if after < x < until})
    pieces: list[Stretch] = []
    for a, b in pairwise(borders):
        width = next((w for w in order if _has(view, w, a, b)), 0)
        if pieces and pieces[-1].width == width:
            a = pieces.pop().after_ms
        pieces.append(Stretch(a, b, width))
    stretches = _whole_buckets(view, hints, pieces)
    return Choice(stretches, _rounding(view, hints, stretches, mint_ms, maxt_ms))


def _has(view: TierView, width: int, after: int, until: int) -> bool:
    if not width:
        return after + 1 >= view.whole_from_ms
    spans = (view.all if until < view.whole_from_ms else view.fresh).get(width, ())
    return any(a <= after and until <= b for a, b in spans)


def _whole_buckets(view: TierView, hints: SelectHints, pieces: list[Stretch]) -> list[Stretch]:
    """Let the stretches of tiers at both ends begin and end with whole buckets.

    Where windows end but once, what is left at both ends comes from raw samples.  Else the first bucket is taken in
    whole, and windows are rounded, so that what holds at a moment does not depend on the moments asked for beside it.
    """
    out = list(pieces)
    if out and out[0].width:
        first = out[0]
        if not hints.step_ms and first.after_ms + 1 >= view.whole_from_ms:
            after = min(first.after_ms + -first.after_ms % first.width, first.until_ms)
            out[:1] = [Stretch(first.after_ms, after, 0), Stretch(after, first.until_ms, first.width)]
        else:
            # Instants and short windows look back over a bucket at least.
            back = first.width if not hints.function or hints.range_ms < first.width else 0
            out[0] = Stretch((first.after_ms - back) // first.width * first.width, first.until_ms, first.width)
    if out and out[-1].width and not hints.step_ms and out[-1].until_ms >= view.whole_from_ms:
        last = out[-1]
        until = max(last.until_ms // last.width * last.width, last.after_ms)
        out[-1:] = [Stretch(last.after_ms, until, last.width), Stretch(until, last.until_ms, 0)]
    return [s for s in out if s.after_ms < s.until_ms]


def _rounding(
    view: TierView, hints: SelectHints, stretches: list[Stretch], mint_ms: int, maxt_ms: int
) -> Rounding | None:
    used = {s.width for s in stretches} - {0}
    if not hints.step_ms and hints.function:
        fits = all(s.width == 0 or (s.after_ms >= mint_ms - 1 and s.until_ms <= maxt_ms) for s in stretches)
        needed = not fits or mint_ms < view.whole_from_ms
        needed = needed and not all(is_aligned(w, hints) for w in used)
    else:
        needed = not all(is_aligned(w, hints) or (not hints.function and hints.range_ms >= w) for w in used)
    if not needed or hints.function == "[]":
        return None
    borders = np.array([s.until_ms for s in stretches[:-1]], np.int64)
    return Rounding(borders, np.array([max(s.width, 1) for s in stretches], np.int64))
