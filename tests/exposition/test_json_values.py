"""JSON text of results: exact texts, the bulk writers against the simple ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyobs.exposition import json as writer
from tinyobs.model.columns import SeriesColumns, empty

VALUES = st.one_of(
    st.floats(width=64),
    st.integers(-(2**60), 2**60).map(float),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-6, 1e-5, 9.999e-5, 1e15, 1e16, 1e20, 1e21, 5e-324]),
    st.integers(0, 10**6).map(lambda n: n / 100),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e-5, "0.00001"),
        (1.5e-5, "0.000015"),
        (-1.25e-6, "-0.00000125"),
        (1e-7, "1e-07"),
        (9.5e-7, "9.5e-07"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (1.2345678901234567e18, "1234567890123456800"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (5e-324, "5e-324"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_a_float_is_written_as_prometheus_writes_it(value: float, text: str) -> None:
    """Plain notation from 1e-6 up to 1e21, the exponent of Go outside, signs on infinities."""
    assert writer.format_float(value) == text
    assert writer.format_floats(np.array([value, 0.5])) == [text, "0.5"]


@pytest.mark.parametrize(
    "make",
    [
        lambda r: r.random(20_000) * 100,
        lambda r: 10 ** r.uniform(-9, 23, 20_000),
        lambda r: -r.random(20_000),
        lambda r: r.integers(1, 10**9, 20_000) / 300.0,
        lambda r: r.integers(10**15, 9 * 10**15, 20_000) / 10.0 ** r.integers(0, 15, 20_000),
        lambda r: r.integers(0, 10**15, 20_000).astype(float),
        lambda r: np.frombuffer(r.bytes(160_000), np.float64),
        lambda r: np.nextafter(2.0 ** np.arange(-1074, 1024), np.inf),
        lambda r: np.nextafter(10.0 ** np.arange(-300, 300), -np.inf),
    ],
)
def test_many_floats_are_written_as_one(make: Callable[[np.random.Generator], np.ndarray]) -> None:
    """Values as metrics have them, all sizes, any bits, neighbours of powers of two and ten."""
    values = make(np.random.default_rng(7))
    assert writer.format_floats(values) == [writer.format_float(v) for v in values.tolist()]


def test_floats_that_do_not_lie_together() -> None:
    """A column of a matrix is written like a copy of it."""
    matrix = np.arange(12.0).reshape(3, 4)
    assert writer.format_floats(matrix[:, 1]) == ["1", "5", "9"]


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [(0, "0"), (1, "0.001"), (1100, "1.100"), (1435781451781, "1435781451.781"), (-1500, "-1.500"), (2000, "2")],
)
def test_a_time_is_written_in_seconds(time_ms: int, text: str) -> None:
    """Three decimals where there are milliseconds, none where there are not."""
    assert writer.format_time(time_ms) == text


@given(hnp.arrays(np.float64, st.integers(0, 40), elements=VALUES), st.sampled_from([1, 5, 30]))
@settings(max_examples=200, deadline=None)
def test_bulk_writing_equals_writing_one_by_one(values: np.ndarray, repeats: int) -> None:
    """Whatever the mix and number of values, they have the texts of the simple writer, and read back exactly."""
    values = np.tile(values, repeats)
    texts = writer.format_floats(values)
    assert texts == [writer.format_float(v) for v in values.tolist()]
    back = np.array([float(t) for t in texts])
    np.testing.assert_array_equal(back, values)
    assert np.array_equal(np.signbit(back[values == 0]), np.signbit(values[values == 0]))


@st.composite
def matrices(draw: st.DrawFn) -> SeriesColumns:
    """Return columns whose series share their timestamps or not."""
    grid = draw(st.lists(st.integers(-(10**6), 10**13), min_size=1, max_size=8, unique=True).map(sorted))
    labels, times, values, offsets = [], [], [], [0]
    for i in range(draw(st.integers(0, 5))):
        own = draw(st.one_of(st.just(grid), st.lists(st.sampled_from(grid), min_size=1, unique=True).map(sorted)))
        labels.append((("__name__", draw(st.text(max_size=5))), ("i", str(i))))
        times += own
        values += draw(st.lists(VALUES, min_size=len(own), max_size=len(own)))
        offsets.append(len(times))
    return SeriesColumns(labels, np.array(offsets), np.array(times, np.int64), np.array(values, np.float64))


@given(matrices(), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_a_matrix_is_what_a_plain_encoder_would_write(columns: SeriesColumns, chunk: int) -> None:
    """Any matrix, cut into chunks of any size, has the JSON of the series written one by one."""
    expected = []
    for i in range(len(columns)):
        labels, times, values = columns.one(i)
        points = [
            f'[{writer.format_time(t)},"{writer.format_float(v)}"]'
            for t, v in zip(times.tolist(), values.tolist(), strict=True)
        ]
        expected.append(f'{{"metric":{writer.LabelWriter().write(labels)},"values":[{",".join(points)}]}}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "CHUNK_POINTS", chunk)
        text = "".join(writer.matrix(columns))
    assert text == f"[{','.join(expected)}]"
    json.loads(text)


@given(st.lists(VALUES, max_size=12), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_a_vector_is_what_a_plain_encoder_would_write(values: list[float], chunk: int) -> None:
    """Any instant vector, cut into chunks of any size, has the JSON of its samples written one by one."""
    n = len(values)
    labels = [(("a", f'{i}"\\\n'),) for i in range(n)]
    columns = SeriesColumns(labels, np.arange(n + 1), np.full(n, 1500), np.array(values, np.float64))
    expected = [
        f'{{"metric":{writer.LabelWriter().write(m)},"value":[1.500,"{writer.format_float(v)}"]}}'
        for m, v in zip(labels, values, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "CHUNK_POINTS", chunk)
        text = "".join(writer.vector(columns))
    assert text == f"[{','.join(expected)}]"
    json.loads(text)


def test_a_label_value_that_ends_like_a_float_stays() -> None:
    """Cutting ".0" from values does not touch labels such as version="1.0"."""
    columns = SeriesColumns([(("v", "1.0"),)], np.array([0, 2]), np.array([0, 1000]), np.array([2.0, 0.5]))
    assert "".join(writer.matrix(columns)) == '[{"metric":{"v":"1.0"},"values":[[0,"2"],[1,"0.5"]]}]'


def test_empty_results_are_empty_arrays() -> None:
    """No series gives `[]`."""
    assert "".join(writer.vector(empty())) == "[]"
    assert "".join(writer.matrix(empty())) == "[]"


def test_scalar_and_string_are_pairs() -> None:
    """A scalar's value is a string as well; text is escaped."""
    assert writer.scalar(1500, 2.0) == '[1.500,"2"]'
    assert writer.scalar(0, 1e-7) == '[0,"0.0000001"]'
    assert writer.scalar(0, -1e21) == '[0,"-1000000000000000000000"]'
    assert writer.string(1000, 'a"<é') == '[1,"a\\"<é"]'


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    """Text that is no valid Unicode does not break the encoding of an answer."""
    assert json.loads(writer.dump("a\ud800b").encode())[0] == "a"


def test_large_results_come_in_pieces() -> None:
    """A result of many points is yielded in chunks, so that it never exists as one text."""
    n = writer.CHUNK_POINTS
    columns = SeriesColumns([()], np.array([0, 3 * n]), np.arange(3 * n) * 1000, np.arange(3 * n) / 7)
    pieces = list(writer.matrix(columns))
    assert len(pieces) >= 4
    assert max(map(len, pieces)) < 64 * n
    assert len(json.loads("".join(pieces))[0]["values"]) == 3 * n


@given(st.integers(-5_000, 2_000_000_000_000), st.sampled_from([1, 500, 1000, 15_000]), st.integers(0, 20))
@settings(deadline=None)
def test_times_of_a_series_are_written_as_one_by_one(start_ms: int, step_ms: int, count: int) -> None:
    """Whole seconds, milliseconds and mixtures of both are written alike."""
    times = start_ms + step_ms * np.arange(count, dtype=np.int64)
    columns = SeriesColumns([()], np.array([0, count]), times, np.ones(count))
    points = ",".join([f'[{writer.format_time(t)},"1"]' for t in times.tolist()])
    assert "".join(writer.matrix(columns)) == f'[{{"metric":{{}},"values":[{points}]}}]'
