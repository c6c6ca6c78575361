"""OpenTSDB's put: lines and JSON become samples, failures are answered, neighbours stay."""

from __future__ import annotations

import json

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import free_port
from receiver_pages import agent_of, blocks, run_commands, with_free_ports
from tinyobs.abc import ConfigSection
from tinyobs.config import loader
from tinyobs.errors import WireError
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry
from tinyobs.receiving.streams import LastAnswer
from tinyobs.testing.agents import until
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for
from tinyobs.testing.check_source import check_source
from tinyobs.testing.services import FakeServices

import tinyobs_opentsdb
from tinyobs_opentsdb.points import SeriesMemory
from tinyobs_opentsdb.put import read_put
from tinyobs_opentsdb.settings import SECTION, OpenTsdbSettings
from tinyobs_opentsdb.telnet import HELP, read_lines

SECTIONS = (ConfigSection(SECTION, OpenTsdbSettings),)
ONE = {"metric": "sys.cpu", "timestamp": 1356998400, "value": 42.5, "tags": {"host": "a", "cpu": 0}}
TWO = {"metric": "sys.cpu", "timestamp": 1356998401000, "value": "7", "tags": {"host": "b"}}
GOOD = json.dumps([ONE, TWO]).encode()
MIXED = json.dumps([ONE, {"metric": "x"}, 5, {**TWO, "value": None}, TWO]).encode()
CASE = ReceiverCase(
    "/api/put", GOOD, 2, bad=b"{", mixed=MIXED, mixed_samples=2, sections=SECTIONS, mixed_statuses=(400,)
)


def rows(pushed, registry):
    """Return [(series, ms, value), ...]."""
    b = pushed.batch
    found = zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True)
    return [(to_text(registry.labels(r)), t, v) for r, t, v in found]


def lines(text, **options):
    """Return (rows, answer, problems) of lines."""
    registry = SeriesRegistry()
    pushed, answer = read_lines(text, SeriesMemory(registry, **options))
    return rows(pushed, registry), answer, pushed.problems


@pytest.mark.parametrize("path", ["/api/put", "/opentsdb/api/put"])
async def test_the_contract_of_receivers(path, mock_clock):
    """Both paths keep every promise."""
    case = ReceiverCase(path, GOOD, 2, bad=b"{", mixed=MIXED, mixed_samples=2, sections=SECTIONS)
    await check_receiver(tinyobs_opentsdb.tinyobs_routes, case)


async def test_the_contract_of_components(autojump_clock):
    """With no address, as by default."""
    config = loader.parse("", "test.yml", SECTIONS)
    await check_source(lambda: tinyobs_opentsdb.tinyobs_sources(FakeServices(config))[0], config)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"put sys.cpu 1356998400 42.5 host=a cpu=0", ('sys_cpu{cpu="0", host="a"}', 1_356_998_400_000, 42.5)),
        (b"put a 1356998400123 1 x=y", ('a{x="y"}', 1_356_998_400_123, 1.0)),
        (b"put a 1356998400.25 -1e3 x=y", ('a{x="y"}', 1_356_998_400_250, -1000.0)),
        (b"put a 1 1", ("a", 1000, 1.0)),
        (b"  put  a\t1   1  x=y  z=w\r", ('a{x="y", z="w"}', 1000, 1.0)),
    ],
)
def test_a_line(line, expected):
    """Seconds and milliseconds, tags and none; nothing is answered."""
    assert lines(line + b"\n") == ([expected], b"", ())


@pytest.mark.parametrize(
    "line",
    [
        *(b"put", b"put a", b"put a 1", b"put a x 1 t=v", b"put a 1 x t=v", b"put a 1 nan t=v", b"put a 1 1 t"),
        *(b"put a 1 1 t=", b"put a 1e300 1 t=v", b"put \xff 1 1 t=v", b"drop everything"),
    ],
)
def test_a_line_that_fails(line):
    """It is answered; its neighbours stay."""
    found, answer, problems = lines(b"put a 1 1 t=v\n" + line + b"\nput b 2 2 t=v\n")
    assert [series for series, _, _ in found] == ['a{t="v"}', 'b{t="v"}']
    assert answer.count(b"\n") == 1
    assert problems[0].startswith("line 2: ")


def test_what_people_type():
    """Commands are answered."""
    assert lines(b"help\n")[1] == HELP
    assert lines(b"version\n")[1].count(b"\n") == 1


@pytest.mark.parametrize("word", [b"exit", b"quit"])
def test_the_end_of_a_connection(word):
    """What was put before is stored and answered; what comes behind is not read."""
    found, answer, _ = lines(b"put a 1 1 t=v\nfoo\n" + word + b"\nput b 1 1 t=v\n")
    assert [series for series, *_ in found] == ['a{t="v"}']
    assert answer == b'unknown command: "foo"\n'
    assert isinstance(answer, LastAnswer)
    assert not isinstance(lines(b"version\n")[1], LastAnswer)


def test_values_of_tags_that_are_equal_in_python():
    """1, 1.0 and "1" are texts of their own, and true is none."""
    registry = SeriesRegistry()
    points = [{**ONE, "tags": {"a": value, "b": "x"}} for value in (1, 1.0, True, "1", "1.0")]
    pushed, failed = read_put(json.dumps(points).encode(), SeriesMemory(registry))
    assert [series for series, *_ in rows(pushed, registry)] == [
        'sys_cpu{a="1", b="x"}',
        'sys_cpu{a="1.0", b="x"}',
        'sys_cpu{a="1", b="x"}',
        'sys_cpu{a="1.0", b="x"}',
    ]
    assert [reason for _, reason in failed] == ["the value of a tag must be a text"]


def test_names_that_are_kept():
    """They stay as they are."""
    assert lines(b"put a.b 1 1 c.d=e\n", keep_names=True)[0] == [('{"a.b", "c.d"="e"}', 1000, 1.0)]


def test_the_memory_is_bounded():
    """What is forgotten is the same series when it comes again."""
    registry = SeriesRegistry()
    memory = SeriesMemory(registry, series_max=5)
    text = b"".join(b"put m%d 1 1\n" % i for i in range(12))
    first, second = (rows(read_lines(text, memory)[0], registry) for _ in range(2))
    assert first == second
    assert len(registry) == 12
    assert len(memory._refs) <= 5


def test_the_memory_is_bounded_in_bytes(monkeypatch):
    """However long lines are, and though all are of one series."""
    monkeypatch.setattr("tinyobs_opentsdb.points.KEYS_BYTES_MAX", 1000)
    memory = SeriesMemory(SeriesRegistry())
    read_lines(b"".join(b"put m 1 1 a=b%sc=d\n" % (b" " * (100 + i)) for i in range(50)), memory)
    assert len(memory.registry) == 1
    assert len(memory._refs) <= 10
    read_put(json.dumps([{**ONE, "tags": {"a" * i: "b"}} for i in range(1, 200)]).encode(), memory)
    assert len(memory._refs) <= 100


def test_a_point_and_a_list_of_them():
    """Both are bodies of `/api/put`; values may be texts, values of tags numbers."""
    registry = SeriesRegistry()
    memory = SeriesMemory(registry)
    assert rows(read_put(json.dumps(ONE).encode(), memory)[0], registry) == [
        ('sys_cpu{cpu="0", host="a"}', 1_356_998_400_000, 42.5)
    ]
    assert rows(read_put(GOOD, memory)[0], registry)[1] == ('sys_cpu{host="b"}', 1_356_998_401_000, 7.0)
    with pytest.raises(WireError):
        read_put(b"[", memory)
    _, failed = read_put(json.dumps({**ONE, "timestamp": "noon"}).encode(), memory)
    assert failed[0][1] == 'a time that is not a number: "noon"'


async def test_answers_of_put():
    """Nothing, a summary, or details, as it was asked for; failures are 400."""
    for query, body, status, expected in (
        ("", GOOD, 204, None),
        ("?summary", GOOD, 200, {"success": 2, "failed": 0}),
        ("?details", GOOD, 200, {"success": 2, "failed": 0, "errors": []}),
        ("?summary", MIXED, 400, {"success": 2, "failed": 3}),
    ):
        case = ReceiverCase(f"/api/put{query}", GOOD, 2, sections=SECTIONS)
        answer = await push(tinyobs_opentsdb.tinyobs_routes, services_for(case), case, body)
        assert answer.status == status
        assert (json.loads(answer.body) if answer.body else None) == expected
    case = ReceiverCase("/api/put?details", GOOD, 2, sections=SECTIONS)
    answer = await push(tinyobs_opentsdb.tinyobs_routes, services_for(case), case, MIXED)
    assert [e["datapoint"] for e in json.loads(answer.body)["errors"]][1] == 5
    answer = await push(tinyobs_opentsdb.tinyobs_routes, services_for(CASE), CASE, MIXED)
    assert json.loads(answer.body)["error"]["message"].startswith("One or more data points had errors: data point 1")


async def test_points_that_the_storage_refuses():
    """They are told of as well: over telnet in a line, over HTTP in the details."""
    telnet, http = free_port(), free_port()
    config = f'tinyobs: {{opentsdb: {{listen_tcp: ["127.0.0.1:{telnet}"]}}}}\n'
    doubled = '[{"metric":"b","timestamp":\'$N\',"value":1},{"metric":"b","timestamp":\'$N\',"value":2}]'
    commands = f"""
        N=$(date +%s)
        exec 3<>/dev/tcp/127.0.0.1/{telnet}
        printf "put a $N 1 t=v\\nput a $N 2 t=v\\nexit\\n" >&3
        cat <&3
        curl -s http://127.0.0.1:{http}/api/put?details -d '{doubled}'
    """
    with trio.fail_after(60):
        async with agent_of(config, f"127.0.0.1:{http}", plugins={"opentsdb": tinyobs_opentsdb}):
            told, details = (await run_commands(commands)).splitlines()
    assert told.startswith('put: duplicate sample for timestamp (1 in this request); the first: series a{t="v"}')
    (error,) = json.loads(details)["errors"]
    assert error["datapoint"] == {}
    assert error["error"].startswith("duplicate sample for timestamp")


async def test_too_many_series():
    """The answer has the status of all receivers for that."""
    http = free_port()
    config = "tinyobs: {limits: {rules: [{match: a, series_max: 1}]}}\n"
    points = [{"metric": "a", "timestamp": "$N", "value": 1, "tags": {"n": n}} for n in "12"]
    body = json.dumps(points).replace('"$N"', "'$(date +%s)'")
    commands = f"curl -s -w ' %{{http_code}}' http://127.0.0.1:{http}/api/put -d '{body}'"
    with trio.fail_after(60):
        async with agent_of(config, f"127.0.0.1:{http}", plugins={"opentsdb": tinyobs_opentsdb}):
            told = await run_commands(commands)
    assert told.endswith(" 429")
    assert "series beyond the limit series_max 1" in told


async def test_labels_of_the_url():
    """They are added to each series of the request only."""
    services = services_for(CASE)
    routes = tinyobs_opentsdb.tinyobs_routes(services)
    for query in ("?extra_label=site=x", "", "?extra_label=site=y"):
        case = ReceiverCase(f"/api/put{query}", GOOD, 2, sections=SECTIONS)
        await push(lambda _: routes, services, case, json.dumps({**TWO, "metric": "a"}).encode())
    assert list(services.samples()) == ['a{host="b", site="x"}', 'a{host="b"}', 'a{host="b", site="y"}']


async def test_over_a_connection(nursery):
    """Lines are stored, and what failed is answered."""
    config = loader.parse('tinyobs: {opentsdb: {listen_tcp: ["127.0.0.1:0"]}}', "test.yml", SECTIONS)
    services = FakeServices(config)
    source = tinyobs_opentsdb.tinyobs_sources(services)[0]

    async def run(*, task_status):
        await source.run(task_status=task_status)

    await nursery.start(run)
    async with await trio.open_tcp_stream("127.0.0.1", int(source.bound[0].rpartition(":")[2])) as stream:
        await stream.send_all(b"put a 1 1 t=v\nput a\n")
        assert (await stream.receive_some()).startswith(b"put: not enough")
        await until(lambda: bool(services.batches))
    assert services.samples() == {'a{t="v"}': [(1000, 1.0)]}


async def test_the_example_of_the_page():
    """The configuration and the commands do what the page says."""
    config, commands = with_free_ports([*blocks("opentsdb", "yaml"), *blocks("opentsdb", "sh")])
    listen = commands.partition("http://")[2].partition("/")[0]
    async with agent_of(config, listen, plugins={"opentsdb": tinyobs_opentsdb}):
        shown = await run_commands(commands)
    assert '"__name__":"sys_cpu_user","host":"web1"' in shown
    assert '"__name__":"sys_cpu_user","host":"web2"' in shown


@given(st.binary(max_size=200))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_bytes(noise):
    """Nothing fails, and the lines around what cannot be read are there."""
    found, answer, _ = lines(b"put a 1 1 t=v\n" + noise + b"\nput z 1 1 t=v\n")
    assert found[0][0] == 'a{t="v"}'
    assert found[-1][0] == 'z{t="v"}' or isinstance(answer, LastAnswer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["metric", "timestamp", "value", "tags", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(JSON, max_size=5))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_json(others):
    """A point among whatever else is taken, and whatever else fails is counted."""
    registry = SeriesRegistry()
    body = json.dumps([ONE, *others, TWO]).encode()
    pushed, _ = read_put(body, SeriesMemory(registry))
    found = rows(pushed, registry)
    assert found[0][0] == 'sys_cpu{cpu="0", host="a"}'
    assert found[-1][0] == 'sys_cpu{host="b"}'
    assert len(found) + pushed.refused.get("malformed", 0) == len(others) + 2


async def test_wrong_methods_are_told_as_errors_are(autojump_clock):
    """Also by what no handler of this protocol has seen."""
    case = ReceiverCase("/api/put", b"", 0, method="GET", sections=SECTIONS)
    answer = await push(tinyobs_opentsdb.tinyobs_routes, services_for(case), case, b"")
    assert (answer.status, json.loads(answer.body)) == (405, {"error": {"code": 405, "message": "Method Not Allowed"}})
