"""`tinyobs query`: against a real agent, and against servers that answer something odd."""

from __future__ import annotations

import json

import pytest
import trio

from tinyobs.cli.main import run
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent
from tinyobs.testing.targets import FakeTarget, fake_target

AT = 1_700_000_000


@pytest.fixture
def ask(capsys):
    """Return a function that runs `tinyobs query ...` in a thread and gives (exit code, output, messages)."""

    async def give(*arguments):
        capsys.readouterr()
        code = await trio.to_thread.run_sync(run, ["query", *arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return give


@pytest.fixture
async def url(tmp_path):
    """The URL of an agent with a few series."""
    settings = AgentSettings(
        config_text="global: {}\n",
        storage_url=f"file:{tmp_path}",
        listen=("127.0.0.1:0",),
        plugins_off=("host", "event_log"),
    )
    async with running_agent(settings) as running:
        await running.store("temperature", 21.5, room="hall")
        await running.store("temperature", 19.0, room="cellar")
        yield running.url


async def test_instant_prints_a_table(ask, url):
    """Series in PromQL notation, time and value, aligned."""
    code, out, err = await ask("instant", "sort(temperature)", "--url", url)
    head, *rows = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split() == ["SERIES", "TIME", "VALUE"]
    assert [row.split()[0] for row in rows] == ['temperature{room="cellar"}', 'temperature{room="hall"}']
    assert [row.split()[-1] for row in rows] == ["19", "21.5"]
    assert len({row.rindex(row.split()[1]) for row in rows}) == 1


async def test_instant_prints_json(ask, url):
    """The `data` of the API's answer, as it came."""
    code, out, _ = await ask("instant", "temperature{room='hall'}", "--url", url, "-o", "json")
    data = json.loads(out)
    assert code == 0
    assert data["resultType"] == "vector"
    assert data["result"][0]["value"][1] == "21.5"


async def test_scalars_and_strings_have_rows_too(ask, url):
    """Their type stands in place of a series."""
    assert (await ask("instant", "1 + 1", "--time", str(AT), "--url", url))[1].splitlines()[1].split() == [
        "scalar",
        str(AT),
        "2",
    ]
    assert (await ask("instant", "'text'", "--url", url + "/"))[1].splitlines()[1].split()[::2] == ["string", "text"]


async def test_the_plan_is_printed_as_a_tree(ask, url):
    """After the result: a line for each part, with what it took."""
    code, out, _ = await ask("instant", "sum(temperature) > bool 1", "--explain", "--url", url)
    tree = out.split("\n\n")[1].splitlines()
    assert code == 0
    assert [line.partition("  (")[0] for line in tree] == [
        "operator >  sum(temperature) > bool 1",
        "├─ aggregation sum  sum(temperature)",
        "│  └─ selector  temperature",
        "└─ constant  1",
    ]
    assert "(2 series, 2 points, 2 samples, " in tree[2]
    code, out, _ = await ask("range", "1", "--start", "1", "--end", "2", "--step", "1", "--explain", "--url", url)
    assert out.splitlines()[-1].startswith("constant  1  (1 series, 2 points, ")


async def test_range_prints_every_step(ask, url):
    """One row a step."""
    code, out, _ = await ask(
        "range", "vector(7)", "--start", str(AT), "--end", str(AT + 30), "--step", "15s", "--url", url
    )
    assert code == 0
    assert [row.split() for row in out.splitlines()[1:]] == [["{}", str(AT + n), "7"] for n in (0, 15, 30)]


async def test_a_resolution_is_passed_on(ask, url):
    """A tier may be named; the server says what is wrong with a name."""
    code, out, _ = await ask("instant", "temperature", "--resolution", "5m", "--url", url)
    assert (code, len(out.splitlines())) == (0, 3)
    span = ("--start", str(AT), "--end", str(AT), "--step", "15")
    code, _, err = await ask("range", "temperature", *span, "--resolution", "fine", "--url", url)
    assert code
    assert "resolution" in err


async def test_series_and_labels_are_listed(ask, url):
    """Selectors, label names, label values, and restriction by `--match`."""
    assert (await ask("series", "temperature", "--url", url))[1].splitlines() == [
        "SERIES",
        'temperature{room="cellar"}',
        'temperature{room="hall"}',
    ]
    assert "room" in (await ask("labels", "--url", url))[1].split()
    assert (await ask("labels", "room", "--url", url))[1].split() == ["room", "cellar", "hall"]
    narrow = await ask("labels", "room", "--match", 'temperature{room!="hall"}', "--start", "1", "--url", url)
    assert narrow[1].split() == ["room", "cellar"]


async def test_warnings_go_to_standard_error(ask, url):
    """The table stays clean for programs that read it."""
    code, out, err = await ask("instant", "quantile(2, temperature)", "--url", url)
    assert code == 0
    assert err.startswith("warning: ")
    assert "warning" not in out


async def test_a_query_that_cannot_be_read_is_explained(ask, url):
    """Exit code 1 and the server's words with the position."""
    code, out, err = await ask("instant", "sum(", "--url", url)
    assert (code, out) == (1, "")
    assert err.startswith("tinyobs: bad_data: ")
    assert "1:5: parse error" in err


async def test_nobody_there_is_told(ask):
    """The address, the reason and what to look for."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    code, _, err = await ask("instant", "up", "--url", f"http://127.0.0.1:{port}")
    assert code == 1
    assert err.startswith(f"tinyobs: no answer from http://127.0.0.1:{port}/api/v1/query: ")
    assert err.endswith("is a daemon running there? (--url)\n")


@pytest.mark.parametrize("address", ["nonsense", "http://[::1", "ftp://x"])
async def test_an_address_that_is_none_is_told(ask, address):
    """No traceback whatever `--url` is."""
    code, _, err = await ask("instant", "up", "--url", address)
    assert code == 1
    assert err.startswith(f"tinyobs: no answer from {address}/api/v1/query: ")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'"status"', b"{}", b"\xff"])
async def test_another_server_is_told(ask, body):
    """An answer that is not the API's is named as such, with its status."""
    async with fake_target(FakeTarget(body, status=404)) as target:
        code, _, err = await ask("instant", "up", "--url", f"http://{target.address}")
    assert code == 1
    assert err.endswith("answered 404 with something else than the Prometheus API\n")


async def test_a_slow_server_is_not_waited_for(ask):
    """The deadline holds."""
    async with fake_target(FakeTarget(delay_seconds=3600)) as target:
        code, _, err = await ask("instant", "up", "--url", f"http://{target.address}", "--timeout", "0.1")
    assert code == 1
    assert err.endswith("within 0.1 s\n")


async def test_a_timeout_must_be_positive(ask):
    """Else the command line is wrong."""
    assert (await ask("instant", "up", "--timeout", "0"))[0] == 2
