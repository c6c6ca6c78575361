"""What a delete does: to the log, to the head and to the segments, live and when the log is replayed.

The record in the log makes a delete durable and atomic, at its place among the samples: what the head holds then goes
for good, and segments made before it are read without what it takes away (`masking.py`) until they are rewritten
(`cleaning.py`).  What decides about the next sample of a series stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from ..errors import LimitExceeded
from ..model.matchers import Matcher
from .deletes import DELETES_MAX, Delete, check_size, encode_delete
from .head_chunk import HeadChunk, compress_runs
from .masking import without
from .wal_format import RecordType

if TYPE_CHECKING:
    from .engine import Engine
    from .head import Head
    from .manifest import Manifest
    from .series_index import SeriesIndex


def delete_samples(engine: Engine, matcher_sets: Sequence[Sequence[Matcher]], mint_ms: int, maxt_ms: int) -> None:
    """Delete what is stored now, durably; see `abc.Storage.delete`.

    What waits to be taken over counts as stored.  Raises `LimitExceeded` when too many deletes wait for cleaning,
    `DiskFullError`, `ReadOnlyError` or `StorageError`; nothing is deleted then.
    """
    sets = tuple(tuple(matchers) for matchers in matcher_sets)
    if not sets or mint_ms > maxt_ms:
        return
    check_size(sets)
    if len(engine.segments.deletes) >= DELETES_MAX:
        message = f"{DELETES_MAX} deletes wait until their segments are rewritten; let tombstones be cleaned first"
        raise LimitExceeded("DELETES_MAX", message)
    engine.upkeep.abandon()
    engine.upkeep.adoption.adopt_now(engine)
    delete = Delete(engine.segments.take_sequence(), mint_ms, maxt_ms, sets)
    engine.wal.write_record(RecordType.TOMBSTONE, encode_delete(delete))
    delete_from_head(engine.head, engine.index, delete, engine)
    engine.segments.hold(delete, engine.publish)
    engine.changes.note(mint_ms)
    engine.upkeep.counts.deletes += 1


def delete_from_head(head: Head, index: SeriesIndex, delete: Delete, engine: Engine | None = None) -> None:
    """Take the samples of a delete out of the head.

    engine: whose readers look on, None while the log is replayed.  A cut must not be in progress.
    """
    assert not head.frozen
    if head.max_ms < head.min_ms or not delete.overlaps(head.min_ms, head.max_ms):
        return
    refs = [index.match(matchers) for matchers in delete.matcher_sets]
    chosen = np.zeros(len(head.newest_ms), np.bool_)
    for found in refs:
        chosen[found[: int(np.searchsorted(found, len(chosen)))]] = True
    head.set_aside()
    sealed = head.seal()
    chunks = [c for chunk in [*head.chunks, *sealed[1]] for c in _left_of(chunk, chosen, delete)]

    def change() -> None:
        head.put_sealed(*sealed)
        head.put_chunks(chunks)

    if engine is None:
        change()
    else:
        engine.publish(change)


def _left_of(chunk: HeadChunk, chosen: NDArray[np.bool_], delete: Delete) -> list[HeadChunk]:
    """Return the chunks that hold what is left of one: itself, another, or none."""
    if not delete.overlaps(chunk.min_ms, chunk.max_ms):
        return [chunk]
    rows = chosen[chunk.refs]
    if not rows.any():
        return [chunk]
    runs = chunk.read(np.arange(len(chunk.refs)))
    in_range = (runs.times_ms >= delete.mint_ms) & (runs.times_ms <= delete.maxt_ms)
    dropped = in_range & np.repeat(rows, np.diff(runs.offsets))
    if not dropped.any():
        return [chunk]
    left = without(runs, dropped)
    lengths = np.diff(left.offsets)
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return []
    offsets = np.append(left.offsets[filled], left.offsets[-1])
    return compress_runs(chunk.refs[filled], left.with_offsets(offsets).compact())


def note_in_manifest(manifest: Manifest, delete: Delete) -> Manifest:
    """Return the manifest with a delete that the log tells of, as `hold` would have left it."""
    following = max(manifest.next_segment, delete.below + 1)
    known = any(d.below == delete.below for d in manifest.deletes)
    concerned = any(
        e.sequence < delete.below and delete.overlaps(*(e.covers or (e.mint_ms, e.maxt_ms))) for e in manifest.segments
    )
    deletes = manifest.deletes if known or not concerned else (*manifest.deletes, delete)
    return attrs.evolve(manifest, next_segment=following, deletes=deletes)
