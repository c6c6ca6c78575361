"""Which samples of a batch are stored: decided before the log, vectorised.

The common case, every sample newer than its series' newest and no series twice, is settled by two comparisons.  Else
each sample is judged against the newest sample that its series has at that point of the batch, and samples that are
not newer are compared with what is stored at their time.  A float and a histogram are never equal; two histograms
are when all their fields are.

    time                                  verdict
    any, of an inconsistent histogram     INVALID
    beyond now + future                   OUT_OF_BOUNDS
    before now - retention                TOO_OLD
    newer than the series' newest         stored
    equal to a stored one, same bits      counted as stored, not stored again
    equal to a stored one, other bits     DUPLICATE (or stored, where the last write wins)
    older, within the window              stored
    older, beyond the window              TOO_OLD (OUT_OF_ORDER where there is no window), but stored where the newest
                                          lies beyond now + future and has no proof: the clock was far ahead then
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from attrs import define, evolve, frozen
from numpy.typing import NDArray

from ..model.batch import AppendResult, Refused
from ..model.histograms import is_handle
from ..model.ragged import Places
from .head import NEVER, Head
from .options import EngineOptions
from .samples import Samples

Lookup = Callable[[NDArray[np.uint32], int, int], tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]
"""(distinct refs, mint, maxt) -> (place in refs, time, mark) of what is stored (`Samples.marks`)."""

_STORED, _KNOWN = 0, 1
_REASONS: Final = (Refused.INVALID, Refused.OUT_OF_BOUNDS, Refused.TOO_OLD, Refused.OUT_OF_ORDER, Refused.DUPLICATE)
_VERDICT_OF: Final = {reason: i for i, reason in enumerate(_REASONS, 2)}


@frozen(eq=False)
class Offer:
    """Samples that ask for admission.

    where: their series as places in columns (`Layout.where`).  unique: no series occurs twice.  invalid: which are no
    histograms, None for none.
    """

    refs: NDArray[np.uint32]
    where: Places
    samples: Samples
    unique: bool
    invalid: NDArray[np.bool_] | None = None


@define(eq=False)
class Admission:
    """The verdict on a batch.  kept: positions that go into the log, None for all.  refused: which samples are."""

    kept: NDArray[np.int64] | None
    result: AppendResult
    refused: NDArray[np.bool_] | None = None

    def count_histograms(self, samples: Samples) -> None:
        """Let the result say how many of the samples that were judged are histograms and stored."""
        if samples.histograms is not None:
            stored = is_handle(samples.values)
            if self.refused is not None:
                stored &= ~self.refused
            self.result = evolve(self.result, histograms_stored=int(stored.sum()))


def admit(
    head: Head,
    offer: Offer,
    options: EngineOptions,
    now_ms: int,
    segments_maxt_ms: int,
    lookup: Lookup,
    proven: Callable[[], int],
) -> Admission:
    """Judge a batch; `head.ensure` was called.

    segments_maxt_ms: newest time in any segment, `NEVER` without one.  lookup: finds stored samples; called only where
    a sample is not newer than its series' newest, or may be in a segment though the head has forgotten its series.
    proven: returns the newest stored time that no wrong clock made (`retention.newest_beyond_doubt`).
    """
    times, unique = offer.samples.times_ms, offer.unique
    oldest, latest = now_ms - options.retention_ms, now_ms + options.future_ms
    newest = head.newest_ms[offer.where]
    in_bounds = len(times) == 0 or (offer.samples.span[1] <= latest and offer.samples.span[0] >= oldest)
    quick = in_bounds and offer.invalid is None
    if (
        quick
        and bool((times > _maybe_stored(newest, segments_maxt_ms, head.forgotten_ms)).all())
        and (unique or _ascends(offer))
    ):
        return Admission(None, AppendResult(len(times)))
    verdicts = np.zeros(len(times), np.int8)
    if not in_bounds:
        verdicts[times > latest] = _VERDICT_OF[Refused.OUT_OF_BOUNDS]
        verdicts[times < oldest] = _VERDICT_OF[Refused.TOO_OLD]
    if offer.invalid is not None:
        verdicts[offer.invalid] = _VERDICT_OF[Refused.INVALID]
    if not unique:
        newest = _newest_before(offer, newest, verdicts)
    late = (times <= newest) & (verdicts == _STORED)
    limit = np.maximum(newest, np.iinfo(np.int64).min + options.out_of_order_window_ms) - options.out_of_order_window_ms
    reason = Refused.TOO_OLD if options.out_of_order_window_ms else Refused.OUT_OF_ORDER
    beyond = late & (times < limit)
    if bool((newest[beyond] > latest).any()):
        beyond &= newest <= max(latest, proven())
    verdicts[beyond] = _VERDICT_OF[reason]
    doubtful = (times <= _maybe_stored(newest, segments_maxt_ms, head.forgotten_ms)) & (verdicts == _STORED)
    if bool(doubtful.any()):
        _judge_repeats(head, offer, doubtful, verdicts, options, lookup)
    return _conclude(verdicts)


def _maybe_stored(newest: NDArray[np.int64], segments_maxt_ms: int, forgotten_ms: int) -> NDArray[np.int64]:
    """Return for each sample the time up to which its series may have samples already."""
    if segments_maxt_ms == NEVER:
        return newest
    forgotten = newest < max(forgotten_ms, NEVER + 1)
    return np.where(forgotten, np.maximum(newest, segments_maxt_ms), newest) if forgotten.any() else newest


def _ascends(offer: Offer) -> bool:
    """Tell whether the samples of each series are in order of time, none twice."""
    order = np.argsort(offer.refs, kind="stable")
    refs, times = offer.refs[order], offer.samples.times_ms[order]
    return bool(((refs[1:] != refs[:-1]) | (times[1:] > times[:-1])).all())


def _newest_before(offer: Offer, newest: NDArray[np.int64], verdicts: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return for each sample the newest time of its series before it: stored, or earlier in this batch."""
    times = np.where(verdicts == _STORED, offer.samples.times_ms, NEVER)
    order = np.argsort(offer.refs, kind="stable")
    refs = offer.refs[order]
    is_first = np.ones(len(refs), np.bool_)
    is_first[1:] = refs[1:] != refs[:-1]
    run = np.cumsum(is_first) - 1
    # a running maximum that starts anew in each run: over (run, rank of the time) instead of the time itself
    known = np.maximum(times[order], newest[order])
    distinct, ranks = np.unique(known, return_inverse=True)
    highest = np.maximum.accumulate(run * len(distinct) + ranks) - run * len(distinct)
    before = newest[order].copy()
    before[1:] = np.where(is_first[1:], before[1:], np.maximum(before[1:], distinct[highest[:-1]]))
    out = np.empty_like(before)
    out[order] = before
    return out


def _judge_repeats(
    head: Head,
    offer: Offer,
    doubtful: NDArray[np.bool_],
    verdicts: NDArray[np.int8],
    options: EngineOptions,
    lookup: Lookup,
) -> None:
    """Compare samples that are not newer with what is stored, and with each other."""
    refs = np.unique(offer.refs[doubtful])
    among = np.flatnonzero(np.isin(offer.refs, refs) & (verdicts == _STORED))
    if not options.last_write_wins and _settle_by_newest(head, offer, doubtful, among, verdicts):
        return
    times = offer.samples.times_ms[among]
    place, stored_times, stored_marks = lookup(refs, int(times.min()), int(times.max()))
    series = np.concatenate((place, np.searchsorted(refs, offer.refs[among])))
    times = np.concatenate((stored_times, times))
    bits = np.concatenate((stored_marks, offer.samples.marks[among])).view(np.uint64)
    order = np.lexsort((times, series))  # stable: what is stored comes before what is new
    same = np.zeros(len(order), np.bool_)
    same[1:] = (series[order][1:] == series[order][:-1]) & (times[order][1:] == times[order][:-1])
    group_starts = np.flatnonzero(~same)
    origin = group_starts[np.cumsum(~same) - 1]
    if options.last_write_wins:
        origin = np.maximum(np.arange(len(order)) - 1, origin)
    equal = bits[order] == bits[order][origin]
    is_new = order >= len(place)
    repeats, others = is_new & same & equal, is_new & same & ~equal
    verdicts[among[order[repeats] - len(place)]] = _KNOWN
    if not options.last_write_wins:
        verdicts[among[order[others] - len(place)]] = _VERDICT_OF[Refused.DUPLICATE]


def _settle_by_newest(
    head: Head, offer: Offer, doubtful: NDArray[np.bool_], among: NDArray[np.int64], verdicts: NDArray[np.int8]
) -> bool:
    """Judge by the newest stored sample alone, where every sample in doubt has exactly its time: a repeated push."""
    refs, times = offer.refs[among], offer.samples.times_ms[among]
    if len(among) != int(doubtful.sum()) or not bool((times == head.newest_ms[refs]).all()):
        return False
    equal = offer.samples.marks[among].view(np.uint64) == head.newest_values[refs].view(np.uint64)
    verdicts[among] = np.where(equal, _KNOWN, _VERDICT_OF[Refused.DUPLICATE])
    return True


def _conclude(verdicts: NDArray[np.int8]) -> Admission:
    refused: dict[Refused, int] = {}
    example: dict[Refused, int] = {}
    for reason, verdict in _VERDICT_OF.items():
        hits = np.flatnonzero(verdicts == verdict)
        if len(hits):
            refused[reason], example[reason] = len(hits), int(hits[0])
    kept = np.flatnonzero(verdicts == _STORED)
    result = AppendResult(len(verdicts) - sum(refused.values()), refused, example)
    return Admission(None if len(kept) == len(verdicts) else kept, result, verdicts > _KNOWN)
