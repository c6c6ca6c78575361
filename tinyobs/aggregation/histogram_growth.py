"""What counters of native histograms grew by, and running sums of that.  All arithmetic is that of PromQL (`promql/native`).

A histogram that is less than the one before it anywhere, or of a finer schema or other kind of buckets, has begun anew.  Of the
hints of senders only "reset" is believed: "no reset" speaks of the sample that the sender had before, which may have been lost
on the way.
"""

from __future__ import annotations

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from ..model.histograms import Histograms, ResetHint
from ..promql.native.arithmetic import added, are_resets, compacted, finished, with_hints
from ..promql.native.batch import Batch
from ..promql.native.codec import decoded, encoded
from ..promql.native.table import Table, assembled
from ..promql.native.totals import replaced, totals
from .arrays import I64

Bools = NDArray[np.bool_]


def increases(now: Histograms, before: Histograms) -> tuple[Table, Bools]:
    """Return by how much each counter grew since the one before, and which have begun anew."""
    hints = now.reset_hints()
    later = decoded(now.with_reset_hints(np.where(hints == ResetHint.YES, hints, int(ResetHint.UNKNOWN))))
    earlier = decoded(before)
    resets = are_resets(later, earlier)
    grew = np.flatnonzero(~resets)
    made = later
    if len(grew):
        made = replaced(later, grew, added(later.take(grew), earlier.take(grew), sign=-1.0).table)
    return _finite(made), resets


def nothing_of(histograms: Histograms) -> Table:
    """Return histograms of the same layouts that count nothing."""
    return _emptied(decoded(histograms))


def whole_of(histograms: Histograms) -> Table:
    """Return what counters grew by that began from nothing."""
    return _finite(decoded(histograms))


def _emptied(table: Table) -> Table:
    batches = tuple(evolve(b, data=np.zeros_like(b.data), rest=None) for b in table.batches)
    return Table(batches, table.batch, table.row)


def _finite(table: Table) -> Table:
    """Return histograms without numbers that are not finite, a sum of observations that is NaN for one: they would stay for ever."""
    batches = tuple(evolve(b, data=np.where(np.isfinite(b.data), b.data, 0.0)) for b in table.batches)
    return Table(batches, table.batch, table.row)


def sums_of_runs(table: Table, starts: I64) -> Table:
    """Return the sums of runs: run `g` is histograms `starts[g]` .. `starts[g + 1] - 1`; all of a run go together."""
    return finished(totals(table, starts).table)


def running_sums(table: Table, starts: I64) -> Table:
    """Return the running sums of runs, which never fall where nothing that is added is below 0.

    All histograms of a run are first brought to the layout of their sum, so that they are added column by column.
    """
    if len(starts) == len(table):
        return table
    of_run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(table)))
    layouts = _emptied(sums_of_runs(table, starts))
    alike = added(table, layouts.take(of_run)).table
    return assembled(len(table), [(numbers, _cumulated(batch, of_run[numbers])) for numbers, batch in alike.parts()])


def _cumulated(batch: Batch, run: I64) -> Batch:
    """Return running sums of rows, beginning anew with each run."""
    data = batch.data.copy()
    begins = np.flatnonzero(np.append(True, run[1:] != run[:-1]))
    for a, b in zip(begins.tolist(), [*begins[1:].tolist(), len(run)], strict=True):
        np.cumsum(data[a:b], axis=0, out=data[a:b])
    return evolve(batch, data=data, rest=None)


def words_of(table: Table, hint: ResetHint) -> Histograms:
    """Return histograms as they are stored, without empty buckets."""
    return encoded(compacted(with_hints(table, hint)))
