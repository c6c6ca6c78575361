"""Sums and means of runs of histograms, compensated.

Histograms of one layout are added up as rows of a matrix; only the sums of different layouts then meet one by one.
"""

from __future__ import annotations

import numpy as np
from attrs import evolve, frozen

from ...model.histograms import ResetHint
from ..arrays import Indexes, Mask
from ..sums import OVERFLOW_SCALE, sums_of_groups
from .arithmetic import added, divided, finished, scaled, unmasked
from .table import Table, assembled, concatenated


@frozen(eq=False)
class Totals:
    """Sums of G runs.

    table: the sums, their compensation beside.  incompatible: int64[G], which histogram does not go with the first of its
    run (exponential with custom buckets), -1 for none.  resets, keeps: bool[G], whether any follows a counter reset, or
    surely none.  reconciled: bool[G], custom bounds differed.
    """

    table: Table
    incompatible: Indexes
    resets: Mask
    keeps: Mask
    reconciled: Mask


def totals(table: Table, starts: Indexes) -> Totals:
    """Return the sums of runs: run `g` is histograms `starts[g]` .. `starts[g + 1] - 1`, none is empty."""
    lengths = np.diff(starts, append=len(table))
    run = np.repeat(np.arange(len(starts)), lengths)
    hints, custom = table.hints(), table.customs()
    odd = np.flatnonzero(custom != custom[starts][run])
    incompatible = np.full(len(starts), -1, np.int64)
    incompatible[run[odd[::-1]]] = odd[::-1]
    seen = [np.logical_or.reduceat(hints == int(h), starts) for h in ResetHint]
    partial, of_run = _partial(table, run)
    made, reconciled = _met(partial, of_run, len(starts))
    alone = sum(x.astype(np.int64) for x in seen) == 1
    mixed = np.where(seen[ResetHint.GAUGE], int(ResetHint.GAUGE), int(ResetHint.UNKNOWN))
    made = _hinted(made, np.where(alone, hints[starts], mixed))
    return Totals(made, incompatible, seen[ResetHint.YES], seen[ResetHint.NO], reconciled)


def _partial(table: Table, run: Indexes) -> tuple[Table, Indexes]:
    """Return the sums of each run by layout and zero bucket, and their runs, in order of appearance in the run."""
    widths = np.unique(table.thresholds(), return_inverse=True)[1]
    # Where buckets lie in zero buckets, it depends on the order which of them count: such runs are added one by one.
    alone = np.isin(run, run[_overlapping(table)])
    widths = np.where(alone, len(run) + np.arange(len(run)), widths)
    order = np.lexsort((np.arange(len(run)), widths, table.batch, run))
    key = np.stack((run, table.batch, widths))[:, order]
    firsts = np.flatnonzero(np.append(True, (key[:, 1:] != key[:, :-1]).any(axis=0)))
    number = np.cumsum(np.append(True, (key[:, 1:] != key[:, :-1]).any(axis=0))) - 1
    parts = []
    for i, batch in enumerate(table.batches):
        mine = np.flatnonzero(table.batch[order] == i)
        if not len(mine):
            continue
        rows = batch.take(table.row[order[mine]])
        begins = np.flatnonzero(np.append(True, number[mine][1:] != number[mine][:-1]))
        if len(begins) == len(mine):
            parts.append((number[mine], rows))
            continue
        total, rest = sums_of_groups(rows.data, begins)
        if rows.rest is not None:
            rest = rest + np.add.reduceat(rows.rest, begins, axis=0)
        sides = np.logical_or.reduceat(rows.sides, begins, axis=0)
        heads = rows.take(begins)
        parts.append((number[mine[begins]], evolve(heads, data=total, rest=rest, sides=sides)))
    found = assembled(len(firsts), parts)
    appearance = np.lexsort((order[firsts], run[order[firsts]]))
    return found.take(appearance), run[order[firsts]][appearance]


def _overlapping(table: Table) -> Mask:
    """Return which histograms have populated buckets within their zero bucket."""
    out = np.zeros(len(table), np.bool_)
    for numbers, batch in table.parts():
        apart = unmasked(batch)
        if apart is not batch:
            out[numbers] = (apart.data != batch.data).any(axis=1)
    return out


def _met(partial: Table, of_run: Indexes, runs: int) -> tuple[Table, Mask]:
    """Return the sum of the parts of each run, and where custom bounds differed."""
    counts = np.bincount(of_run, minlength=runs)
    starts = np.cumsum(counts) - counts
    held, reconciled = partial.take(starts), np.zeros(runs, np.bool_)
    for k in range(1, int(counts.max(initial=0))):
        some = np.flatnonzero(counts > k)
        sums = added(held.take(some), partial.take(starts[some] + k), compensated=True)
        reconciled[some] |= sums.reconciled
        held = replaced(held, some, sums.table)
    return held, reconciled


def replaced(table: Table, numbers: Indexes, by: Table) -> Table:
    """Return a table with some histograms replaced."""
    if len(numbers) == len(table):
        return by
    index = np.arange(len(table))
    index[numbers] = len(table) + np.arange(len(numbers))
    return concatenated((table, by)).take(index)


def _hinted(table: Table, hints: Indexes) -> Table:
    parts = [(numbers, evolve(batch, hints=hints[numbers])) for numbers, batch in table.parts()]
    return assembled(len(table), parts)


def means(table: Table, starts: Indexes) -> Totals:
    """Return the means of runs; where a sum would overflow, histograms are scaled before they are added."""
    counts = np.diff(starts, append=len(table)).astype(np.float64)
    found = totals(table, starts)
    made = finished(divided(found.table, counts))
    over = np.flatnonzero(~are_finite(made))
    if len(over):
        small = totals(scaled(table, np.full(len(table), OVERFLOW_SCALE)), starts).table
        again = finished(divided(small, counts)).take(over)
        made = replaced(made, over, scaled(again, np.full(len(over), 1 / OVERFLOW_SCALE)))
    return evolve(found, table=made)


def are_finite(table: Table) -> Mask:
    """Return where all numbers of a histogram are finite."""
    out = np.zeros(len(table), np.bool_)
    for numbers, batch in table.parts():
        out[numbers] = np.isfinite(batch.data).all(axis=1)
    return out
