"""The fast way for points of one body that come in another order in the next: the same set of series, recognised as a whole.

Programs in Go send the points of each metric in another order each time.  Where all that is around the points stays
(`outlines.py`) and the sorted keys of the points are those of a body before, their series are those of that body, and which
point belongs to which follows from the order of the keys: no key is looked up, and the samples come out in order of series.
Only numbers of one form, and none with starts, are kept so; all else takes the steps of `known.py` and `planning.py`.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...model.histograms import without_handles
from .forms import Form, are_ints, are_times, at, values_of

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]


@frozen(eq=False)
class PointSet:
    """The p points of a body, none twice.

    form, form_salt: of all of them.  salts: uint64[p], of their contexts, in the order of the body.  keys: uint64[p], sorted.
    refs: uint32[p], ascending.  by_ref: int64[p], the places of their keys.
    """

    form: Form
    form_salt: np.uint64
    salts: U64
    keys: U64
    refs: U32
    by_ref: I64

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return 28 * len(self.keys)

    def order(self, keys: U64) -> I64 | None:
        """Return the numbers of the points of a body in the order of `refs`, None where they are others."""
        by_key = keys.argsort()
        return by_key[self.by_ref] if np.array_equal(keys[by_key], self.keys) else None


@frozen(eq=False)
class Permuted:
    """The samples of a body whose points are a set that is known, in the order of their series.

    order: int64[p], the numbers of their points.  nanos: uint64[p], the times of the points in the order of the body.
    """

    refs: U32
    order: I64
    nanos: U64
    values: F64


def make_set(form: Form, form_salt: np.uint64, salts: U64, keys: U64, refs: U32) -> PointSet | None:
    """Return the set of the points of a body, None where one is there twice.  refs: uint32[p], in the order of the body."""
    by_key = keys.argsort()
    by_ref = refs[by_key].argsort()
    sorted_keys, sorted_refs = keys[by_key], refs[by_key][by_ref]
    if (sorted_keys[1:] == sorted_keys[:-1]).any() or (sorted_refs[1:] == sorted_refs[:-1]).any():
        return None
    return PointSet(form, form_salt, salts, sorted_keys, sorted_refs, by_ref)


def permuted(known: PointSet, keys: U64, data: U8, words: U64, starts: I64, ends: I64) -> Permuted | None:
    """Return the samples of points that have the form of a set, None where they are others, or some time cannot be."""
    order = known.order(keys)
    if order is None or known.form.value is None:
        return None
    nanos = words[at(known.form.time, starts, ends)]
    if not are_times(nanos).all():
        return None
    value_at = at(known.form.value, starts, ends)[order]
    return Permuted(known.refs, order, nanos, without_handles(values_of(words[value_at], are_ints(data, value_at))))
