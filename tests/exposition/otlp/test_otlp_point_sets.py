"""Points that come in another order than in the body before: recognised as a set, with the samples of the general way."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from otlp_bodies import SECOND_NS, START_NS, Body, attributes
from otlp_orders import by_tags, collector, dotnet, java, reordered
from reading import decoder, everything, general, same

from tinyobs.exposition.otlp import cut, outlines, plan
from tinyobs.exposition.otlp.decoder import BegunSet
from tinyobs.exposition.otlp.schema import Request

ORDERS = (by_tags, collector, dotnet, java)


def program(
    step: int, order: random.Random, *, points: int = 30, value: float = 1.5, at_ns: int = 0, lengths: int = 4
) -> Body:
    """Return what a program in Go exports: two metrics of numbers whose points come in any order, and have some lengths."""
    body = Body(scope="lib", service__name="shop", service__instance__id="i", host__name="h")
    for name in ("level", "room"):
        gauge = body.metric(name, "By").gauge
        for i in order.sample(range(points), points):
            point = gauge.data_points.add(time_unix_nano=at_ns or START_NS + step * SECOND_NS + i % 3)
            setattr(point, "as_int" if (i + step) % 3 else "as_double", int(i * step) if (i + step) % 3 else value * i)
            attributes(point.attributes, {"series": f"{i:04d}", "other": "x" * (i % lengths)})
    return body


def is_set(made: Any, body: bytes) -> bool:
    """Tell whether a body is recognised as a set."""
    return isinstance(made.begin(body), BegunSet)


def known(order: Any = by_tags, lengths: int = 4, **rules: Any) -> Any:
    """Return a decoder that has seen so many bodies that it takes none for one that looks like the one before."""
    made, draw = decoder(**rules), random.Random(5)
    for step in range(1, plan.MISSES_MAX + 5):
        assert same(made, reordered(program(step, draw, lengths=lengths).bytes(), order))
    return made


@pytest.mark.parametrize("order", ORDERS)
def test_points_in_any_order(order):
    """Whatever the order, and whichever of them are integers: the samples of the general way, in order of series."""
    made, draw = known(order), random.Random(6)
    for step in range(20, 40):
        body = reordered(program(step, draw, value=draw.random()).bytes(), order)
        assert is_set(made, body)
        assert same(made, body)
        refs = made.decode(body).pushed.batch.refs
        assert (refs[1:] > refs[:-1]).all()


def test_several_resources_one_without_points():
    """Each resource has a `target_info` for the times of its own points."""
    made, draw = decoder(), random.Random(8)
    for step in range(1, 12):
        request = Request()
        for r in range(4):
            body = Body(scope="lib", service__name=f"shop-{r}", host__name="h")
            for m in range(3 if r != 2 else 0):
                gauge = body.metric(f"level.{m}").gauge
                for i in draw.sample(range(20), 20):
                    point = gauge.data_points.add(time_unix_nano=START_NS + (step + r) * SECOND_NS, as_double=i * step)
                    attributes(point.attributes, {"i": f"{i:03d}", "more": "y" * 40})
            request.MergeFrom(body.request)
        raw = bytes(request.SerializeToString())
        assert same(made, raw)
    assert is_set(made, raw)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b"0007", b"0070"),
        lambda body: body.replace(b"0007", b"0008"),
        lambda body: body.replace(b"level", b"leveL"),
        lambda body: body.replace(b"shop", b"shoP"),
    ],
    ids=["another-series", "a-series-twice", "another-metric", "another-resource"],
)
def test_other_series_are_no_such_set(change):
    """One point that is another, or there twice, and all are looked up one by one."""
    made, draw = known(), random.Random(9)
    body = change(program(20, draw).bytes())
    assert not is_set(made, body)
    assert same(made, body)
    assert same(made, body)
    assert is_set(made, program(21, draw).bytes())


@pytest.mark.parametrize("at_ns", [0, 1 << 63, (1 << 64) - 1])
def test_times_that_cannot_be_are_refused(at_ns):
    """They are left out and counted, as ever."""
    made = known()
    body = (
        program(20, random.Random(1), at_ns=77)
        .bytes()
        .replace((77).to_bytes(8, "little"), at_ns.to_bytes(8, "little"), 3)
    )
    assert not is_set(made, body)
    assert same(made, body)
    assert made.decode(body).rejected == 3


@pytest.mark.parametrize("order", ORDERS)
def test_points_of_one_length_stand_where_they_stood(order, monkeypatch):
    """In any order, without being cut; where two of them have other lengths all are cut again."""
    made, draw, cuts = known(order, lengths=1), random.Random(13), []
    monkeypatch.setattr(outlines, "cut", lambda *given: cuts.append(given) or cut.cut(*given))
    for step in range(20, 30):
        body = program(step, draw, value=draw.random(), lengths=1)
        raw = reordered(body.bytes(), order)
        assert is_set(made, raw)
        assert same(made, raw)
    assert not cuts
    texts = [point.attributes[1].value for point in body.scope_metrics.metrics[0].gauge.data_points[:2]]
    texts[0].string_value, texts[1].string_value = b"x", b""
    body.scope_metrics.metrics[1].gauge.data_points[0].attributes[0].value.string_value = b"000"
    raw = reordered(body.bytes(), order)
    assert len(raw) == len(reordered(program(20, draw, lengths=1).bytes(), order))
    assert not is_set(made, raw)
    assert same(made, raw)


@pytest.mark.parametrize("lengths", [1, 4])
def test_any_byte_of_a_set_may_be_wrong(lengths):
    """Changed bytes: the same samples, or refused by both."""
    made, draw = known(), random.Random(10)
    body = program(20, draw, points=12, lengths=lengths).bytes()
    for step in range(1, 8):
        assert same(made, program(step, draw, points=12, lengths=lengths).bytes())
    assert is_set(made, body)
    for at in range(0, len(body), 5):
        same(made, body[:at] + bytes([draw.randrange(256)]) + body[at + 1 :])


def test_values_are_never_taken_for_histograms():
    """Not-a-numbers that stand for histograms here are plain ones."""
    made = known()
    nan = int(np.array([0xFFF4_0000_0000_0007], np.uint64)[0])
    body = program(20, random.Random(2), value=1.25)
    for point in body.scope_metrics.metrics[0].gauge.data_points:
        if point.WhichOneof("value") == "as_double":
            point.as_double = np.array([nan], np.uint64).view(np.float64)[0]
    raw = body.bytes()
    assert is_set(made, raw)
    assert same(made, raw)


@pytest.mark.parametrize("rules", [{"starts": True}, {"custom_buckets": True}], ids=["starts", "custom-buckets"])
def test_what_is_kept_of_points_stays(rules):
    """Rules change nothing about which samples there are."""
    made, draw = known(**rules), random.Random(3)
    for step in range(20, 24):
        assert same(made, program(step, draw).bytes())


def test_a_program_that_keeps_an_order_is_soon_recognised_as_a_whole():
    """Now and then a body takes the longer way and is remembered."""
    made = known()
    for step in range(20, 20 + 3 * plan._RETRY_EVERY):
        body = program(step, random.Random(1)).bytes()
        if made.quick(body) is not None:
            break
        assert same(made, body)
    wanted = general(made, body)
    assert everything(made.registry, made.quick(body)) == everything(made.registry, wanted)


def test_sets_are_forgotten_with_their_outlines():
    """They are counted as memory of those."""
    made = known()
    kept = made._known.outlines
    assert kept._bytes == sum(o.size for o in kept._kept.values()) > 28 * 60
    kept.forget()
    assert not is_set(made, program(20, random.Random(4)).bytes())


@pytest.mark.parametrize("order", ORDERS)
def test_guesses_cut_what_steps_cut(order, monkeypatch):
    """Points of many kinds, among texts that look like points, are cut at the same places either way."""
    seen: list[Any] = []
    real = cut._stepped

    def cutting(*given: Any) -> Any:
        pieces = real(*given)
        if pieces is not None:
            seen.append([x.tolist() for x in (pieces.starts, pieces.ends, pieces.counts, pieces.stops)])
        return pieces

    monkeypatch.setattr(cut, "_stepped", cutting)
    draw = random.Random(11)
    for _ in range(30):
        body = Body(scope="\n\x09\x11", service__name="\n\x05!" * 3, host__name="h")
        for m in range(draw.randrange(1, 8)):
            texts = [draw.choice(("\n", "\x11", "\x19", "!", "1", ":", "\x09", "a", "\x00")) for _ in range(40)]
            labels = {"text": "".join(texts), "n": draw.randrange(3)}
            if draw.random() < 0.6:
                body.sum(f"m{m}", *range(draw.randrange(9)), start_ns=START_NS * (m % 2), **labels)
            else:
                body.histogram(f"h{m}", [1, 2, 3], [1.0, 2.0], **labels)
        raw = reordered(body.bytes(), order)
        for bytes_max in (0, 1 << 30):
            monkeypatch.setattr(cut, "_STEP_BYTES_MAX", bytes_max)
            decoder().decode(raw)
    assert len(seen) == 60
    assert seen[::2] == seen[1::2]


def test_bodies_of_many_lengths_are_not_remembered():
    """What a Collector sends hardly has its length twice: nothing is kept but that it was there, of so many."""
    made, draw = decoder(), random.Random(12)
    for step in range(1, 30):
        assert same(made, program(step, draw, points=100 - step).bytes())
    assert len(made._layouts) == len(made._known.outlines) == 0
    assert same(made, program(30, draw, points=90).bytes())
    assert len(made._layouts) == len(made._known.outlines) == 1


def test_the_lengths_that_were_there_are_bounded(monkeypatch):
    """With one more all are forgotten, and come anew."""
    monkeypatch.setattr(plan, "SEEN_MAX", 3)
    layouts = plan.Layouts()
    assert [layouts.wants(bytes(n)) for n in (1, 2, 3, 3, 4, 3, 4)] == [False, False, False, True, False, False, True]
