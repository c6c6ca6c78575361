"""`/query` and `/query_range`: golden answers, which Prometheus 3.5 gave, and the refusals in its words."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import numpy as np
import pytest
import trio
from web_fakes import NOW_MS, SERIES, FakeEngine, columns, make_application, make_services, scalar, unhurried, vector

from tinyobs.errors import CorruptionError, LimitExceeded, QueryExecutionError, QueryTimeout
from tinyobs.model.columns import SeriesColumns
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.nodes import ValueType
from tinyobs.promql.result import Result
from tinyobs.web.api_v1 import envelope, pace, query
from tinyobs.web.options import WebOptions
from tinyobs.web.pieces import PiecesResponse
from tinyobs.web.queries.desk import QueryDesk

QUERY, RANGE = "/api/v1/query", "/api/v1/query_range"


def wrong_type() -> QueryExecutionError:
    """Return the error for a result that a range query cannot have."""
    error = QueryExecutionError("invalid expression type")
    error.kind = "bad_data"
    return error


@pytest.fixture
def engine() -> FakeEngine:
    """Return an engine that knows a few queries."""
    engine = FakeEngine()
    engine.answers.update(
        {
            "1e16": scalar(1e16),
            "up": vector({SERIES[0]: 1.0, SERIES[1]: float("nan")}),
            '"a"': Result(ValueType.STRING, columns([]), 1000, text="a<b&é"),
            "m": Result(ValueType.MATRIX, columns([((), [(0, 1.0), (1000, 0.5)])]), 1000),
            "noted": vector({SERIES[0]: 1.0}, warnings=("PromQL warning: w (1:1)",), infos=("PromQL info: i (1:1)",)),
            "many": QueryExecutionError("many-to-many matching not allowed"),
            "slow": QueryTimeout("query timed out in expression evaluation"),
            "m[5m] over a range": wrong_type(),
            "broken": CorruptionError("segment", 7, "bad checksum"),
            "bug": RuntimeError("secret detail"),
        }
    )
    return engine


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("1e16", '{"resultType":"scalar","result":[1435781451.781,"10000000000000000"]}'),
        (
            "up",
            '{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"x:1","job":"a"},'
            '"value":[1435781451.781,"1"]},{"metric":{"__name__":"up","instance":"y:2","job":"b<c"},'
            '"value":[1435781451.781,"NaN"]}]}',
        ),
        ('"a"', '{"resultType":"string","result":[1,"a<b&é"]}'),
        ("m", '{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[1,"0.5"]]}]}'),
    ],
)
async def test_each_type_of_result_has_its_shape(make_client: Any, engine: FakeEngine, text: str, data: str) -> None:
    """Scalars and strings are pairs, vectors have `value`, matrices `values`."""
    answer = await make_client(promql=engine).get(QUERY, params={"query": text})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == f'{{"status":"success","data":{data}}}'


async def test_warnings_and_infos_stand_beside_the_data(make_client: Any, engine: FakeEngine) -> None:
    """What the engine remarks on comes with the data, in arrays of their own."""
    answer = (await make_client(promql=engine).get(QUERY, params={"query": "noted"})).json()
    assert answer["warnings"] == ["PromQL warning: w (1:1)"]
    assert answer["infos"] == ["PromQL info: i (1:1)"]
    assert len(answer["data"]["result"]) == 1


@pytest.mark.parametrize(
    ("text", "status", "kind", "message"),
    [
        ("", 400, "bad_data", 'invalid parameter "query": unknown position: parse error: no expression found in input'),
        ("m[5m] over a range", 400, "bad_data", 'invalid parameter "query": invalid expression type'),
        ("many", 422, "execution", "many-to-many matching not allowed"),
        ("slow", 503, "timeout", "query timed out in expression evaluation"),
        ("broken", 500, "internal", "segment: damaged at byte 7: bad checksum"),
        ("bug", 500, "internal", "internal error; the log of the server has the details"),
    ],
)
async def test_a_failed_query_has_its_status(
    make_client: Any, engine: FakeEngine, text: str, status: int, kind: str, message: str
) -> None:
    """Each kind of error has the HTTP status of Prometheus; a bug of ours shows nothing of itself."""
    answer = await make_client(promql=engine).get(QUERY, params={"query": text})
    assert answer.status_code == status
    assert answer.json() == {"status": "error", "errorType": kind, "error": message}


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        (QUERY, {"time": "x"}, "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp"),
        (QUERY, {"timeout": "x"}, 'invalid parameter "timeout": cannot parse "x" to a valid duration'),
        (QUERY, {"limit": "-1"}, 'invalid parameter "limit": limit must be non-negative'),
        (QUERY, {"limit": "x"}, 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax'),
        (QUERY, {"resolution": "x"}, 'invalid parameter "resolution": cannot parse "x" to a valid duration'),
        (QUERY, {"resolution": "-5"}, 'invalid parameter "resolution": must be "auto", "raw" or a duration such as 5m'),
        (QUERY, {"lookback_delta": "x"}, 'error parsing lookback delta duration: cannot parse "x" to a valid duration'),
        (RANGE, {}, 'invalid parameter "start": cannot parse "" to a valid timestamp'),
        (RANGE, {"start": "1", "end": "x"}, 'invalid parameter "end": cannot parse "x" to a valid timestamp'),
        (
            RANGE,
            {"start": "10", "end": "5", "step": "1"},
            'invalid parameter "end": end timestamp must not be before start time',
        ),
        (RANGE, {"start": "1", "end": "5"}, 'invalid parameter "step": cannot parse "" to a valid duration'),
        (
            RANGE,
            {"start": "1", "end": "5", "step": "0"},
            'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
            "Try a positive integer",
        ),
        (
            RANGE,
            {"start": "1", "end": "5", "step": "1e300"},
            'invalid parameter "step": cannot parse "1e300" to a valid duration. It overflows int64',
        ),
        (
            RANGE,
            {"start": "0", "end": "11001", "step": "1"},
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)",
        ),
    ],
)  # fmt: skip
async def test_bad_parameters_are_refused_in_the_words_of_prometheus(
    make_client: Any, path: str, parameters: dict[str, str], message: str
) -> None:
    """Clients show these texts to people who know them."""
    answer = await make_client().get(path, params={"query": "up", **parameters})
    assert answer.status_code == 400
    assert answer.json() == {"status": "error", "errorType": "bad_data", "error": message}


@pytest.mark.parametrize(
    ("text", "wanted"), [("5m", 300_000), ("raw", 0), ("3600", 3_600_000), ("auto", None), ("", None)]
)
async def test_the_resolution_reaches_the_engine(
    make_client: Any, engine: FakeEngine, text: str, wanted: int | None
) -> None:
    """`resolution` names a downsampling tier, `raw` none."""
    client = make_client(promql=engine)
    await client.post(QUERY, data={"query": "up", "resolution": text})
    await client.post(RANGE, data={"query": "up", "start": "1", "end": "2", "step": "1", "resolution": text})
    assert [c["resolution_ms"] for c in engine.calls] == [wanted, wanted]


async def test_parameters_reach_the_engine_in_milliseconds(make_client: Any, engine: FakeEngine) -> None:
    """Times, steps and the lookback are converted; what is not given is None or now."""
    client = make_client(promql=engine)
    await client.get(
        RANGE, params={"query": "m", "start": "1435781400.5", "end": "2015-07-01T20:10:51.781Z", "step": "1m"}
    )
    await client.post(QUERY, data={"query": "up", "lookback_delta": "2m"})
    first, second = engine.calls
    assert (first["start_ms"], first["end_ms"], first["step_ms"]) == (1_435_781_400_500, NOW_MS, 60_000)
    assert first["lookback_ms"] is None
    assert (second["time_ms"], second["lookback_ms"]) == (NOW_MS, 120_000)


async def test_a_posted_form_comes_before_the_url(make_client: Any, engine: FakeEngine) -> None:
    """As in Go, the body's value of a parameter wins."""
    answer = await make_client(promql=engine).post(QUERY + "?query=many", data={"query": "1e16", "time": "3"})
    assert answer.json()["data"]["result"][1] == "10000000000000000"
    assert engine.calls[0]["time_ms"] == 3000


async def test_limit_cuts_series_and_warns(make_client: Any, engine: FakeEngine) -> None:
    """A result that loses series says so; one that does not is unchanged."""
    client = make_client(promql=engine)
    cut = (await client.get(QUERY, params={"query": "up", "limit": "1"})).json()
    assert len(cut["data"]["result"]) == 1
    assert cut["warnings"] == ["results truncated due to limit"]
    assert "warnings" not in (await client.get(QUERY, params={"query": "up", "limit": "2"})).json()


async def test_stats_are_given_on_demand(make_client: Any, engine: FakeEngine) -> None:
    """`stats` with any value adds timings and samples."""
    client = make_client(promql=engine)
    stats = (await client.get(QUERY, params={"query": "up", "stats": "all"})).json()["data"]["stats"]
    assert stats["samples"] == {"totalQueryableSamples": 7, "peakSamples": 3, "samplesRead": 7}
    assert {"evalTotalTime", "execQueueTime", "execTotalTime", "queryPreparationTime"} <= stats["timings"].keys()
    assert "stats" not in (await client.get(QUERY, params={"query": "up"})).json()["data"]


async def test_a_query_stops_when_its_time_is_up(make_client: Any, engine: FakeEngine) -> None:
    """The engine's `check` raises once the client's timeout has passed."""

    def spin(check: Any, **_: Any) -> Result:
        while True:
            check()

    engine.answers["spin"] = spin
    answer = await make_client(promql=engine).get(QUERY, params={"query": "spin", "timeout": "0.05"})
    assert answer.status_code == 503
    assert answer.json()["errorType"] == "timeout"


async def test_a_query_waits_for_its_turn_no_longer_than_its_timeout(make_client: Any, engine: FakeEngine) -> None:
    """With every place taken, a query is answered 503 when its time is up, unevaluated."""
    begun, release = trio.Event(), threading.Event()

    def hold(**_: Any) -> Result:
        trio.from_thread.run_sync(begun.set)
        release.wait(60)
        return scalar(1.0)

    engine.answers["hold"] = hold
    client = make_client(WebOptions(queries_max=1), promql=engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, QUERY + "?query=hold")
        await begun.wait()
        answer = await client.get(QUERY, params={"query": "1e16", "timeout": "0.01"})
        release.set()
    assert answer.status_code == 503
    assert answer.json()["error"] == "query timed out in query queue"


async def test_a_quick_query_needs_no_thread(
    make_client: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time it runs in a thread; once known to be quick, in the event loop; when slow there, in both."""
    unhurried(monkeypatch)
    threads: list[bool] = []
    slow = False

    def record(check: Any, **_: Any) -> Result:
        threads.append(threading.current_thread() is not threading.main_thread())
        while slow and not threads[-1]:
            check()
        return scalar(1.0)

    engine.answers["q"] = record
    client = make_client(promql=engine)
    for _ in range(2):
        assert (await client.get(QUERY, params={"query": "q"})).status_code == 200
    assert threads == [True, False]
    slow = True
    monkeypatch.setattr(pace, "INLINE_SECONDS_MAX", 0.01)
    assert (await client.get(QUERY, params={"query": "q"})).status_code == 200
    assert threads == [True, False, False, True]


@pytest.mark.parametrize(
    ("path", "first", "other"),
    [
        (QUERY, {"time": "1"}, {}),
        (QUERY, {}, {"lookback_delta": "1ms"}),
        (QUERY, {}, {"time": str(NOW_MS // 1000 - 3600)}),
        (RANGE, {"start": "0", "end": "1", "step": "1"}, {"start": "0", "end": "10000", "step": "10000"}),
        (RANGE, {"start": "0", "end": "9000", "step": "9000"}, {"start": "0", "end": "9000", "step": "1"}),
        (RANGE, {"start": "0", "end": "9", "step": "9"}, {"start": "1435781400", "end": "1435781409", "step": "9"}),
    ],
)
async def test_a_quick_query_says_nothing_of_other_times(
    make_client: Any,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    first: dict[str, str],
    other: dict[str, str],
) -> None:
    """Times, width, steps and lookback decide the cost, so each first goes to a thread; so it is for more series."""
    unhurried(monkeypatch)
    inline: list[bool] = []
    stored = 10

    def record(**_: Any) -> Result:
        inline.append(threading.current_thread() is threading.main_thread())
        return scalar(1.0)

    engine.answers["q"] = record
    client = make_client(promql=engine, series_count=lambda: stored)
    for times in (first, first, other):
        assert (await client.get(path, params={"query": "q", **times})).status_code == 200
    stored = 380_000
    await client.get(path, params={"query": "q", **first})
    assert inline == [False, True, False, False]


async def test_a_long_query_is_never_parsed_in_the_event_loop(make_client: Any, engine: FakeEngine) -> None:
    """However quick it was."""
    inline: list[bool] = []
    long = "q" * (pace.INLINE_TEXT_MAX + 1)

    def record(**_: Any) -> Result:
        inline.append(threading.current_thread() is threading.main_thread())
        return scalar(1.0)

    engine.answers[long] = record
    client = make_client(promql=engine)
    for _ in range(2):
        assert (await client.post(QUERY, data={"query": long})).status_code == 200
    assert inline == [False, False]


async def test_an_answer_that_takes_long_to_write_moves_to_a_thread(
    make_client: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoding in the event loop calls the check as well."""
    unhurried(monkeypatch)
    inline: list[bool] = []

    def record(**_: Any) -> Result:
        inline.append(threading.current_thread() is threading.main_thread())
        if inline[-1]:  # the evaluation was quick, but now the time is up
            monkeypatch.setattr(query.time, "monotonic", lambda: math.inf)
        return scalar(1.0)

    engine.answers["q"] = record
    client = make_client(promql=engine)
    await client.get(QUERY, params={"query": "q"})
    monotonic = query.time.monotonic

    def note(key: int | None, seconds: float) -> None:
        monkeypatch.setattr(query.time, "monotonic", monotonic)

    monkeypatch.setattr(pace.Pace, "note", lambda self, key, seconds: note(key, seconds))
    assert (await client.get(QUERY, params={"query": "q"})).status_code == 200
    assert inline == [False, True, False]


def test_ranges_with_about_the_same_data_are_alike() -> None:
    """Rounded ends, the future as now; narrow ranges only like themselves."""
    hour, cell = 3_600_000, 1 << pace.CELL_BITS
    now = 1000 * cell + 10
    assert pace.span_key(now - hour, now, now) == pace.span_key(now - hour + 1000, now + hour, now + 1000)
    assert pace.span_key(now - hour, now, now) != pace.span_key(now - 2 * hour, now, now)
    assert pace.span_key(5, 6, now) != pace.span_key(5, 7, now)
    assert pace.span_key(5, 6, now) != pace.span_key(5 * cell, 6 * cell, now)


def test_the_pace_of_few_queries_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow run ends a query's good name, and memory is bounded."""
    monkeypatch.setattr(pace, "REMEMBERED_MAX", 2)
    known = pace.Pace()
    for key in (1, 2, 3):
        known.note(key, 0.001)
    assert [known.is_quick(key) for key in (1, 2, 3, 4)] == [False, True, True, False]
    known.note(2, 0.5)
    assert not known.is_quick(2)


async def test_a_large_result_is_streamed_whole(
    make_client: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer above the limit for one piece is made while it is sent, and complete."""
    monkeypatch.setattr(envelope, "WHOLE_BYTES_MAX", 1000)
    n = 200_000
    engine.answers["large"] = Result(
        ValueType.MATRIX,
        SeriesColumns([()], np.array([0, n]), np.arange(n) * 1000, np.arange(n) / 3),
        infos=("PromQL info: at the end",),
    )
    answer = await make_client(promql=engine).get(QUERY, params={"query": "large"})
    assert "content-length" not in answer.headers
    found = json.loads(answer.content)
    assert len(found["data"]["result"][0]["values"]) == n
    assert found["infos"] == ["PromQL info: at the end"]


def large(points: int = 200_000) -> Result:
    """Return a matrix of one long series."""
    columns = SeriesColumns([()], np.array([0, points]), np.arange(points) * 1000, np.arange(points) / 3)
    return Result(ValueType.MATRIX, columns)


async def test_an_answer_that_is_too_large_is_refused(make_client: Any, engine: FakeEngine) -> None:
    """By the name of the limit, as long as nothing was sent."""
    engine.answers["large"] = large()
    client = make_client(WebOptions(answer_bytes_max=1_000_000), promql=engine)
    answer = await client.get(QUERY, params={"query": "large"})
    assert (answer.status_code, answer.json()["errorType"]) == (422, "execution")
    assert "the limit of 1000000 bytes (query_answer_max)" in answer.json()["error"]
    assert (await client.get(QUERY, params={"query": "up"})).status_code == 200


async def test_an_answer_that_turns_out_too_large_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the answer has begun there is no other status: its end is missing."""
    monkeypatch.setattr(envelope, "WHOLE_BYTES_MAX", 1000)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    response = envelope.stream(query.encode(large()), bounds=envelope.Bounds(1_000_000))
    with pytest.raises(LimitExceeded, match="query_answer_max"):
        await response({}, None, send)
    assert sent[0]["status"] == 200
    assert sum(len(m["body"]) for m in sent[1:]) <= 1_000_000
    assert all(m["more_body"] for m in sent[1:])


@pytest.mark.parametrize("cut", [False, True])
async def test_the_memory_of_an_answer_counts_while_it_is_sent(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """So that slow clients cannot hold more than running queries may; it is given back however the sending ends."""
    monkeypatch.setattr(envelope, "WHOLE_BYTES_MAX", 1000)
    engine.answers["large"] = large()
    desk = QueryDesk(WebOptions(), lambda: NOW_MS)
    app = make_application(make_services(promql=engine, desk=desk), WebOptions())
    held: list[int] = []

    async def receive() -> Any:
        await trio.sleep_forever()

    async def send(message: Any) -> None:
        held.append(desk.memory.used)
        if cut and len(held) == 3:
            raise ConnectionResetError

    scope = {"type": "http", "method": "GET", "path": QUERY, "raw_path": QUERY.encode(), "query_string": b"query=large"}
    await app({**scope, "headers": []}, receive, send)
    assert max(held) == 200_000 * 16
    assert desk.memory.used == 0


async def test_a_slow_client_is_given_up(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending a large answer takes no longer than it may, and what was still to be made is closed."""
    sent: list[Any] = []

    async def here(work: Any, *arguments: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return work(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", here)  # the clock would jump while a thread works

    def pieces() -> Any:
        try:
            while True:
                yield b"piece"
        finally:
            sent.append("closed")

    async def send(message: Any) -> None:
        sent.append(message["type"])
        await trio.sleep(30)

    began = trio.current_time()
    with pytest.raises(ConnectionResetError, match="took too long"):
        await PiecesResponse(pieces(), seconds=100.0)({}, None, send)
    assert trio.current_time() - began == pytest.approx(130, abs=0.1)  # the head took 30
    assert sent == ["http.response.start", *["http.response.body"] * 4, "closed"]


@pytest.mark.parametrize("text", ["true", "1", "x"])
async def test_a_query_can_be_explained(make_client: Any, text: str) -> None:
    """The plan with series, points, samples and time of its parts stands beside the result."""
    client = make_client(promql=PromqlEngine())
    answer = (await client.get(QUERY, params={"query": "sum by (job) (up) + 1", "explain": text})).json()["data"]
    assert len(answer["result"]) == 2
    plan = answer["explain"]
    assert (plan["kind"], plan["query"], plan["series"], plan["points"]) == (
        "operator +",
        "sum by (job) (up) + 1",
        2,
        2,
    )
    aggregation, constant = plan["parts"]
    assert constant["kind"] == "constant"
    (selector,) = aggregation["parts"]
    assert selector["kind"] == "selector"
    assert (selector["series"], selector["samplesRead"], selector["pagesRead"], selector["cacheHits"]) == (2, 2, 0, 0)
    assert selector["seconds"] > 0
    answer = await client.get(
        RANGE, params={"query": "up", "start": "1", "end": "2", "step": "1", "explain": text, "stats": "1"}
    )
    assert {"result", "stats", "explain"} <= answer.json()["data"].keys()


@pytest.mark.parametrize("text", ["", "0", "false"])
async def test_a_query_is_not_explained_unasked(make_client: Any, text: str) -> None:
    """Tracing costs time."""
    answer = await make_client(promql=PromqlEngine()).get(QUERY, params={"query": "up", "explain": text})
    assert "explain" not in answer.json()["data"]


async def test_other_methods_are_not_allowed(make_client: Any) -> None:
    """PUT on a query is 405, and the answer says what is allowed."""
    answer = await make_client().put(QUERY)
    assert (answer.status_code, answer.text) == (405, "Method Not Allowed\n")
    assert answer.headers["allow"] == "GET, OPTIONS, POST"


def test_waiting_for_other_threads_does_not_make_a_query_slow() -> None:
    """What a thread computed counts, unless so much time passed that something else must have held it up."""
    assert pace.seconds_alone(pace.INLINE_SECONDS_MAX, 0.001) == 0.001
    assert pace.seconds_alone(pace.INLINE_SECONDS_MAX + 1.0, 0.001) == pace.INLINE_SECONDS_MAX + 1.0
