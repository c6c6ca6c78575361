"""Which samples of a batch are stored.  A batch is judged as a whole, against what was stored before it.

time                                          verdict
beyond now + future                           OUT_OF_BOUNDS
before now - retention                        TOO_OLD
older than the series' newest by > window     TOO_OLD (OUT_OF_ORDER where there is no window)
that of a stored sample, or of an earlier one in the batch: equal value -> stored already, no second time
                                              other value -> DUPLICATE, or stored where the last write wins
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import field, frozen, validators
from numpy.typing import NDArray

from ..model.batch import AppendResult, Refused
from ..model.histograms import is_handle
from .block import I64, Block, Samples

NEVER: Final = np.iinfo(np.int64).min
"""Newest time of a series that has none."""
YEARS_1000_MS: Final = 1000 * 366 * 86_400_000
MIB: Final = 1 << 20
_KEPT, _KNOWN = 0, 1
_VERDICTS: Final = {
    reason: verdict
    for verdict, reason in enumerate(
        (Refused.OUT_OF_BOUNDS, Refused.TOO_OLD, Refused.OUT_OF_ORDER, Refused.DUPLICATE), 2
    )
}


@frozen(kw_only=True)
class MemoryOptions:
    """What is kept; raises `ValueError` for a size that is too small."""

    bytes_max: int = field(default=512 * MIB, validator=validators.ge(MIB))
    """Samples and exemplars, in bytes; beyond it the oldest go."""
    retention_ms: int = 15 * 86_400_000
    """Age at which samples may go."""
    out_of_order_window_ms: int = 3_600_000
    """How much older than the newest sample of its series a sample may be; 0 refuses all."""
    future_ms: int = 600_000
    """How far ahead of the clock a sample may be."""
    last_write_wins: bool = False
    """Whether another value for a stored series and time replaces it."""


@frozen(eq=False)
class Verdict:
    """kept: positions of the samples to store.  repeated: how many were stored already."""

    kept: I64
    result: AppendResult
    repeated: int


def judge(s: Samples, newest: I64, blocks: Sequence[Block], options: MemoryOptions, now_ms: int) -> Verdict:
    """Judge the samples of a batch.  newest: int64[n], the newest time of each sample's series, `NEVER` for none."""
    verdicts = np.zeros(len(s.times), np.int8)
    verdicts[s.times > now_ms + options.future_ms] = _VERDICTS[Refused.OUT_OF_BOUNDS]
    verdicts[s.times < now_ms - options.retention_ms] = _VERDICTS[Refused.TOO_OLD]
    window = options.out_of_order_window_ms
    late = (verdicts == _KEPT) & (s.times < np.maximum(newest, NEVER + window) - window)
    verdicts[late] = _VERDICTS[Refused.TOO_OLD if window else Refused.OUT_OF_ORDER]
    _judge_repeats(s, newest, blocks, verdicts, options.last_write_wins)
    refused, example = {}, {}
    for reason, verdict in _VERDICTS.items():
        hits = np.flatnonzero(verdicts == verdict)
        if len(hits):
            refused[reason], example[reason] = len(hits), int(hits[0])
    stored = len(verdicts) - sum(refused.values())
    histograms = 0 if s.histograms is None else int((is_handle(s.values) & (verdicts <= _KNOWN)).sum())
    result = AppendResult(stored, refused, example, histograms_stored=histograms)
    return Verdict(np.flatnonzero(verdicts == _KEPT), result, int((verdicts == _KNOWN).sum()))


def _judge_repeats(
    s: Samples, newest: I64, blocks: Sequence[Block], verdicts: NDArray[np.int8], last_write_wins: bool
) -> None:
    """Compare samples with what is stored at their time, and with each other."""
    open_ = np.flatnonzero(verdicts == _KEPT)
    stored = np.zeros(len(s.times), np.uint64)
    taken = np.zeros(len(s.times), np.bool_)
    doubtful = open_[s.times[open_] <= newest[open_]]
    for block in blocks if len(doubtful) else ():  # a later block's sample stands
        at = block.find(s.keys[doubtful], s.times[doubtful])
        hits = doubtful[at >= 0]
        if len(hits):
            stored[hits], taken[hits] = block.samples.take(at[at >= 0]).bits(), True
    order = open_[np.lexsort((s.times[open_], s.keys[open_]))]
    again = np.zeros(len(order), np.bool_)
    again[1:] = (np.diff(s.keys[order]) == 0) & (np.diff(s.times[order]) == 0)
    if not taken.any() and not again.any():
        return
    bits = s.bits()
    if last_write_wins:  # compare with the one before, else with the first
        before = np.arange(len(order)) - 1
    else:
        before = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))
        stored[order], taken[order] = stored[order[before]], taken[order[before]]
    earlier = again if last_write_wins else again & ~taken[order]
    stored[order[earlier]], taken[order[earlier]] = bits[order[before[earlier]]], True
    verdicts[taken & (stored == bits)] = _KNOWN
    if not last_write_wins:
        verdicts[taken & (stored != bits)] = _VERDICTS[Refused.DUPLICATE]
