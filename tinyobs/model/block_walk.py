"""Many label blocks taken apart at once: label by label, all blocks in step.

Decides which blocks are canonical (`label_block.py`); all others are for the slower way, which says what is wrong with them
or puts them right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .block_hash import Blocks
from .pair_table import METRIC_NAME, LookedUp, PairTable

LABELS_MAX: Final = 128
"""Labels of a block that is taken apart here."""
_TAG: Final = 0x0A

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@frozen(eq=False)
class Walked:
    """canonical: which blocks are, and name a metric.  columns: the pair ids of these, a row each, -1 behind the last."""

    canonical: Bools
    columns: I64
    looked: LookedUp


def walk(blocks: Blocks, pairs: PairTable) -> Walked:
    """Take blocks apart; new pairs are looked up only, see `PairTable.adopt`."""
    n = len(blocks)
    sound, labels = _labels_of(blocks)
    columns = np.full((n, len(labels)), -1, np.int64)
    none = np.empty(0, np.int64)
    starts, lengths = (np.concatenate([x[i] for x in labels]) if labels else none for i in (1, 2))
    looked = pairs.look_up(Blocks(blocks.data, starts, lengths))
    at = 0
    for j, (rows, _, _) in enumerate(labels):
        columns[rows, j] = looked.ids[at : at + len(rows)]
        at += len(rows)
        sound[rows] &= columns[rows, j] >= 0
    canonical = sound & (columns >= 0).any(axis=1)
    columns = columns[canonical]
    good = ordered(columns, looked)
    canonical[canonical] = good
    return Walked(canonical, columns[good], looked)


def _labels_of(blocks: Blocks) -> tuple[Bools, list[tuple[I64, I64, I64]]]:
    """Return (which blocks are whole labels, for the first, second ... label: rows, starts, lengths)."""
    sound = np.ones(len(blocks), np.bool_)
    labels: list[tuple[I64, I64, I64]] = []
    rows = np.flatnonzero(blocks.lengths > 0)
    at, ends = blocks.starts[rows], (blocks.starts + blocks.lengths)[rows]
    while len(rows):
        one, two = blocks.data[at + 1].astype(np.int64), blocks.data[at + 2].astype(np.int64)
        long = one >= 0x80
        sizes = np.where(long, one & 0x7F | two << 7, one)
        content = at + np.where(long, 3, 2)
        fits = (blocks.data[at] == _TAG) & (content + sizes <= ends) & ~(long & ((two >= 0x80) | (two == 0)))
        if len(labels) == LABELS_MAX:
            fits[:] = False
        if not fits.all():
            sound[rows[~fits]] = False
            rows, content, sizes, ends = rows[fits], content[fits], sizes[fits], ends[fits]
        labels.append((rows, content, sizes))
        at = content + sizes
        more = at < ends
        if not more.all():
            rows, at, ends = rows[more], at[more], ends[more]
    return sound, labels


def ordered(columns: I64, looked: LookedUp) -> Bools:
    """Return which rows of pair ids (-1 behind the last) have ascending names and a metric name."""
    good = np.zeros(len(columns), np.bool_)
    if not len(columns):
        return good
    names = np.where(columns >= 0, looked.names_of(np.maximum(columns, 0)), np.int64(-1))
    good |= (names == METRIC_NAME).any(axis=1)
    for j in range(names.shape[1] - 1):
        rows = np.flatnonzero(names[:, j + 1] >= 0)
        steps, place = np.unique(names[rows, j] << 32 | names[rows, j + 1], return_inverse=True)
        up = np.array([looked.name(s >> 32) < looked.name(s & 0xFFFF_FFFF) for s in steps.tolist()], np.bool_)
        good[rows] &= up[place]
    return good
