"""`/search/...`: the measures, the parameters, the lines of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_federate import Broken
from test_status_api import two_targets

from tinyobs.errors import StorageError
from tinyobs.web.api_v1.search_scores import jaro_winkler, scorer, subsequence_score
from tinyobs.web.options import WebOptions


@pytest.mark.parametrize(
    ("term", "text", "score"),
    [
        ("", "any", 1.0),
        ("a", "", 0.0),
        ("node_cpu", "node_cpu", 1.0),
        ("no", "node", (4 - 2 / 4 * 0.5) / 4),
        ("de", "node", (4 - 2 / 4) / 4),
        ("nd", "node", (1 + 1 - 1 / 4 - 1 / 4 * 0.5) / 4),
        ("cpu", "c_cpu", (9 - 2 / 5) / 9),
        ("xyz", "node", 0.0),
        ("node", "nod", 0.0),
        ("é", "ã", 0.0),
        ("éü", "éàü", (2 - 1 / 3) / 4),
        ("abaa", "abbaa", (8 - 1 / 5) / 16),
    ],
)
def test_subsequences(term: str, text: str, score: float) -> None:
    """Squares of runs less gaps, half as much at the end, by the square of the term's length; the best beginning."""
    assert subsequence_score(term, text) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "score"),
    [
        ("", "", 1.0),
        ("", "a", 0.0),
        ("a", "b", 0.0),
        ("martha", "marhta", 0.961111),
        ("dwayne", "duane", 0.84),
        ("dixon", "dicksonx", 0.813333),
        ("café", "cafe", 0.883333),
    ],
)
def test_likeness(a: str, b: str, score: float) -> None:
    """The examples that the literature has, whichever comes first."""
    assert jaro_winkler(a, b) == pytest.approx(score, abs=1e-6)
    assert jaro_winkler(b, a) == pytest.approx(score, abs=1e-6)


@given(st.text("ab_é", max_size=6), st.text("ab_éc", max_size=9))
def test_scores_stay_within_their_bounds(term: str, text: str) -> None:
    """And a subsequence has a score exactly when there is one."""
    assert 0.0 <= jaro_winkler(term, text) <= 1.0
    found = subsequence_score(term, text)
    rest = iter(text)
    assert 0.0 <= found <= 1.0
    assert not found or all(c in rest for c in term)


def test_what_fits() -> None:
    """A beginning is always 1; a part of the name is what likeness begins with; the best of several terms counts."""
    assert scorer([], "subsequence", 0.5, case_sensitive=True)("x") == 1.0
    assert scorer(["", "no"], "subsequence", 1.0, case_sensitive=True)("node") == 1.0
    assert scorer(["de"], "subsequence", 0.9, case_sensitive=True)("node") is None
    assert scorer(["DE"], "subsequence", 0.0, case_sensitive=False)("nOde") == pytest.approx(0.875)
    assert scorer(["DE"], "subsequence", 0.0, case_sensitive=True)("node") is None
    likeness = scorer(["de", "zz"], "jarowinkler", 0.0, case_sensitive=True)
    assert (likeness("node"), likeness("demo"), likeness("nod")) == (0.9, 1.0, None)
    assert scorer(["nodes"], "jarowinkler", 0.8, case_sensitive=True)("node") == pytest.approx(0.96)


def enabled(make_client: Any, **more: Any) -> Any:
    """Return a client of an application with the feature."""
    return make_client(**{"search_enabled": lambda: True, **more})


async def lines(client: Any, path: str) -> list[Any]:
    """Return the lines of a successful answer."""
    answer = await client.get("/api/v1/search" + path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    return [json.loads(line) for line in answer.text.splitlines()]


def names(found: list[Any]) -> list[str]:
    """Return the names in all batches."""
    return [result["name"] for batch in found[:-1] for result in batch["results"]]


async def test_names_of_metrics_and_labels_and_values(make_client: Any) -> None:
    """In the order of the alphabet; nothing found is one empty batch."""
    client = enabled(make_client)
    done = {"status": "success", "has_more": False}
    assert await lines(client, "/metric_names") == [{"results": [{"name": "http_total"}, {"name": "up"}]}, done]
    assert names(await lines(client, "/label_names?search[]=my")) == ["my.label"]
    assert names(await lines(client, "/label_values?label=job&match[]=up")) == ["a", "b<c"]
    assert await lines(client, "/metric_names?search[]=zzz") == [{"results": []}, done]


async def test_batches_limit_and_order(make_client: Any) -> None:
    """`has_more` tells that the limit has cut; scores come where they are asked for."""
    client = enabled(make_client)
    found = await lines(client, "/label_names?batch_size=1&limit=2")
    assert [len(batch["results"]) for batch in found[:-1]] == [1, 1]
    assert found[-1] == {"status": "success", "has_more": True}
    assert names(await lines(client, "/metric_names?sort_by=alpha&sort_dir=dsc")) == ["up", "http_total"]
    scored = await lines(client, "/metric_names?search[]=t&search[]=u&sort_by=score&include_score=1")
    assert next((r["name"], r["score"]) for r in scored[0]["results"]) == ("up", 1.0)
    assert names(scored) == ["up", "http_total"]


async def test_metadata_of_metrics(make_client: Any) -> None:
    """That of targets before that of the storage; what is empty is left out."""
    client = enabled(make_client, targets=two_targets)
    (batch, _) = await lines(client, "/metric_names?include_metadata=true")
    assert batch["results"][1] == {"name": "up", "type": "gauge", "help": "is it up"}


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("start=x", "invalid time value for 'start': cannot parse \"x\" to a valid timestamp"),
        ("start=2&end=1", "end timestamp must not be before start timestamp"),
        ("&".join(["search[]=a"] * 33), "too many search[] terms: got 33, maximum is 32"),
        ("fuzz_threshold=101", 'invalid fuzz_threshold "101": must be 0-100'),
        ("fuzz_alg=x", 'unsupported fuzz_alg "x": must be one of [subsequence jarowinkler]'),
        ("case_sensitive=x", 'invalid case_sensitive "x": must be boolean'),
        ("include_score=x", 'invalid include_score "x": must be boolean'),
        ("include_metadata=x", 'invalid include_metadata "x": must be boolean'),
        ("sort_dir=asc", "sort_dir is only valid when sort_by is set"),
        ("sort_by=score&sort_dir=asc", "sort_dir is not supported for sort_by=score"),
        ("sort_by=alpha&sort_dir=x", 'invalid sort_dir "x": must be "asc" or "dsc"'),
        ("sort_by=score", "sort_by=score requires search[] to be set"),
        ("sort_by=x", 'invalid sort_by "x" for metric_names: must be "alpha" or "score"'),
        ("limit=-1", 'invalid limit "-1": must be non-negative integer'),
        ("limit=11", "limit 11 exceeds the configured maximum (10, see --web.search.max-limit)"),
        ("batch_size=x", 'invalid batch_size "x": must be non-negative integer'),
        ("match[]=a{", "1:3: parse error: unexpected end of input inside braces"),
    ],
)
async def test_parameters_are_checked(make_client: Any, query: str, error: str) -> None:
    """With the words of Prometheus."""
    client = enabled(make_client, options=WebOptions(search_limit_max=10))
    answer = await client.get("/api/v1/search/metric_names?" + query)
    assert (answer.status_code, answer.json()["errorType"], answer.json()["error"]) == (400, "bad_data", error)


async def test_without_the_feature_without_a_label_and_without_a_storage(make_client: Any) -> None:
    """Each says what is missing."""
    off = await make_client().get("/api/v1/search/metric_names")
    assert (off.json()["errorType"], off.json()["error"]) == ("unavailable", "search API disabled")
    bare = await enabled(make_client).get("/api/v1/search/label_values")
    assert (bare.status_code, bare.json()["error"]) == (400, 'missing required parameter "label"')
    broken = enabled(make_client, queryable=Broken(StorageError("broken")))
    assert (await broken.get("/api/v1/search/label_names")).status_code == 500
