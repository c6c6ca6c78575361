"""Promises of writing: results tell the truth, bits are kept, batches are whole."""

from __future__ import annotations

import struct
from typing import Final

from ...errors import StorageError
from ...model.batch import AppendResult, Refused
from ...model.histograms import handles
from ...model.metadata import MetricMetadata, MetricType
from ...model.staleness import NORMAL_NAN, STALE_NAN
from .scene import STEP_MS, Row, Scene, is_frozen_attrs, labels, make_batch

YEARS_1000_MS: Final = 1000 * 366 * 86_400_000
A: Final = labels("a", host="1")
B: Final = labels("b", host="1")


def check_results(scene: Scene) -> None:
    """There is a result for each batch, in order; batches of one call see those before them."""
    storage, now = scene.storage, scene.now_ms
    assert storage.append([]) == [], "no batches, no results"
    sizes: tuple[list[Row], ...] = ([(A, now - 2, 1.0)], [], [(A, now - 1, 2.0), (B, now, 3.0)], [(A, now, 4.0)])
    results = storage.append([make_batch(storage, rows) for rows in sizes])
    assert [r.stored for r in results] == [1, 0, 2, 1], "there is a result for each batch, in order"
    assert not any(r.refused_total for r in results), "good samples are not refused"
    for rows in sizes:
        scene.note(rows)
    scene.check("what the results say was stored")


def check_bits(scene: Scene) -> None:
    """Values keep their bits: staleness markers, payloads of NaN, -0.0, infinities, the largest and the smallest."""
    odd = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
    values = [STALE_NAN, NORMAL_NAN, odd, -0.0, 0.0, float("inf"), -float("inf"), 5e-324, 1.7976931348623157e308, 0.1]
    for i, value in enumerate(values):
        scene.store([(A, scene.now_ms - STEP_MS * (len(values) - i), value), (B, scene.now_ms + i, value)])
    scene.check("values keep their bits")
    scene.settle()
    scene.check("values keep their bits in background work")


def check_handles(scene: Scene) -> None:
    """A float sample that has the bits of a histogram's handle becomes the ordinary NaN."""
    scene.offer([(A, scene.now_ms, float(handles(7, 8)[0]))])
    scene.note([(A, scene.now_ms, NORMAL_NAN)])
    scene.check("a float with the bits of a handle becomes the ordinary NaN")


def check_extreme_times(scene: Scene) -> None:
    """Times far away are refused with a reason or stored, whatever they are; good ones beside them are stored."""
    now, far = scene.now_ms, (-(1 << 63), -YEARS_1000_MS, -1, 0, scene.now_ms + YEARS_1000_MS, (1 << 63) - 1)
    for at in far:
        rows: list[Row] = [(A, now + far.index(at), 1.0), (labels("far"), at, 2.0)]
        result = scene.offer(rows)
        assert result.stored in (1, 2), "good samples beside bad ones are stored"
        scene.note(rows[: result.stored])
        if result.refused_total:
            (reason,) = result.refused
            assert result.example[reason] == 1, "the example of a refusal is the sample that was refused"
            assert reason in (Refused.TOO_OLD, Refused.OUT_OF_BOUNDS, Refused.OUT_OF_ORDER), (
                f"{at} was refused: {reason}"
            )
    with scene.storage.querier(-(1 << 63), (1 << 63) - 1) as querier:
        selection = querier.select([], -(1 << 63), (1 << 63) - 1)
        found = sum(map(len, scene.expected.values()))
        assert selection.read(0, len(selection.labels)).samples == found, "the widest range of times has everything"


def check_repeats(scene: Scene) -> None:
    """An equal sample is stored already; another value of a time is refused, or replaces the first."""
    now = scene.now_ms
    scene.store([(A, now - STEP_MS, 1.0), (B, now - STEP_MS, STALE_NAN)])
    scene.store([(A, now - STEP_MS, 1.0), (B, now - STEP_MS, STALE_NAN)])
    scene.check("an equal sample counts as stored and changes nothing")
    scene.store([(A, now, 2.0)])
    scene.store([(A, now - STEP_MS, 1.0)])
    scene.check("an equal sample is known behind newer ones, too")
    scene.store([(A, now + 1, 3.0), (A, now + 1, 3.0)])
    scene.check("an equal sample within a batch changes nothing")
    others: tuple[Row, ...] = (
        (A, now, 9.0),
        (A, now - STEP_MS, -1.0),
        (B, now - STEP_MS, NORMAL_NAN),
        (A, now + 1, -0.0),
    )
    for row in others:
        _check_other(scene, [row], scene.offer([row]))
    rows: list[Row] = [(A, now + 2, 1.0), (A, now + 2, 2.0)]
    result = scene.offer(rows)
    scene.note(rows[:1])
    if result.stored == 2:
        scene.note(rows[1:])
    scene.check("of two values for one time in a batch, the result tells which stands")
    scene.settle()
    scene.check("which of two values stands does not change")


def _check_other(scene: Scene, rows: list[Row], result: AppendResult) -> None:
    if result.stored:
        scene.note(rows)
    else:
        assert dict(result.refused) == {Refused.DUPLICATE: 1}, "another value for a stored time is a duplicate"
    scene.check("a refused duplicate changes nothing, an accepted one replaces")


def check_order(scene: Scene) -> bool:
    """Samples older than the newest of their series are stored or refused; tell whether they are stored."""
    now = scene.now_ms
    scene.store([(A, now, 1.0), (B, now - 60_000, 1.0)])
    late: list[Row] = [(A, now - 30_000, 2.0)]
    result = scene.offer(late)
    takes = result.stored == 1
    if takes:
        scene.note(late)
    else:
        wanted = (Refused.OUT_OF_ORDER, Refused.TOO_OLD)
        assert all(reason in wanted for reason in result.refused), f"late samples are late: {dict(result.refused)}"
    scene.check("a late sample is stored if the result says so")
    scene.store([(B, now - 50_000, 2.0), (B, now - 40_000, 3.0), (B, now - 30_000, 4.0)])
    scene.check("many samples of a series in a batch are all stored")
    rows: list[Row] = [(B, now - 10_000, 5.0), (B, now - 20_000, 6.0), (B, now, 7.0)]
    result = scene.offer(rows)
    scene.note([rows[0], rows[2]])
    if result.stored == 3:
        scene.note(rows[1:2])
    else:
        assert list(result.example.values()) == [1], "the example of a refusal is the sample that was refused"
    scene.check("order within a batch matters if the result says so")
    scene.settle()
    scene.check("late samples are where they belong after background work")
    return takes


def check_metadata(scene: Scene) -> None:
    """Metadata that came with a batch is known; the newest stands."""
    first = MetricMetadata(MetricType.COUNTER, "Help.", "")
    second = MetricMetadata(MetricType.GAUGE, "Other help.", "seconds")
    scene.store([(A, scene.now_ms, 1.0)], metadata={"a": first, "b": first})
    assert dict(scene.storage.metadata()) == {"a": first, "b": first}, "metadata that came with a batch is known"
    known = scene.storage.metadata()
    scene.store([(A, scene.now_ms + 1, 1.0)], metadata={"b": second})
    assert dict(scene.storage.metadata()) == {"a": first, "b": second}, "the newest metadata stands"
    assert known["b"] == first, "metadata that was returned does not change"


def check_background(scene: Scene) -> None:
    """Background work comes to an end and changes no answer."""
    for i in range(200):
        scene.store([(labels("m", i=str(j)), scene.now_ms + STEP_MS * (i - 199), i * j / 7) for j in range(5)])
    scene.settle()
    scene.check("background work changes no answer")
    for name, statistics in scene.storage.take_sealed():
        assert name, "a sealed file has a name"
        assert is_frozen_attrs(statistics), "statistics of a sealed file are an attrs object"
    assert not list(scene.storage.take_sealed()), "sealed files are told once"
    assert all(notice.text for notice in scene.storage.take_notices()), "a notice says something"
    assert not list(scene.storage.take_notices()), "notices are told once"


def check_many_series(scene: Scene) -> None:
    """Thousands of series in one batch, in no order."""
    numbers = [i * 7919 % 3001 for i in range(3001)]
    scene.store([(labels("many", i=str(i)), scene.now_ms, float(i)) for i in numbers])
    scene.check("thousands of series are stored at once")
    assert len(scene.read([], scene.now_ms, scene.now_ms)) == 3001


def check_end(scene: Scene) -> None:
    """Statistics are an attrs object; closing twice does no harm; a closed storage takes nothing."""
    scene.store([(A, scene.now_ms, 1.0)])
    assert is_frozen_attrs(scene.storage.statistics()), "statistics are an attrs object"
    scene.storage.close()
    scene.storage.close()
    try:
        scene.storage.append([make_batch(scene.storage, [(A, scene.now_ms + 1, 1.0)])])
    except StorageError:
        return
    raise AssertionError("a closed storage takes nothing and says so")
