"""The query log, slow queries in the daemon's log, and the file for the case of a crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog.testing
import trio

from tinyobs.builtin.query_log.component import QueryLog
from tinyobs.builtin.query_log.crash_file import ENTRY_BYTES, NAME, CrashFile, unfinished
from tinyobs.builtin.query_log.lines import line_of
from tinyobs.config.loader import parse
from tinyobs.promql.result import QueryStatistics
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent
from tinyobs.testing.services import FakeServices
from tinyobs.web.queries.active import Question
from tinyobs.web.queries.finished import FinishedQuery


def settings_of(tmp_path: Path, text: str) -> AgentSettings:
    """Return settings of an agent that collects nothing, with its configuration written to a file."""
    file = tmp_path / "tinyobs.yml"
    file.write_text(text)
    url = f"file:{tmp_path / 'data'}"
    return AgentSettings(config_file=file, storage_url=url, listen=("127.0.0.1:0",), plugins_off=("host",))


def lines_in(file: Path) -> list[dict]:
    """Return the lines of a log that are there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def lines_of(file: Path, count: int) -> list[dict]:
    """Return the lines of a log when there are so many; a thread writes them."""
    while len(found := lines_in(file)) < count:
        await trio.lowlevel.checkpoint()
    return found


def test_a_line_has_the_keys_of_prometheus() -> None:
    """Times in RFC 3339, the step in whole seconds, statistics as the API shows them, and no secret of the request."""
    asked = Question(
        "range", "up == 0", 1_581_170_390_368, 1_581_173_990_368, 5500, "user:ann", "127.0.0.1", "GET", "/api/v1/query_range"
    )  # fmt: skip
    found = json.loads(line_of(FinishedQuery(asked, 1_581_173_991_000, 2.0, 0.5, QueryStatistics(samples_read=7))))
    assert found["stats"]["samples"]["totalQueryableSamples"] == 7
    assert found["stats"]["timings"]["execQueueTime"] == 0.5
    assert found["stats"]["timings"]["execTotalTime"] == 2.0
    del found["stats"]
    assert found == {
        "time": "2020-02-08T14:59:51.000Z",
        "ts": "2020-02-08T14:59:51.000Z",
        "level": "INFO",
        "msg": "promql query logged",
        "params": {
            "query": "up == 0",
            "start": "2020-02-08T13:59:50.368Z",
            "end": "2020-02-08T14:59:50.368Z",
            "step": 5,
        },
        "httpRequest": {"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query_range"},
    }


async def test_queries_are_logged_to_the_file(tmp_path: Path) -> None:
    """Each that was evaluated, with its error; one that makes no sense is not; a reload opens the file again."""
    file = tmp_path / "queries.log"
    settings = settings_of(tmp_path, f"global: {{query_log_file: {file}}}")
    async with running_agent(settings) as running:
        await running.get("/api/v1/query?query=1&token=secret")
        await running.get("/api/v1/query?query=1%2B")
        await running.get("/api/v1/query?query=1")  # in the event loop this time
        await running.store("x", 1.0, a="1")
        await running.store("x", 1.0, a="2")
        await running.get("/api/v1/query?query=x/on()x")
        found = await lines_of(file, 3)
        assert [line["params"]["query"] for line in found] == ["1", "1", "x/on()x"]
        assert "found duplicate series" in found[2]["error"]
        assert "secret" not in file.read_text()
        file.rename(tmp_path / "rotated")
        await running.agent.reload()
        await running.get("/api/v1/query?query=2")
        assert len(await lines_of(file, 1)) == 1
        settings.config_file.write_text("")
        await running.agent.reload()
        await running.get("/api/v1/query?query=3")
        body = (await running.get("/metrics"))[1].decode()
        assert "prometheus_engine_query_log_enabled 0" in body
        assert "prometheus_engine_query_log_failures_total 0" in body
    assert len(file.read_text().splitlines()) == 1


class Slow:
    """A desk's log that is told of queries without running any."""

    def __init__(self, services: FakeServices, slow: str) -> None:
        services.config = parse(f"tinyobs: {{query: {{slow: {slow}}}}}", "t.yml")
        self.log = QueryLog(services)

    def note(self, seconds: float, text: str = "up", **more) -> list[dict]:
        """Return the log entries for a query."""
        asked = Question("range", text, 0, 3_600_000, 15_000, "user:ann")
        with structlog.testing.capture_logs() as logs:
            if seconds >= self.log.threshold_seconds:
                self.log.note(FinishedQuery(asked, 0, seconds, 0.25, QueryStatistics(samples_read=7, series=3), **more))
        return logs


def test_slow_queries_are_warnings() -> None:
    """With text, duration, range and cost; a long text is cut; nothing of quick ones, and of none without a threshold."""
    slow = Slow(FakeServices(), "5s")
    assert slow.note(4.9) == []
    assert slow.note(5.0, error="too many") == [
        {
            "event": "slow query",
            "log_level": "warning",
            "query": "up",
            "kind": "range",
            "range_seconds": 3600.0,
            "step_seconds": 15.0,
            "seconds": 5.0,
            "queued_seconds": 0.25,
            "samples": 7,
            "series": 3,
            "client": "user:ann",
            "error": "too many",
        }
    ]
    assert slow.note(9.0, "x" * 5000)[0]["query"] == "x" * 2000 + "..."
    assert slow.log.statistics().slow_total == 2
    assert Slow(FakeServices(), "0s").note(1e9) == []


async def test_an_unwritable_log_is_counted(tmp_path: Path) -> None:
    """A folder in the place of the file: queries are answered, lines are lost, and the log says so once."""
    settings = settings_of(tmp_path, f"global: {{query_log_file: {tmp_path}}}")
    async with running_agent(settings) as running:
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                await running.get("/api/v1/query?query=1")
            while not running.agent.component("query_log").statistics().failures_total >= 2:
                await trio.lowlevel.checkpoint()
    assert len([e for e in logs if e["event"] == "queries cannot be logged"]) == 1


def test_the_file_tells_what_did_not_end(tmp_path: Path) -> None:
    """Queries that are over are struck; what is left is named at the next start, which begins anew."""
    file = CrashFile(tmp_path, 2)
    one, other = file.enter("one"), file.enter("other")
    assert file.enter("a third") == 0
    file.leave(0)
    file.leave(one)
    assert [text for text, _ in unfinished(tmp_path / NAME)] == ["other"]
    assert (tmp_path / NAME).stat().st_size == 1 + 2 * ENTRY_BYTES
    file.close()
    with structlog.testing.capture_logs() as logs:
        again = CrashFile(tmp_path, 2)
    assert [entry["query"] for entry in logs] == ["other"]
    assert other
    assert unfinished(tmp_path / NAME) == []
    again.close()


@pytest.mark.parametrize("text", ["x" * 5000, '"\\' * 3000, "é" * 600, "\ud800" * 10])
def test_long_queries_are_cut_to_the_room_that_there_is(tmp_path: Path, text: str) -> None:
    """An entry never reaches into the next one."""
    file = CrashFile(tmp_path, 2)
    at, after = file.enter(text), file.enter("after")
    found = [t for t, _ in unfinished(tmp_path / NAME)]
    assert text.startswith(found[0])
    assert len(found[0]) >= min(len(text), 150)
    assert found[1] == "after"
    file.leave(at)
    file.leave(after)
    file.close()


def test_damage_in_the_file_is_passed_over(tmp_path: Path) -> None:
    """Half an entry, other JSON, another file altogether: what can be read counts."""
    good = b'{"query":"up","timestamp_sec":7}'.ljust(ENTRY_BYTES - 1, b"\0") + b","
    bad = [b'{"query":"u', b"[]", b'{"query":"u"}', b"\xff\xfe"]
    data = b"[" + b"".join(b.ljust(ENTRY_BYTES, b"\0") for b in bad) + good
    (tmp_path / NAME).write_bytes(data)
    assert unfinished(tmp_path / NAME) == [("up", 7)]
    assert unfinished(tmp_path / "nothing") == []


async def test_a_running_query_stands_in_the_file(tmp_path: Path) -> None:
    """While it runs in a thread; afterwards the file is empty."""
    settings = settings_of(tmp_path, "")
    seen = []
    async with running_agent(settings) as running:
        instant = running.agent.query_engine.instant

        def looking(*args, **given):
            seen.extend(unfinished(tmp_path / "data" / NAME))
            return instant(*args, **given)

        running.agent.query_engine.instant = looking
        await running.get("/api/v1/query?query=41")
    assert [text for text, _ in seen] == ["41"]
    assert unfinished(tmp_path / "data" / NAME) == []
