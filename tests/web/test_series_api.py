"""`/labels`, `/label/<name>/values`, `/series`."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from web_fakes import NOW_MS, FakeQueryable, unhurried

from tinyobs.abc import Querier
from tinyobs.web.api_v1 import parameters, series
from tinyobs.web.api_v1.parameters import TIME_MS_MAX, TIME_MS_MIN
from tinyobs.web.api_v1.series import unescape_name


async def test_label_names_of_everything(make_client: Any) -> None:
    """Without a selector all names are given, sorted."""
    answer = await make_client().get("/api/v1/labels")
    assert answer.json() == {"status": "success", "data": ["__name__", "instance", "job", "my.label"]}


async def test_label_names_of_several_selectors_are_united(make_client: Any) -> None:
    """Each `match[]` adds its names."""
    answer = await make_client().post("/api/v1/labels", data={"match[]": ["up", "http_total"]})
    assert answer.json()["data"] == ["__name__", "instance", "job", "my.label"]


async def test_label_values_with_selector_and_limit(make_client: Any) -> None:
    """Values are those of the chosen series; a cut list warns."""
    client = make_client()
    assert (await client.get("/api/v1/label/job/values?match[]=up")).json()["data"] == ["a", "b<c"]
    cut = (await client.get("/api/v1/label/job/values?limit=1")).json()
    assert cut == {"status": "success", "data": ["a"], "warnings": ["results truncated due to limit"]}


async def test_label_values_of_an_escaped_name(make_client: Any) -> None:
    """`U__my_2e_label` stands for `my.label`; the plain name works as well."""
    client = make_client()
    expected = {"status": "success", "data": ['q"\\']}
    assert (await client.get("/api/v1/label/U__my_2e_label/values")).json() == expected
    assert (await client.get("/api/v1/label/my.label/values")).json() == expected


async def test_a_label_name_that_is_not_text_is_refused(make_client: Any) -> None:
    """Bytes that are no UTF-8 cannot be a name."""
    answer = await make_client().get("/api/v1/label/%FF/values")
    assert (answer.status_code, answer.json()["error"]) == (400, 'invalid label name: "\\xff"')


async def test_series_are_united_and_sorted(make_client: Any) -> None:
    """A series that two selectors choose is given once."""
    answer = await make_client().get("/api/v1/series", params={"match[]": ["up", 'up{job="a"}']})
    assert answer.json()["data"] == [
        {"__name__": "up", "instance": "x:1", "job": "a"},
        {"__name__": "up", "instance": "y:2", "job": "b<c"},
    ]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "no match[] parameter provided"),
        ("match[]={}", 'invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
        ("match[]=up(", 'invalid parameter "match[]": 1:3: parse error: unexpected "("'),
        (
            "match[]=up&start=x",
            'invalid parameter "start": invalid time value for \'start\': cannot parse "x" to a valid timestamp',
        ),
        ("match[]=up&limit=x", 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
async def test_bad_requests_for_series(make_client: Any, query: str, message: str) -> None:
    """Selectors must exclude something, and every parameter must be readable."""
    answer = await make_client().get(f"/api/v1/series?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, message)


async def test_the_time_range_reaches_the_store_and_the_view_is_closed(make_client: Any) -> None:
    """The querier covers what was asked for, everything by default, and is closed in the end."""
    queryable = FakeQueryable()
    client = make_client(queryable=queryable)
    await client.get("/api/v1/labels?start=1&end=2.5")
    await client.get("/api/v1/labels")
    assert [(q.mint_ms, q.maxt_ms) for q in queryable.queriers] == [(1000, 2500), (TIME_MS_MIN, TIME_MS_MAX)]
    assert all(q.closed for q in queryable.queriers)


async def test_an_empty_time_range_has_nothing(make_client: Any) -> None:
    """An end before the start gives an empty list, not an error, as in Prometheus."""
    answer = await make_client().get("/api/v1/labels?start=10&end=5")
    assert answer.json() == {"status": "success", "data": []}


@pytest.mark.parametrize(
    ("escaped", "name"),
    [
        ("plain", "plain"),
        ("U__a__b", "a_b"),
        ("U___2e_x", ".x"),
        ("U__snow_2603_man", "snow☃man"),
        ("U__bad_2e", "U__bad_2e"),
        ("U__bad_zz_", "U__bad_zz_"),
        ("U__bad_d800_", "U__bad_d800_"),
    ],
)
def test_names_are_unescaped_as_upstream(escaped: str, name: str) -> None:
    """`__` is an underscore, `_hex_` a code point; anything else leaves the text alone."""
    assert unescape_name(escaped) == name


async def test_a_question_that_was_quick_is_answered_in_the_event_loop(
    make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first time is a thread needed; about the same times are the same question, another limit is not."""
    unhurried(monkeypatch)
    threads = []
    run_sync = series.trio.to_thread.run_sync

    async def counted(work: Any, *arguments: Any, **settings: Any) -> Any:
        threads.append(work)
        return await run_sync(work, *arguments, **settings)

    monkeypatch.setattr(series.trio.to_thread, "run_sync", counted)
    client = make_client()
    path = "/api/v1/series?match[]=up"
    first = await client.get(path)
    for query, needed in (("", 1), ("&end=9999999999", 1), ("&limit=1", 2), ("&limit=1", 2)):
        answer = await client.get(path + query)
        assert len(threads) == needed
        assert answer.json()["data"] == first.json()["data"][: 1 if query.startswith("&limit") else None]


class NotingQueryable(FakeQueryable):
    """Notes for every querier whether it was asked for in the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[bool] = []

    def querier(self, mint_ms: int, maxt_ms: int) -> Querier:
        self.inline.append(threading.current_thread() is threading.main_thread())
        return super().querier(mint_ms, maxt_ms)


@pytest.mark.parametrize("path", ["labels?", "label/job/values?", "series?match[]=up"])
async def test_a_quick_answer_says_nothing_of_other_times(
    make_client: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """What an empty second cost does not decide where everything is read, nor does what few series cost."""
    unhurried(monkeypatch)
    queryable, stored = NotingQueryable(), 10
    client = make_client(queryable=queryable, series_count=lambda: stored)
    recent = NOW_MS // 1000
    for times in ("&start=0&end=1", "&start=0&end=1", "", "", f"&start={recent - 1}", f"&start={recent - 3600}"):
        await client.get(f"/api/v1/{path}{times}")
    assert queryable.inline == [False, True, False, True, False, False]
    stored = 380_000
    await client.get(f"/api/v1/{path}")
    assert not queryable.inline[-1]


async def test_reading_that_goes_on_moves_from_the_event_loop_to_a_thread(
    make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between selectors and pieces of the answer it is seen that the time is up."""
    unhurried(monkeypatch)
    queryable = NotingQueryable()
    client = make_client(queryable=queryable)
    path = "/api/v1/series?match[]=up&match[]=http_total"
    first = (await client.get(path)).json()
    monkeypatch.setattr("tinyobs.web.api_v1.pace.INLINE_SECONDS_MAX", -1.0)
    assert (await client.get(path)).json() == first
    assert queryable.inline == [False, True, False]
    assert all(q.closed for q in queryable.queriers)


@pytest.mark.parametrize("path", ["labels", "label/job/values", "series"])
async def test_selectors_are_parsed_in_a_thread(make_client: Any, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Long ones always; a fault in them has its usual words."""
    unhurried(monkeypatch)
    inline = []
    parse = parameters.parse_selector

    def noting(text: str) -> Any:
        inline.append(threading.current_thread() is threading.main_thread())
        return parse(text)

    monkeypatch.setattr(parameters, "parse_selector", noting)
    client = make_client()
    for _ in range(2):
        answer = await client.get(f"/api/v1/{path}", params={"match[]": 'up{job=~"%s"}' % ("a|" * 6000)})
        assert answer.status_code == 200
    answer = await client.get(f"/api/v1/{path}", params={"match[]": "up("})
    assert inline == [False, False, False]
    assert answer.status_code == 400
    assert answer.json()["error"].endswith('1:3: parse error: unexpected "("')
