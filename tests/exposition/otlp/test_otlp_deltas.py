"""Deltas become running totals by the rules of the Collector, and totals move on only when they are settled."""

from __future__ import annotations

import pytest
from otlp_bodies import SECOND_NS, START_NS, Body
from reading import decoder

from tinyobs.exposition.otlp.deltas import DeltaTotals
from tinyobs.exposition.otlp.points import NeedsTotals
from tinyobs.exposition.otlp.schema import DELTA
from tinyobs.model.histograms import numbers_of

NOW = START_NS // 1_000_000


class Adding:
    """Decodes requests with deltas one after another."""

    def __init__(self, stale_ms: int = 300_000, streams_max: int = 100) -> None:
        self.totals = DeltaTotals(stale_ms, streams_max)
        self.decoder = decoder(convert_delta=True, starts=True)

    def take(self, body: Body, *, now_ms: int = NOW, settle: bool = True):
        """Return the batch, and the reasons for which points were left out."""
        decoded = self.decoder.decode(body.bytes(), totals=self.totals.begin(now_ms))
        if settle:
            decoded.settle()
        return decoded.pushed.batch, dict(decoded.pushed.refused)


def hits(begin: int, end: int, value: float, **labels: str) -> Body:
    """Return a delta from one second to another."""
    body = Body()
    body.sum(
        "hits",
        value,
        temporality=DELTA,
        start_ns=START_NS + begin * SECOND_NS,
        at_ns=START_NS + end * SECOND_NS,
        **labels,
    )
    return body


def test_sums_add_up():
    """The start is that of the first delta; a later start, or a gap, changes nothing."""
    adding = Adding()
    found = []
    for begin, end, value in ((0, 1, 5), (1, 2, 7), (4, 5, 1), (0, 9, 2)):
        batch, refused = adding.take(hits(begin, end, value))
        assert not refused
        found.append((batch.values.tolist(), batch.timestamps_ms[0] - NOW, batch.starts_ms[0] - NOW))
    assert found == [([5.0], 1000, 0), ([12.0], 2000, 0), ([13.0], 5000, 0), ([15.0], 9000, 0)]


@pytest.mark.parametrize(("begin", "end"), [(1, 3), (1, 2), (0, 9), (2, 3)])
def test_deltas_out_of_order_are_left_out(begin, end):
    """Not newer than the last one, or begun before the total."""
    adding = Adding()
    adding.take(hits(1, 3, 5))
    batch, refused = adding.take(hits(begin, end, 7))
    assert (len(batch), refused) == (0, {"delta_order": 1})
    assert adding.take(hits(3, 10, 1))[0].values.tolist() == [6.0]


def test_what_was_not_settled_did_not_happen():
    """A request that could not be stored counts when it comes again."""
    adding = Adding()
    adding.take(hits(0, 1, 5))
    for settle in (False, False, True):
        assert adding.take(hits(1, 2, 7), settle=settle)[0].values.tolist() == [12.0]
    assert adding.take(hits(1, 2, 7))[1] == {"delta_order": 1}


def test_several_deltas_of_a_stream_in_one_request():
    """Each is added to the one before."""
    body = hits(0, 1, 5)
    body.scope_metrics.metrics.extend(hits(1, 2, 7).scope_metrics.metrics)
    body.scope_metrics.metrics.extend(hits(1, 2, 1.5, path="/").scope_metrics.metrics)
    batch, _ = Adding().take(body)
    assert batch.values.tolist() == [5.0, 12.0, 1.5]


def test_silent_streams_are_forgotten():
    """Their next delta begins a total."""
    adding = Adding(stale_ms=100_000)
    adding.take(hits(0, 1, 5))
    adding.take(hits(0, 1, 5, path="/"), now_ms=NOW + 90_000)
    assert len(adding.totals) == 2
    assert adding.take(hits(1, 2, 7), now_ms=NOW + 160_000)[0].values.tolist() == [7.0]
    assert adding.take(hits(1, 2, 7, path="/"), now_ms=NOW + 170_000)[0].values.tolist() == [12.0]


def test_streams_are_bounded():
    """Those that are there go on."""
    adding = Adding(streams_max=2)
    adding.take(hits(0, 1, 5))
    adding.take(hits(0, 1, 5, path="/a"))
    assert adding.take(hits(0, 1, 5, path="/b"))[1] == {"delta_streams": 1}
    assert adding.take(hits(1, 2, 5, path="/a"))[0].values.tolist() == [10.0]


def histogram(second: int, counts: list[int], bounds: list[float], total: float | None = 1.5) -> Body:
    body = Body()
    body.histogram(
        "duration",
        counts,
        bounds,
        total=total,
        temporality=DELTA,
        start_ns=START_NS,
        at_ns=START_NS + second * SECOND_NS,
    )
    return body


def test_histograms_add_up():
    """Bucket by bucket; a sum that is missing once is missing from then on; other bounds begin anew."""
    adding = Adding()
    assert adding.take(histogram(1, [1, 2], [1.0]))[0].values.tolist() == [1.5, 3.0, 1.0, 3.0]
    assert adding.take(histogram(2, [3, 4], [1.0]))[0].values.tolist() == [3.0, 10.0, 4.0, 10.0]
    assert adding.take(histogram(3, [1, 0], [1.0], None))[0].values.tolist() == [11.0, 5.0, 11.0]
    assert adding.take(histogram(4, [1, 0], [1.0]))[0].values.tolist() == [12.0, 6.0, 12.0]
    assert adding.take(histogram(5, [1, 0], [2.0]))[0].values.tolist() == [1.5, 1.0, 1.0, 1.0]


def exponential(second: int, positive: list[int], **more) -> Body:
    body = Body()
    threshold = more.pop("threshold", 0.0)
    point = body.exponential(
        "size", positive, temporality=DELTA, start_ns=START_NS, at_ns=START_NS + second * SECOND_NS, **more
    )
    point.zero_threshold = threshold
    return body


def native(batch):
    """Return the one histogram of a batch."""
    return batch.histograms.one(int(numbers_of(batch.values)[0]))


def test_exponential_histograms_add_up():
    """In the coarser scale of both; negative buckets and zeros as well."""
    adding = Adding()
    adding.take(exponential(1, [1, 2, 3], scale=1, offset=-1, negative=[1], zero_count=1))
    h = native(adding.take(exponential(2, [4, 5], scale=0, offset=0, negative=[2], zero_count=2))[0])
    assert (h.schema, h.count, h.zero_count, h.sum) == (0, 21, 3, 3.0)
    assert (h.positive_spans, h.positive_buckets) == (((0, 3),), (1, 9, 5))
    assert (h.negative_spans, h.negative_buckets) == (((1, 1),), (3,))


def test_exponential_histograms_become_coarser():
    """Where they would have more than 160 buckets."""
    adding = Adding()
    adding.take(exponential(1, [1], scale=3, offset=-200))
    h = native(adding.take(exponential(2, [1], scale=3, offset=100))[0])
    assert (h.schema, sum(h.positive_buckets), h.count) == (2, 2, 2)


def test_the_wider_zero_bucket_counts():
    """What is within it is no longer in a bucket."""
    adding = Adding()
    adding.take(exponential(1, [1, 2, 3], scale=0, offset=-2))
    h = native(adding.take(exponential(2, [7], scale=0, offset=3, zero_count=1, threshold=0.5))[0])
    assert (h.zero_threshold, h.zero_count, h.count) == (0.5, 2, 14)
    assert h.positive_buckets == (2, 3, 0, 0, 7) or sum(h.positive_buckets) == 12
    h = native(adding.take(exponential(3, [1], scale=0, offset=-2))[0])
    assert (h.zero_threshold, h.zero_count, h.count) == (0.5, 3, 15)


@pytest.mark.parametrize("threshold", [1e-300, 1.7e308, float("inf"), float("nan"), -1.0])
@pytest.mark.parametrize("scale", [-4, 20, 64, -5, 2**31 - 1])
def test_odd_exponential_histograms(threshold, scale):
    """They are added or left out, and break nothing."""
    adding = Adding()
    for second in (1, 3):
        adding.take(exponential(second, [1, 2], scale=scale, offset=-(2**31)))
        adding.take(exponential(second + 1, [3], scale=scale, offset=2**31 - 2, threshold=threshold, negative=[1]))
    assert len(adding.take(hits(0, 1, 5))[0]) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda point: setattr(point, "count", 99),
        lambda point: setattr(point, "zero_threshold", float("nan")),
        lambda point: setattr(point, "zero_threshold", -1.0),
    ],
    ids=["count", "nan", "negative"],
)
@pytest.mark.parametrize("at", [1, 2])
def test_an_odd_point_spoils_no_later_one(at, spoil):
    """Whether it begins a total or is added to one: one that is left out is not added, one that is taken is no hindrance."""
    adding = Adding()
    for second in (1, 2, 3, 4):
        body = exponential(second, [1, 2], scale=0, threshold=0.5 * (second > 2))
        if second == at:
            spoil(body.scope_metrics.metrics[0].exponential_histogram.data_points[0])
        batch, refused = adding.take(body)
        assert sum(refused.values()) == (not len(batch))
        assert len(batch) or second == at
    assert native(batch).count in (9, 12)


def test_without_totals_they_are_asked_for():
    """Cumulative points beside them do not need any."""
    made = decoder(convert_delta=True)
    body = Body()
    body.sum("cumulative", 1)
    assert len(made.decode(body.bytes()).pushed.batch) == 1
    with pytest.raises(NeedsTotals):
        made.decode(hits(0, 1, 5).bytes())


def test_the_end_of_a_stream_of_deltas():
    """It is a staleness marker, and the total stays."""
    adding = Adding()
    adding.take(hits(0, 1, 5))
    body = hits(1, 2, 0)
    body.scope_metrics.metrics[0].sum.data_points[0].flags = 1
    batch, refused = adding.take(body)
    assert not refused
    assert batch.values[0] != batch.values[0]
    assert adding.take(hits(2, 3, 5))[0].values.tolist() == [10.0]
