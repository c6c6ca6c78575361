"""JSON of results with native histograms: their buckets, bounds and rules, and where they stand beside floats."""

from __future__ import annotations

import json

import numpy as np

from tinyobs.exposition import histogram_json
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, handles, histograms_of

EXPONENTIAL = Histogram(0, 0.25, 2.0, 9.5, 3.0, ((0, 2), (1, 1)), (1.0, 0.0, 2.5), ((1, 1), (0, 1)), (3.0, 1.0))
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0.0, 6.0, 1e21, ((0, 1), (1, 1)), (2.0, 4.0), custom_values=(0.1, 5.0))
EMPTY = Histogram(3, 0.1, 0.0, 0.0, 0.0)


def text_of(histogram: Histogram) -> str:
    """Return the JSON of one histogram."""
    (text,) = histogram_json.objects(histograms_of([histogram]))
    return text


def columns(values: list[float], histograms: list[Histogram], series: list[int]) -> SeriesColumns:
    """Return columns of series of so many samples, a second apart."""
    labels = [(("n", str(i)),) for i in range(len(series))]
    offsets = np.concatenate(([0], np.cumsum(series))).astype(np.int64)
    times = np.concatenate([np.arange(n, dtype=np.int64) * 1000 for n in series])
    return SeriesColumns(labels, offsets, times, np.array(values), histograms_of(histograms))


def test_buckets_ascend_and_say_which_borders_are_theirs() -> None:
    """Negative buckets are closed below, positive ones above, the zero bucket on both sides; empty ones are left out."""
    assert text_of(EXPONENTIAL) == (
        '{"count":"9.5","sum":"3","buckets":[[1,"-4","-2","1"],[1,"-2","-1","3"],[3,"-0.25","0.25","2"],'
        '[0,"0.5","1","1"],[0,"4","8","2.5"]]}'
    )


def test_custom_buckets() -> None:
    """The lowest custom bucket reaches from -Inf and is closed, the highest to +Inf; large sums have exponents."""
    assert text_of(CUSTOM) == '{"count":"6","sum":"1e+21","buckets":[[3,"-Inf","0.1","2"],[0,"5","+Inf","4"]]}'


def test_without_observations_there_are_no_buckets() -> None:
    """An empty histogram has a count and a sum only, and so has one with a zero bucket of a negative count."""
    assert text_of(EMPTY) == '{"count":"0","sum":"0"}'
    assert text_of(Histogram(0, 0.1, -1.0, -1.0, 0.0)) == '{"count":"-1","sum":"0"}'


def test_buckets_that_reach_into_the_zero_bucket_begin_at_its_end() -> None:
    """A zero bucket that ends within a bucket cuts what is shown of it."""
    wide = Histogram(0, 0.75, 1.0, 3.0, 1.0, ((0, 1),), (1.0,), ((0, 1),), (1.0,))
    buckets = json.loads(text_of(wide))["buckets"]
    assert buckets == [[1, "-1", "-0.75", "1"], [3, "-0.75", "0.75", "1"], [0, "0.75", "1", "1"]]


def test_a_zero_bucket_without_width_lies_between_minus_zero_and_zero() -> None:
    """Whatever other histograms are in the answer: texts of equal bounds are shared."""
    narrow = Histogram(0, 0.0, 3.0, 3.0, 1.0)
    texts = histogram_json.objects(histograms_of([narrow, EXPONENTIAL, narrow]))
    assert texts[0] == texts[2] == '{"count":"3","sum":"1","buckets":[[3,"-0","0","3"]]}'


def test_bounds_are_those_of_upstream_to_the_last_digit() -> None:
    """Bounds between powers of two come from a table that is not everywhere the nearest float."""
    fine = Histogram(2, 0.0, 0.0, 4.0, 0.0, ((-3, 4),), (1.0, 1.0, 1.0, 1.0))
    bounds = [b[1] for b in json.loads(text_of(fine))["buckets"]]
    assert bounds == ["0.5", "0.5946035575013605", "0.7071067811865475", "0.8408964152537144"]


def test_the_highest_buckets() -> None:
    """The last regular bucket ends with the largest float, the one behind it is infinite."""
    ends = Histogram(0, 0.0, 0.0, 2.0, 0.0, ((1024, 2),), (1.0, 1.0))
    assert [b[2] for b in json.loads(text_of(ends))["buckets"]] == ["1.7976931348623157e+308", "+Inf"]


def test_bounds_of_schemas_beyond_the_table() -> None:
    """Stored histograms may be finer than queries work with; raw samples show their own bounds."""
    (bucket,) = json.loads(text_of(Histogram(9, 0.0, 0.0, 1.0, 0.0, ((512, 1),), (1.0,))))["buckets"]
    assert bucket == [0, "1.9972942257819404", "2", "1"]


def test_vector() -> None:
    """Histograms of an instant vector have `histogram` where floats have `value`."""
    one = columns([1.5, float(handles(0, 1)[0])], [CUSTOM], [1, 1])
    found = json.loads("".join(histogram_json.vector(one)))
    assert found[0] == {"metric": {"n": "0"}, "value": [0, "1.5"]}
    assert found[1]["histogram"] == [0, json.loads(text_of(CUSTOM))]


def test_matrix() -> None:
    """A series with both kinds has both lists, each with its own times; one that lacks a kind lacks the list."""
    first, second = handles(0, 2).tolist()
    both = columns([1.0, first, 2.0, second, 7.0], [CUSTOM, EMPTY], [3, 1, 1])
    found = json.loads("".join(histogram_json.matrix(both)))
    assert found[0]["values"] == [[0, "1"], [2, "2"]]
    assert found[0]["histograms"] == [[1, json.loads(text_of(CUSTOM))]]
    assert found[1] == {"metric": {"n": "1"}, "histograms": [[0, {"count": "0", "sum": "0"}]]}
    assert found[2] == {"metric": {"n": "2"}, "values": [[0, "7"]]}


def test_many_are_written_in_chunks() -> None:
    """More samples than a chunk takes are all there, in order."""
    n = histogram_json.CHUNK_HISTOGRAMS * 2 + 3
    many = [Histogram(0, 0.0, 0.0, float(i), 0.0) for i in range(n)]
    values = handles(0, n).tolist()
    (series,) = json.loads("".join(histogram_json.matrix(columns(values, many, [n]))))
    assert [h["count"] for _, h in series["histograms"]] == [str(i) for i in range(n)]
    vector = json.loads("".join(histogram_json.vector(columns(values, many, [1] * n))))
    assert [x["histogram"][1]["count"] for x in vector] == [str(i) for i in range(n)]
