"""Distributions of Datadog become native histograms: number and sum exactly, quantiles within 2 %."""

from __future__ import annotations

import json
import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinyobs.abc import ConfigSection
from tinyobs.errors import WireError
from tinyobs.model.histograms import ResetHint, histograms_of, numbers_of
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver

import tinyobs_datadog
from tinyobs_datadog.distributions import (
    BIAS,
    GAMMA,
    KEY_MAX,
    ZERO_THRESHOLD,
    histogram_of_sketch,
    histogram_of_values,
)
from tinyobs_datadog.series import SeriesReader
from tinyobs_datadog.settings import SECTION, DatadogSettings
from tinyobs_datadog.wire import SketchPayload

SECTIONS = (ConfigSection(SECTION, DatadogSettings),)
NOW = 1_700_000_000


def key(value):
    """Return the key that the agent gives to a value."""
    if abs(value) < ZERO_THRESHOLD:
        return 0
    return int(math.copysign(max(round(math.log(abs(value)) / math.log1p(GAMMA - 1)) + BIAS, 1), value))


def add_sketch(series, values, at=NOW):
    """Add the sketch of values to a series."""
    keys = Counter(map(key, values))
    sketch = series.dogsketches.add(ts=at, cnt=len(values), sum=math.fsum(values))
    sketch.k.extend(sorted(keys))
    sketch.n.extend(keys[k] for k in sorted(keys))
    return sketch


def sketch_body(*values):
    """Return a payload with a series that has a sketch for each list of values, ten seconds apart."""
    payload = SketchPayload()
    series = payload.sketches.add(metric="request.time", host="a", tags=["env:prod"])
    for i, some in enumerate(values):
        add_sketch(series, some, NOW + 10 * i)
    return payload.SerializeToString()


def points_body(*points, metric="request.time"):
    """Return a JSON body with lists of values."""
    return json.dumps({"series": [{"metric": metric, "points": points, "host": "a", "tags": ["env:prod"]}]}).encode()


CASES = {
    "sketches": ReceiverCase(
        "/datadog/api/beta/sketches",
        sketch_body([1.0], [2.0, 3.0]),
        2,
        bad=b"\xff\xff\xff",
        headers={"content-type": "application/x-protobuf"},
        sections=SECTIONS,
    ),
    "values": ReceiverCase(
        "/datadog/api/v1/distribution_points",
        points_body([NOW, [1, 2.5]], [NOW + 10, [3]]),
        2,
        bad=b"{",
        mixed=points_body([NOW, [1]], [NOW, "x"], [NOW, [None]], 5, [None, [1]], [NOW + 10, [2]]),
        mixed_samples=2,
        sections=SECTIONS,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_the_contract_of_receivers(case, mock_clock):
    """Both paths keep every promise."""
    await check_receiver(tinyobs_datadog.tinyobs_routes, case)


def histograms(pushed, registry):
    """Return [(series, ms, histogram), ...]; floats among them have none."""
    batch, found = pushed.batch, []
    for ref, at, number in zip(batch.refs.tolist(), batch.timestamps_ms, numbers_of(batch.values), strict=True):
        found.append(
            (to_text(registry.labels(ref)), int(at), batch.histograms.one(int(number)) if number >= 0 else None)
        )
    return found


@pytest.mark.parametrize(
    ("read", "body"),
    [
        ("sketches", sketch_body([2.0, -3.0, 0.0, 2.0], [])),
        ("distribution_points", points_body([NOW, [2.0, -3, 0, 2.0]], [NOW + 10, []])),
    ],
)
def test_one_interval(read, body):
    """Its histogram is that of a gauge; an interval without values has none."""
    registry = SeriesRegistry()
    ((series, at, h),) = histograms(getattr(SeriesReader(registry), read)(body), registry)
    assert (series, at) == ('request_time{env="prod", host="a"}', NOW * 1000)
    assert (h.count, h.sum, h.zero_count, h.reset_hint, h.is_integer) == (4, 1.0, 1, ResetHint.GAUGE, True)
    assert (h.positive_buckets, h.negative_buckets) == ((2,), (1,))
    ((start, length),) = h.positive_spans
    assert abs(start - 64) <= 1
    assert length == 1


@pytest.mark.parametrize("exponent", [-20, -1, 0, 1, 7, 300])
def test_powers_of_two_end_their_buckets(exponent):
    """The bucket of a value is the one that includes it as its upper bound."""
    (start, length), *_ = histogram_of_values([2.0**exponent]).positive_spans
    assert (start, length) == (64 * exponent, 1)


@pytest.mark.parametrize("of", ["sketch", "values"])
def test_quantiles(of):
    """They are right within 2 % all over the range."""
    chooser = random.Random(5)
    values = sorted(chooser.lognormvariate(0, 3) for _ in range(5000))
    h = (
        histogram_of_values(values)
        if of == "values"
        else histogram_of_sketch(add_sketch(SketchPayload().sketches.add(), values))
    )
    assert h.count == 5000
    assert h.sum == pytest.approx(math.fsum(values))
    indexes, at = [], 0
    for offset, length in h.positive_spans:
        indexes += range(at + offset, at + offset + length)
        at += offset + length
    upper = np.repeat(np.exp2(np.array(indexes) / 64), h.positive_buckets)
    assert (np.abs(upper / values - 1) < 0.02).all()
    histograms_of([h]).validate()


@pytest.mark.parametrize(
    ("keys", "counts", "total", "problem"),
    [
        ([1, 2], [1], 1.0, "2 keys and 1 counts"),
        ([KEY_MAX + 1], [1], 1.0, "beyond"),
        ([-KEY_MAX - 1], [1], 1.0, "beyond"),
        ([1], [1], math.nan, "sum"),
        ([1], [1], math.inf, "sum"),
    ],
)
def test_a_sketch_that_cannot_be(keys, counts, total, problem):
    """It is named, and those beside it are stored."""
    payload = SketchPayload()
    series = payload.sketches.add(metric="a")
    add_sketch(series, [1.0])
    bad = series.dogsketches.add(ts=NOW + 10, sum=total)
    bad.k.extend(keys)
    bad.n.extend(counts)
    add_sketch(series, [1.0], NOW + 20)
    pushed = SeriesReader(SeriesRegistry()).sketches(payload.SerializeToString())
    assert len(pushed.batch) == 2
    assert pushed.refused == {"malformed": 1}
    assert pushed.problems[0].startswith("series 0, point 1: ")
    assert problem in pushed.problems[0]


def test_values_that_cannot_be():
    """Too many, too large, or none at all."""
    for values in ([1e308, 1e308], [True], ["1"], 5, [0] * 70_000):
        with pytest.raises(ValueError, match=r"value"):
            histogram_of_values(values)


def test_the_ends_of_the_range():
    """The largest and the smallest keys have buckets; keys may come twice."""
    sketch = SketchPayload().sketches.add().dogsketches.add(ts=NOW, sum=0.0)
    sketch.k.extend([-KEY_MAX, -1, 0, 1, 1, KEY_MAX])
    sketch.n.extend([1, 2, 3, 4, 5, 2**32 - 1])
    h = histogram_of_sketch(sketch)
    histograms_of([h]).validate()
    assert (h.count, h.zero_count, h.positive_buckets, h.negative_buckets) == (14 + 2**32, 3, (9, 2**32 - 1), (2, 1))


@given(st.binary(max_size=200), st.integers(0, 80))
@settings(derandomize=True, max_examples=400, deadline=None)
def test_any_bytes_of_sketches(noise, at):
    """Nothing but `WireError` is raised, and what is made of it is a histogram."""
    whole = sketch_body([1.0, 2.0], [-1.0])
    for data in (noise, whole[:at] + noise, whole[:at] + noise + whole[at:]):
        try:
            pushed = SeriesReader(SeriesRegistry()).sketches(data)
        except WireError:
            continue
        if pushed.batch.histograms is not None:
            pushed.batch.histograms.validate()
