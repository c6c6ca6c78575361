"""Series of Datadog's API become samples; a bad one costs no other."""

from __future__ import annotations

import json

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import free_port
from receiver_pages import agent_of, blocks, run_commands, with_free_ports
from tinyobs.abc import ConfigSection
from tinyobs.errors import WireError
from tinyobs.model.labels import from_mapping, to_text
from tinyobs.model.registry import SeriesRegistry
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for

import tinyobs_datadog
from tinyobs_datadog.receiver import DROPPED
from tinyobs_datadog.series import SeriesReader
from tinyobs_datadog.settings import SECTION, DatadogSettings
from tinyobs_datadog.wire import MetricPayload

SECTIONS = (ConfigSection(SECTION, DatadogSettings),)
V1 = {
    "metric": "system.load.1",
    "points": [[1_700_000_000, 0.5], [1_700_000_010.5, 0.75]],
    "tags": ["env:prod", "flag", "url:http://x"],
    "host": "a",
    "device": "eth0",
    "type": "gauge",
}
V2 = {
    "metric": "system.load.1",
    "type": 3,
    "unit": "process",
    "points": [{"timestamp": 1_700_000_000, "value": 0.5}],
    "resources": [{"type": "host", "name": "a"}],
    "tags": ["env:prod", "host:other"],
}
BAD = [5, {}, {"metric": "x"}, {"metric": "x", "points": [[1]]}, {"metric": "", "points": []}]


def body(*series):
    """A JSON body."""
    return json.dumps({"series": series}).encode()


def protobuf_body(count=1):
    """The series V2 as a message."""
    payload = MetricPayload()
    for i in range(count):
        one = payload.series.add(metric=V2["metric"], tags=V2["tags"], unit=V2["unit"], type=3, interval=10)
        one.resources.add(type="host", name="a")
        one.points.add(timestamp=1_700_000_000 + i, value=0.5)
    return payload.SerializeToString()


def rows(pushed, registry):
    """Return [(series, ms, value), ...]."""
    b = pushed.batch
    found = zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
    return [(to_text(registry.labels(r)), t, v) for r, t, v in found]


CASES = {
    "v1": ReceiverCase(
        "/datadog/api/v1/series",
        body(V1),
        2,
        bad=b"{",
        mixed=body(V1, *BAD, {**V1, "metric": "b"}),
        mixed_samples=4,
        sections=SECTIONS,
    ),
    "v2": ReceiverCase(
        "/datadog/api/v2/series",
        body(V2),
        1,
        bad=b'{"series":{}}',
        mixed=body(V2, *BAD, {**V2, "metric": "b"}),
        mixed_samples=2,
        sections=SECTIONS,
    ),
    "protobuf": ReceiverCase(
        "/datadog/api/v2/series",
        protobuf_body(2),
        2,
        bad=b"\xff\xff\xff",
        headers={"content-type": "application/x-protobuf"},
        sections=SECTIONS,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_the_contract_of_receivers(case, mock_clock):
    """Each API keeps every promise."""
    await check_receiver(tinyobs_datadog.tinyobs_routes, case)


def test_a_series_of_v1():
    """Host and device are labels; a tag without a colon has a value that says so."""
    registry = SeriesRegistry()
    series = 'system_load_1{device="eth0", env="prod", flag="no_label_value", host="a", url="http://x"}'
    assert rows(SeriesReader(registry).v1(body(V1)), registry) == [
        (series, 1_700_000_000_000, 0.5),
        (series, 1_700_000_010_500, 0.75),
    ]


@pytest.mark.parametrize("read", ["v2", "v2_protobuf"])
def test_a_series_of_v2(read):
    """Resources are labels, and a tag of such a name gives way; units are kept.  JSON and protobuf say the same."""
    registry = SeriesRegistry()
    pushed = getattr(SeriesReader(registry), read)(body(V2) if read == "v2" else protobuf_body())
    assert rows(pushed, registry) == [
        ('system_load_1{env="prod", exported_host="other", host="a"}', 1_700_000_000_000, 0.5)
    ]
    assert pushed.batch.metadata["system_load_1"].unit == "process"


def test_names_that_are_kept_and_labels_that_are_added():
    """Those that are added win."""
    registry = SeriesRegistry()
    reader = SeriesReader(registry, keep_names=True, extra=from_mapping({"env": "x", "site": "y"}))
    plain = {"metric": "a.b", "points": [[1, 2]], "tags": ["env:prod"]}
    assert rows(reader.v1(body(plain)), registry) == [('{"a.b", env="x", site="y"}', 1000, 2.0)]


def test_the_memory_is_bounded():
    """What is forgotten is the same series when it comes again."""
    registry = SeriesRegistry()
    reader = SeriesReader(registry, series_max=5)
    many = body(*({"metric": f"m{i}", "points": [[1, 2]]} for i in range(12)))
    assert rows(reader.v1(many), registry) == rows(reader.v1(many), registry)
    assert len(registry) == 12
    assert len(reader._refs) <= 5


def test_the_memory_is_bounded_in_bytes(monkeypatch):
    """However long series are written, and though all are one."""
    monkeypatch.setattr("tinyobs_datadog.series.KEYS_BYTES_MAX", 1000)
    registry = SeriesRegistry()
    reader = SeriesReader(registry)
    many = body(*({"metric": f"a{sign}" * 40, "points": [[1, 2]], "tags": ["x:y"]} for sign in "!$%&/()=?+*#.,;:<>"))
    assert len({series for series, *_ in rows(reader.v1(many), registry)}) == 2
    assert len(reader._refs) <= 13


@pytest.mark.parametrize(
    "series",
    [
        {"points": [[1, 1]]},
        {"metric": "a"},
        {"metric": 5, "points": [[1, 1]]},
        {"metric": "a", "points": [[1, 1]], "tags": [5]},
        {"metric": "a", "points": [[1, 1]], "tags": [["x"]]},
        {"metric": "a", "points": [[1, 1]], "tags": "env:prod"},
        {"metric": "a", "points": [[1, 1]], "tags": {"env": "prod"}},
        {"metric": "a", "points": [[1, 1]], "host": 7},
    ],
)
def test_a_series_that_cannot_be(series):
    """It is named by its index and left out as a whole."""
    registry = SeriesRegistry()
    pushed = SeriesReader(registry).v1(body(V1, series, V1))
    assert len(pushed.batch) == 4
    assert pushed.refused == {"malformed": 1}
    assert pushed.problems[0].startswith("series 1: ")


@pytest.mark.parametrize("point", [["1", 1], [1, None], [1, True], [1e300, 1], [1], 5, None, [1, [1]]])
def test_a_point_that_cannot_be(point):
    """It is named by series and place; the others of its series stay."""
    pushed = SeriesReader(SeriesRegistry()).v1(body(V1, {**V1, "points": [[1, 1], point, [2, 1]]}))
    assert len(pushed.batch) == 4
    assert pushed.refused == {"malformed": 1}
    assert pushed.problems[0].startswith("series 1, point 1: a ")


def test_points_and_resources_of_v2_that_cannot_be():
    """A resource without a type or a name is none; a bad point costs no other."""
    registry = SeriesRegistry()
    points = [{"timestamp": 1, "value": 1}, [2, 2], {"value": 3}, {"timestamp": 4, "value": 4}]
    resources = [{"type": "host"}, {"name": "x"}, {}, {"type": "host", "name": "a"}]
    one = {"metric": "a", "points": points, "resources": resources}
    pushed = SeriesReader(registry).v2(body(one, {**one, "resources": [5]}, {**one, "resources": "x"}))
    assert rows(pushed, registry) == [('a{host="a"}', 1000, 1.0), ('a{host="a"}', 4000, 4.0)]
    assert pushed.refused == {"malformed": 4}


async def test_too_many_series():
    """The answer has the status of all receivers for that."""
    http = free_port()
    config = "tinyobs: {limits: {rules: [{match: a, series_max: 1}]}}\n"
    series = [{"metric": "a", "points": [["$N", 1]], "tags": [f"n:{n}"]} for n in "12"]
    body = json.dumps({"series": series}).replace('"$N"', "'$(date +%s)'")
    commands = f"curl -s -w ' %{{http_code}}' http://127.0.0.1:{http}/datadog/api/v1/series -d '{body}'"
    with trio.fail_after(60):
        async with agent_of(config, f"127.0.0.1:{http}", plugins={"datadog": tinyobs_datadog}):
            told = await run_commands(commands)
    assert told.endswith(" 429")
    assert "series beyond the limit series_max 1" in told


def test_tags_without_names():
    """An empty tag is none, and a colon in front is no part of one."""
    registry = SeriesRegistry()
    pushed = SeriesReader(registry).v1(body({"metric": "a", "points": [[1, 1]], "tags": ["", ":", ":x", "b:"]}))
    assert rows(pushed, registry) == [('a{x="no_label_value"}', 1000, 1.0)]


async def test_answers():
    """Those of Datadog's API, errors too; who may push is not the key's business."""
    case = CASES["v1"]
    answer = await push(tinyobs_datadog.tinyobs_routes, services_for(case), case, case.good)
    assert (answer.status, json.loads(answer.body)) == (202, {"status": "ok"})
    answer = await push(tinyobs_datadog.tinyobs_routes, services_for(case), case, case.mixed)
    assert answer.status == 400
    assert json.loads(answer.body)["errors"][0].startswith("5 refused, the others are stored: series 1: ")
    answer = await push(tinyobs_datadog.tinyobs_routes, services_for(CASES["v2"]), CASES["v2"], CASES["v2"].good)
    assert (answer.status, json.loads(answer.body)) == (202, {"errors": []})
    valid = ReceiverCase("/datadog/api/v1/validate", b"", 0, method="GET", sections=SECTIONS)
    answer = await push(tinyobs_datadog.tinyobs_routes, services_for(valid), valid, b"")
    assert (answer.status, answer.body) == (200, b'{"valid":true}')


@pytest.mark.parametrize("path", DROPPED)
async def test_what_is_not_metrics(path):
    """It is accepted, so that the agent does not send it again, and counted."""
    case = ReceiverCase(path, b"{}", 0, sections=SECTIONS)
    services = services_for(case)
    assert (await push(tinyobs_datadog.tinyobs_routes, services, case, b"{}")).status == 202
    assert services.receptions.statistics().refused_total == {("datadog", "not_metrics"): 1}
    assert not services.batches


async def test_the_library_of_datadog():
    """A real client sends by API v1, compressed as it likes."""
    api = pytest.importorskip("datadog").api
    async with agent_of("", "127.0.0.1:0", plugins={"datadog": tinyobs_datadog}) as running:

        def send():
            api._api_key, api._api_host, api._mute = "x", f"{running.url}/datadog", False
            api._timeout, api._cacert, api._proxies, api._max_timeouts = 10, True, None, 3
            api._max_retries, api._backoff_period = 1, 1
            return api.Metric.send(
                metric="jobs.done", points=[(running.agent.clock.now_ms() // 1000, 3)], tags=["q:mail"], host="h"
            )

        assert (await trio.to_thread.run_sync(send))["status"] == "ok"
        assert await running.query("jobs_done") == {'jobs_done{host="h", q="mail"}': 3.0}


async def test_the_example_of_the_page():
    """The commands do what the page says."""
    (commands,) = with_free_ports(blocks("datadog", "sh"))
    listen = commands.partition("http://")[2].partition("/")[0]
    async with agent_of("", listen, plugins={"datadog": tinyobs_datadog}):
        shown = await run_commands(commands)
    assert '"__name__":"jobs_waiting","env":"prod","host":"web1"' in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["metric", "points", "tags", "host", "resources", "unit"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(JSON, max_size=5), st.sampled_from(["v1", "v2"]))
@settings(derandomize=True, max_examples=400, deadline=None)
def test_any_json(others, version):
    """A series among whatever else is taken."""
    registry = SeriesRegistry()
    good = V1 if version == "v1" else V2
    pushed = getattr(SeriesReader(registry), version)(body(good, *others, {**good, "metric": "z"}))
    found = rows(pushed, registry)
    assert found[0][0].startswith("system_load_1{")
    assert found[-1][0].startswith("z{")


@given(st.binary(max_size=200), st.integers(0, 80))
@settings(derandomize=True, max_examples=400, deadline=None)
def test_any_bytes_of_protobuf(noise, at):
    """Nothing but `WireError` is raised."""
    whole = protobuf_body(2)
    for data in (noise, whole[:at] + noise, whole[:at] + noise + whole[at:]):
        try:
            SeriesReader(SeriesRegistry()).v2_protobuf(data)
        except WireError:
            continue


async def test_wrong_methods_are_told_as_errors_are(autojump_clock):
    """Also by what no handler of this protocol has seen."""
    case = ReceiverCase("/datadog/api/v2/series", b"", 0, method="GET", sections=SECTIONS)
    answer = await push(tinyobs_datadog.tinyobs_routes, services_for(case), case, b"")
    assert (answer.status, json.loads(answer.body)) == (405, {"errors": ["Method Not Allowed"]})
