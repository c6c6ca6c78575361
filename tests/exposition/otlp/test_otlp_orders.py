"""Bodies as the exporters of different makers put them together are all recognised, point by point and as a whole."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_bodies import SECOND_NS, START_NS, Body, attributes
from otlp_orders import by_tags, collector, dotnet, java, reordered
from reading import decoder, exporter, same

from tinyobs.exposition.otlp import cut, known
from tinyobs.exposition.otlp.forms import HISTOGRAM, NUMBER, form_of
from tinyobs.exposition.otlp.schema import Request
from tinyobs.exposition.otlp.walk import first_resource
from tinyobs.model.label_block import varint

ORDERS = (by_tags, collector, dotnet, java)


def shuffled(step: int, order: random.Random, size: int = 40) -> Body:
    """Return what a program in Go exports: its metrics stay in their order, their points do not."""
    body = Body(scope="lib", service__name="shop", service__instance__id="i", host__name="h")
    at = START_NS + step * SECOND_NS
    gauge = body.metric("level", "By").gauge
    ends = body.metric("took", "s").histogram
    ends.aggregation_temporality = 2
    for i in order.sample(range(size), size):
        point = gauge.data_points.add(time_unix_nano=at, start_time_unix_nano=START_NS)
        setattr(point, "as_int" if i % 3 else "as_double", i * step)
        attributes(point.attributes, {"series": "x" * i, "addr": "a" * (i % 5)})
    for i in order.sample(range(size), size):
        point = ends.data_points.add(time_unix_nano=at, count=6 * step, sum=step / 2, min=0.1, max=float(step))
        point.bucket_counts[:], point.explicit_bounds[:] = [step, 2 * step, 3 * step], [0.5, 1.0]
        attributes(point.attributes, {"i": i})
    return body


def recognised(made: Any, body: bytes) -> int:
    """Return how many points have to take the general way; fails where all have to."""
    begun = made.begin(body)
    assert begun is not None
    return len(begun.slow)


@pytest.mark.parametrize("order", ORDERS)
def test_reordering_changes_nothing(order):
    """The helper of these tests keeps the message as it is."""
    body = exporter(1).bytes()
    changed = reordered(body, order)
    assert Request.FromString(changed) == Request.FromString(body)
    assert (changed == body) == (order in (by_tags, java) and changed == body)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rules", [{}, {"starts": True, "scope_labels": True}])
def test_exporters_of_all_makers(order, rules):
    """Learned, recognised point by point, and as a whole: the same samples."""
    made = decoder(**rules)
    for step in range(5):
        body = reordered(exporter(step).bytes(), order)
        assert same(made, body)
        assert recognised(made, body) == 0
    assert made.quick(reordered(exporter(9).bytes(), order)) is not None


@pytest.mark.parametrize("order", ORDERS)
def test_points_in_another_order_each_time(order):
    """All are known by what they are, wherever they are."""
    made, random_ = decoder(), random.Random(3)
    for step in range(1, 6):
        body = reordered(shuffled(step, random_).bytes(), order)
        if step > 1:
            assert recognised(made, body) == 0
        assert same(made, body)


def test_metrics_scopes_and_resources_in_another_order():
    """A Collector sends what has come since: any resources, in any order."""
    made, order = decoder(starts=True), random.Random(4)
    for step in range(4):
        request = Request()
        for r in order.sample(range(6), 4 if step else 6):
            body = Body(scope="lib", service__name=f"shop-{r}", host__name="h")
            for m in order.sample(range(5), 5):
                body.sum(f"sum.{m}", float(step), at_ns=START_NS + step * SECOND_NS, start_ns=START_NS, code=m)
                body.gauge(f"gauge.{m}", step, 2.5, unit="By", at_ns=START_NS + step * SECOND_NS)
            request.MergeFrom(body.request)
        for how in (by_tags, collector):
            changed = reordered(bytes(request.SerializeToString()), how)
            assert same(made, changed)
            assert recognised(made, changed) == 0


def test_other_starts_are_the_same_series():
    """A start is a number like the others."""
    made = decoder(starts=True)
    for start in (START_NS, START_NS + 5 * SECOND_NS):
        body = Body(service__name="shop")
        body.sum("calls", 1.0, start_ns=start, at_ns=START_NS + 9 * SECOND_NS, a="b")
        assert same(made, body.bytes())
    assert len(made._known) == 1
    assert recognised(made, body.bytes()) == 0


def test_attributes_in_another_order_are_learned_once_more():
    """The series is the same; each order of its attributes is known by itself."""
    made = decoder()
    for labels in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        body = Body(service__name="shop")
        body.gauge("level", 1.0, **labels)
        for _ in range(2):
            assert same(made, body.bytes())
        assert recognised(made, body.bytes()) == 0
    assert len(made._known) == 2


def test_new_points_among_known_ones():
    """Only they take the general way, and only once."""
    made = decoder()
    for step, extra in ((1, 0), (2, 3), (3, 3)):
        body = exporter(step, 6)
        body.gauge("more", *map(float, range(extra)), series="new")
        if step > 1:
            assert recognised(made, body.bytes()) == (extra if step == 2 else 0)
        assert same(made, body.bytes())


@pytest.mark.parametrize("order", ORDERS)
def test_any_byte_may_be_wrong_in_any_order(order):
    """Changed, missing and doubled bytes: the same samples, or refused by both."""
    made, random_ = decoder(), random.Random(7)
    for step in range(3):
        same(made, reordered(exporter(step, 2).bytes(), order))
    whole = reordered(exporter(1, 2).bytes(), order)
    for _ in range(200):
        body = bytearray(whole)
        at = random_.randrange(len(body))
        kind = random_.randrange(3)
        if kind == 0:
            body[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            del body[at : at + random_.choice((1, 2, 9))]
        else:
            body[at:at] = body[at : at + random_.choice((1, 3, 20))]
        same(made, bytes(body))


def test_texts_that_look_like_points_cost_no_sample(monkeypatch):
    """The guess of where points begin is wrong where names and values have their bytes; what it finds is checked."""
    monkeypatch.setattr(cut, "_STEP_BYTES_MAX", 0)
    made = decoder()
    for step in range(3):
        body = Body(service__name="\n\x05aaaaa")
        for i in range(20):
            labels = {"x\n\x11": "\n\x05\x11xxxx", "a\n": "\n\n1\n\x12", "i": i}
            body.gauge(f"\n\x09\x19{i}", float(step), 2.0, unit="\n\x02aa", **labels)
        for order in ORDERS:
            assert same(made, reordered(body.bytes(), order))
            assert recognised(made, reordered(body.bytes(), order)) == 0


def test_many_points_of_one_metric_are_cut_at_once(monkeypatch):
    """None is stepped over where the guess is right."""
    monkeypatch.setattr(cut._Steps, "take", None)
    body = Body(service__name="shop")
    body.gauge("level", *map(float, range(2000)), route="/x")
    begun = decoder().begin(body.bytes())
    assert begun is not None
    assert len(begun.walked) == 2000


def test_the_first_resource_is_looked_for_in_a_few_fields():
    """Wherever it stands among them; what has very many others costs no time."""
    body = exporter(1).bytes()
    found = first_resource(body)
    assert found == bytes(Request.FromString(body).resource_metrics[0].resource.SerializeToString())
    assert first_resource(reordered(body, collector)) == reordered(found, collector, "Resource")
    for many, wanted in ((20, b"\x0a\x00"), (2000, b"")):
        inside = b"\x12\x00" * many + b"\x0a\x02\x0a\x00"
        assert first_resource(b"\x0a" + varint(len(inside)) + inside) == wanted
    for damaged in (b"", b"\x12", b"\x0a", b"\x0a\x05\x12", b"\x0a\x05\x12\xff"):
        assert first_resource(damaged) == b""


def test_forms_are_bounded(monkeypatch):
    """The one that was used longest ago goes; its points are learned again."""
    monkeypatch.setattr(known, "FORMS_MAX", 4)
    made = decoder()
    for i, buckets in enumerate((1, 2, 3, 1, 4)):
        body = Body(service__name="shop")
        body.histogram("took", [1] * buckets, list(map(float, range(buckets - 1))))
        body.gauge(f"another.{i}", 1.0)
        for _ in range(2):
            assert same(made, body.bytes())
    assert {form.bucket_count for form in made._known._forms} == {0, 3, 1, 4}


def fields_in(*numbers: int) -> bytes:
    """Return a point with numbers of these tags, and an attribute."""
    return b"".join(bytes((tag,)) + b"12345678" for tag in numbers)


@pytest.mark.parametrize(
    "point",
    [
        b"",
        fields_in(0x19),
        fields_in(0x19, 0x21, 0x31),
        fields_in(0x19, 0x19, 0x21),
        fields_in(0x19, 0x21) + b"\x3a\x02\x0a\x00" + fields_in(0x11) + b"\x3a\x02\x0a\x00",
        fields_in(0x19, 0x21) + b"\x40\x00",
        fields_in(0x19, 0x21) + b"\x2a\x00",
        fields_in(0x19, 0x21) + b"\x3a\x09\x0a",
    ],
)
def test_what_has_no_form(point):
    """No time, no value or two, fields twice, attributes in two places, flags, exemplars, damage."""
    assert form_of(point, 0, len(point), NUMBER) is None


def test_histograms_without_a_form():
    """Buckets that are not whole, missing, or not one more than bounds."""
    good = fields_in(0x19, 0x21)
    for counts in (
        b"",
        b"\x32\x00",
        b"\x32\x07" + bytes(7),
        b"\x32\x10" + bytes(16),
        b"\x32\x08" + bytes(8) + b"\x3a\x08" + bytes(8),
    ):
        assert form_of(good + counts, 0, len(good + counts), HISTOGRAM) is None
    whole = good + b"\x32\x10" + bytes(16) + b"\x3a\x08" + bytes(8)
    form = form_of(whole, 0, len(whole), HISTOGRAM)
    assert form is not None
    assert (form.bucket_count, form.refs_count, form.sum) == (2, 3, None)


@given(st.permutations([2, 3, 4, 7]), st.permutations([2, 3, 4, 5, 6, 7, 9, 11, 12]))
@settings(max_examples=60)
def test_fields_in_any_order(of_numbers, of_histograms):
    """Whatever the order, points are recognised when they come again."""
    places = {"NumberDataPoint": of_numbers, "HistogramDataPoint": of_histograms}

    def order(message: str, number: int) -> float:
        found = places.get(message, [])
        return found.index(number) if number in found else number

    made = decoder()
    for step in (1, 2, 3):
        body = Body(service__name="shop")
        body.sum("level", 1.5 * step, start_ns=step, a="b", c="d")
        point = body.histogram("took", [step, 1], [2.0], start_ns=step, a="b")
        point.min, point.max = 1.0, float(step)
        changed = reordered(body.bytes(), order)
        if step > 1:
            assert recognised(made, changed) == 0
        assert same(made, changed)
