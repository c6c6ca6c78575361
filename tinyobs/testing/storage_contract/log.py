"""The promises about the log that sinks follow; a storage without one raises `StorageError`."""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import CursorStart, LogCursor, Logged, LogLoss
from ...errors import StorageError
from ...model.histograms import Histogram, numbers_of
from .scene import STEP_MS, Row, Scene, labels

A = labels("a", host="1")
B = labels("b", host="1")


def check_log(scene: Scene) -> bool:
    """Cursors hand out all that is stored from their place on, in order, and go on where they were saved."""
    scene.store([(A, scene.now_ms - 9 * STEP_MS, 0.0)])
    try:
        cursor = scene.storage.cursor("contract/a", CursorStart())
    except StorageError:
        assert not scene.storage.forget_cursors(()), "a storage without a log has no cursors"
        return False
    assert _rows(scene, cursor.read(1000)) == [], "a new cursor begins with what is committed from now on"
    stored = [
        [(A, scene.now_ms + STEP_MS * (i - 8), float(i)), (B, scene.now_ms, float(i))][: 1 + i // 7] for i in range(8)
    ]
    for rows in stored:
        scene.store(rows)
    records = [cursor.read(1) for _ in stored]
    assert all(len(r) == 1 for r in records), "no more is read than was asked for, a record at least"
    assert [_rows(scene, r) for r in records] == stored, "records come in the order in which they were stored"
    ends = [r[0].end for r in records]
    assert ends == sorted(set(ends)), "places ascend"
    assert cursor.position >= ends[-1], "the place of reading is known"
    assert not any(r[0].in_doubt for r in records), "what was committed in this process is not in doubt"
    assert not cursor.read(1), "there is no more"
    assert cursor.bytes_behind() == 0, "and so no byte is left"
    assert cursor.take_loss() == LogLoss(), "nothing was missed"
    _check_reopening(scene, cursor, stored, records)
    return True


def _check_reopening(
    scene: Scene, cursor: LogCursor, stored: Sequence[Sequence[Row]], records: Sequence[Sequence[Logged]]
) -> None:
    storage = scene.storage
    try:
        storage.cursor(cursor.name, CursorStart())
    except StorageError:
        pass
    else:
        raise AssertionError("a cursor is opened once at a time")
    cursor.save(records[2][0].end)
    cursor.close()
    cursor.close()
    again = storage.cursor("contract/a", CursorStart())
    assert again.saved == records[2][0].end, "the saved place is known when the cursor is opened again"
    rest = [row for rows in stored[3:] for row in rows]
    assert _rows(scene, again.read(1000)) == rest, "reading goes on behind the saved place"
    assert storage.forget_cursors(()) == [], "cursors that are open are not forgotten"
    again.close()
    assert storage.forget_cursors(["contract/a"]) == [], "nor are those that are kept"
    assert storage.forget_cursors(["x"]) == ["contract/a"], "all others are"
    fresh = storage.cursor("contract/a", CursorStart())
    assert _rows(scene, fresh.read(1000)) == [], "a cursor that was forgotten is a new one"
    fresh.close()


def _rows(scene: Scene, records: Sequence[Logged]) -> list[Row]:
    found: list[Row] = []
    for batch in [r.batch for r in records]:
        series = [scene.storage.registry.labels(r) for r in batch.refs.tolist()]
        values: list[float | Histogram] = batch.values.tolist()
        if batch.histograms is not None:
            at = numbers_of(batch.values).tolist()
            values = [batch.histograms.one(n) if n >= 0 else v for n, v in zip(at, values, strict=True)]
        found += zip(series, batch.timestamps_ms.tolist(), values, strict=True)
    return found
