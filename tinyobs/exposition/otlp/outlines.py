"""What bodies look like between their data points: a body that differs in nothing but points has the same metrics.

Programs in Go send the points of a metric in another order each time; all else stays, so that no metric has to be recognised
again.  An outline is of use where points are most of a body; where they are not it is not kept.  Points of a metric often have
one length, whatever their order: then they stand where those of the body before did, which needs no more than a look at
their tags and lengths.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from ...model.ragged import spread
from .cut import Firsts, cut, firsts_of
from .point_sets import PointSet
from .walk import Walked, first_resource

OUTLINE_BYTES_MAX: Final = 16 << 20
"""Bytes of outlines, with the sets of their points; the one that was used longest ago goes first."""
_POINTS_PART: Final = 4
"""Bytes of a body for each byte between its points, at least."""
_SIZE_OF_BYTE: Final = 9
"""Bytes of an outline for each byte between the points."""

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@frozen(eq=False)
class _Outline:
    """places, bytes: of what is between the points.  heads, head_bytes: of the tags and lengths of the points.  firsts: see `cut`.  like: a body that had them."""

    places: I64
    bytes: U8
    heads: I64
    head_bytes: U8
    firsts: Firsts
    like: Walked

    @property
    def size(self) -> int:
        points = 16 * len(self.like) + (self.like.before.size if self.like.before is not None else 0)
        return _SIZE_OF_BYTE * (len(self.places) + len(self.heads)) + 64 * len(self.like.begins) + points


class Outlines:
    """Outlines of bodies by their length and first resource.  Not thread-safe."""

    def __init__(self, share: float = 1.0) -> None:
        self._bytes_max = int(OUTLINE_BYTES_MAX * share)
        self.forget()

    def forget(self) -> None:
        """Forget all."""
        self._kept: OrderedDict[tuple[int, bytes], _Outline] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, data: U8, body: bytes, points_max: int) -> Walked | None:
        """Return the points of a body whose outline is that of one before; see `walk.walk`."""
        key = len(body), first_resource(body)
        outline = self._kept.get(key)
        if outline is None or not np.array_equal(data[outline.places], outline.bytes):
            return None
        self._kept.move_to_end(key)
        like = outline.like
        if np.array_equal(data[outline.heads], outline.head_bytes):
            return like if len(like) <= points_max else None
        pieces = cut(data, len(body), like.begins, like.stops, points_max, outline.firsts)
        if pieces is None or not (pieces.stops == like.stops).all() or not (pieces.counts == like.counts).all():
            return None
        return Walked(
            pieces.starts, pieces.ends, like.metrics, like.counts, like.begins, like.stops, like.resources, like.before
        )

    def keep(self, data: U8, body: bytes, walked: Walked) -> None:
        """Remember the outline of a body."""
        between = np.append(walked.begins, len(body)) - np.append(0, walked.stops)
        if int(between.sum()) * _POINTS_PART > len(body):
            return
        places = spread(np.append(0, walked.stops), between)
        behind = np.append(0, walked.ends[:-1])  # of the point before, and of what is between metrics
        behind[np.append(0, walked.counts.cumsum()[:-1])] = walked.begins
        heads = spread(behind, walked.starts - behind)
        self._put(body, _Outline(places, data[places], heads, data[heads], firsts_of(data, walked.begins), walked))

    def keep_set(self, body: bytes, points: PointSet) -> None:
        """Remember the points of a body with its outline, if that is kept."""
        outline = self._kept.get((len(body), first_resource(body)))
        if outline is not None:
            self._put(body, evolve(outline, like=evolve(outline.like, before=points)))

    def _put(self, body: bytes, made: _Outline) -> None:
        key = len(body), first_resource(body)
        before = self._kept.get(key)
        self._bytes += made.size - (before.size if before is not None else 0)
        self._kept[key] = made
        self._kept.move_to_end(key)
        while self._bytes > self._bytes_max:
            self._bytes -= self._kept.popitem(last=False)[1].size
