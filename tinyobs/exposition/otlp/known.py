"""The fast way, second step: data points that were seen before, recognised many at once.

The bytes of a point that stay the same for its series are hashed, with its context and its form (`forms.py`) mixed in: that
is the key by which its series are found.  A key is learned only from a point that the general way has taken, after a look at
every field of it.  All else takes the general way each time.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...model.block_hash import BlockHasher, Blocks
from ...model.growing import grown
from ...model.hash_table import MISSING, HashTable
from .contexts import CONTEXTS_MAX, KnownContexts
from .forms import NUMBER, Form, are_times, at, form_of
from .outlines import Outlines
from .point_sets import Permuted, PointSet, make_set, permuted
from .rules import Translator
from .walk import Walked

KEYS_MAX: Final = 2_000_000
"""Series, and histograms, that are known.  With one more all are forgotten, and learned again as they come: at most some
70 MB, and a request of 1000 points that costs 30 ms once."""
FORMS_MAX: Final = 256
"""Forms that are known, each tried on the points that none before it had; the one that was used longest ago goes first."""

_NO_NUMBERS: Final = np.empty(0, np.int64)

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]


@frozen(eq=False)
class Points:
    """Points of a body: their numbers in it, where they are, and the salts of their contexts; arrays of one length."""

    point: I64
    starts: I64
    ends: I64
    salts: U64

    def __len__(self) -> int:
        return len(self.point)

    def take(self, which: I64) -> Points:
        """Return some of them, by their positions."""
        return Points(self.point[which], self.starts[which], self.ends[which], self.salts[which])


@frozen(eq=False)
class Found:
    """Points of one form that are known.

    point: int64[k], their numbers in the request.  starts, ends: where they are.  first: where their refs begin.  keys: theirs.
    """

    form: Form
    point: I64
    starts: I64
    ends: I64
    first: I64
    keys: U64

    def at(self, place: int) -> I64:
        """Return where a place of the form is in each point."""
        return at(place, self.starts, self.ends)


class Known:
    """Contexts and keys.  Not thread-safe."""

    def __init__(self, translator: Translator, share: float = 1.0) -> None:
        self._share = share
        self.contexts = KnownContexts(translator)
        self.outlines = Outlines(share)
        self._hasher = BlockHasher()
        self._weight = np.frombuffer(os.urandom(8), np.uint64)[0] | np.uint64(1)
        self._forget_keys()

    def _forget_keys(self) -> None:
        self._forms: OrderedDict[Form, np.uint64] = OrderedDict()
        self._table = HashTable()
        self._first = np.zeros(1024, np.int64)
        self._refs = np.zeros(1024, np.uint32)
        self._used = 0

    def __len__(self) -> int:
        return len(self._table)

    def make_room(self) -> None:
        """Forget what is too much; to be called before a body is walked over, since contexts must live until it is done."""
        if len(self.contexts) > CONTEXTS_MAX * self._share:
            self.contexts.forget()
            self.outlines.forget()
            self._forget_keys()
        elif len(self._table) > KEYS_MAX * self._share:
            self._forget_keys()

    def find(self, data: U8, words: U64, kind: int, points: Points) -> list[Found]:
        """Return those points of one kind whose series are known, and whose time can be.

        data: the body with `PADDING_BYTES` behind it; words: see `forms.words_of`.
        """
        out: list[Found] = []
        for form, form_salt in reversed(list(self._forms.items())):
            if form.kind != kind:
                continue
            fitting = form.fitting(data, points.starts, points.ends)
            some = points if len(fitting) == len(points) else points.take(fitting)
            keys = self._keys(form, data, some, form_salt)
            numbers = self._table.find(keys)
            hit = (numbers != MISSING) & are_times(words[at(form.time, some.starts, some.ends)])
            if not hit.all():
                rows = hit.nonzero()[0]
                some, numbers, fitting, keys = some.take(rows), numbers[rows], fitting[rows], keys[rows]
            if not len(some):
                continue
            self._forms.move_to_end(form)
            out.append(Found(form, some.point, some.starts, some.ends, self._first[numbers], keys))
            if len(some) == len(points):
                break
            left = np.ones(len(points), np.bool_)
            left[fitting] = False
            points = points.take(left.nonzero()[0])
        return out

    def permuted(self, data: U8, words: U64, walked: Walked) -> Permuted | None:
        """Return the samples of a body whose points are those of the body before that it looks like, in any order."""
        before, starts, ends = walked.before, walked.starts, walked.ends
        if before is None or len(before.form.fitting(data, starts, ends)) < len(starts):
            return None
        points = Points(_NO_NUMBERS, starts, ends, before.salts)
        return permuted(before, self._keys(before.form, data, points, before.form_salt), data, words, starts, ends)

    def set_of(self, walked: Walked, found: Sequence[Found], salts: U64) -> PointSet | None:
        """Return the points of a body as a set, None where they are of more than one form, or no numbers."""
        first = found[0]
        if len(found) > 1 or first.form.kind != NUMBER or len(first.point) < len(walked):
            return None
        salt = self._forms.get(first.form)
        return None if salt is None else make_set(first.form, salt, salts, first.keys, self.refs(first.first, 1))

    def _keys(self, form: Form, data: U8, points: Points, form_salt: np.uint64) -> U64:
        keys = np.zeros(len(points.starts), np.uint64)
        for first, behind in form.kept:
            begin = at(first, points.starts, points.ends)
            stop = points.ends + behind if behind <= 0 else points.starts + behind
            keys = keys * self._weight + self._hasher.hash_many(Blocks(data, begin, stop - begin))
        keys ^= points.salts ^ form_salt
        keys[keys == 0] = 1
        return keys

    def refs(self, first: I64, width: int) -> U32:
        """Return uint32[n, width], the refs of points from those places on."""
        return self._refs[first] if width == 1 else self._refs[first[:, None] + np.arange(width)]

    def learn(self, data: U8, body: bytes, kinds: Sequence[int], points: Points, refs: Sequence[U32]) -> None:
        """Remember the refs of points that the general way has taken, as far as they have a form."""
        by_form: dict[Form, list[int]] = {}
        for i, kind in enumerate(kinds):
            form = form_of(body, int(points.starts[i]), int(points.ends[i]), kind)
            if form is not None and form.refs_count == len(refs[i]):
                by_form.setdefault(form, []).append(i)
        for form, rows in by_form.items():
            salt = self._forms.setdefault(form, np.uint64(int.from_bytes(os.urandom(8), "little")))
            keys = self._keys(form, data, points.take(np.array(rows)), salt)
            self._remember(keys, np.stack([refs[i] for i in rows]))
            if len(self._forms) > FORMS_MAX:
                self._forms.popitem(last=False)

    def _remember(self, keys: U64, refs: U32) -> None:
        """refs: uint32[n, width]; the first of equal keys counts."""
        fresh, which = np.unique(keys, return_index=True)
        is_new = self._table.find(fresh) == MISSING
        rows = refs[which[is_new]]
        if not len(rows):
            return
        entries, end = len(self._table), self._used + rows.size
        self._first = grown(self._first, entries + len(rows))
        self._refs = grown(self._refs, end)
        self._first[entries : entries + len(rows)] = self._used + np.arange(len(rows)) * rows.shape[1]
        self._refs[self._used : end] = rows.reshape(-1)
        self._used = end
        self._table.add(fresh[is_new])
