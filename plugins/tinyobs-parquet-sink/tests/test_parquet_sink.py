"""The whole Parquet sink: the contract of sinks, a daemon that writes, and the examples of the README."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import trio
from tinyobs.config.loader import parse
from tinyobs.runtime.settings import AgentSettings
from tinyobs.sinks.group import SinkGroup
from tinyobs.testing.agents import running_agent
from tinyobs.testing.check_sink import check_sink
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.services import FakeServices

import tinyobs_parquet_sink
from tinyobs_parquet_sink import ParquetOutlet, tinyobs_config_sections
from tinyobs_parquet_sink.folder import Folder
from tinyobs_parquet_sink.settings import SECTION

README = (Path(__file__).parents[1] / "README.md").read_text()
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
(QUERY,) = re.findall(r"^```sql\n(.*?);\n```", README, re.MULTILINE | re.DOTALL)


def rows(folder):
    """Return (label n, value) of all rows, by time."""
    found = []
    for path in sorted(folder.rglob("*.parquet"), key=lambda p: p.stat().st_mtime_ns):
        table = pq.read_table(path, partitioning=None)
        found += sorted(
            zip(table["timestamp"].to_pylist(), table["n"].to_pylist(), table["value"].to_pylist(), strict=True)
        )
    return [(int(n), value) for _, n, value in found]


async def test_it_keeps_the_contract_of_sinks(tmp_path, autojump_clock, monkeypatch):
    """Nothing is lost over refusals, ends and restarts, and nothing is there twice."""
    plain, refusing = Folder.write, []

    def write(self, some, end):
        if refusing:
            raise OSError(28, "No space left on device")
        return plain(self, some, end)

    monkeypatch.setattr(Folder, "write", write)

    def refuse(yes):
        refusing[:] = [1] * yes

    text = f"tinyobs: {{{SECTION}: [{{name: a, path: {tmp_path}, flush_every: 1s}}]}}"
    services = FakeServices(parse(text, "t.yml", sections=tinyobs_config_sections()))
    with inline_threads():
        await check_sink(lambda s: SinkGroup(s, SECTION, ParquetOutlet), lambda: rows(tmp_path), refuse, services)
    found = rows(tmp_path)
    assert len(found) == len(set(found))


async def test_the_example_writes_what_a_daemon_stores(tmp_path):
    """All of it is there when the daemon has stopped; the query of the README reads it."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for begin in (0, 3):
        settings = AgentSettings(
            config_text=EXAMPLE.replace("/var/lib/archive", str(folder)),
            storage_url=f"file:{tmp_path / 'data'}",
            listen=("127.0.0.1:0",),
            plugins_off=("host",),
        )
        with trio.fail_after(90):
            async with running_agent(settings, {"parquet_sink": tinyobs_parquet_sink}) as running:
                for n in range(begin, begin + 3):
                    await running.store("node_load1", float(n), job="node", instance="h", n=str(n))
                    await running.store("other", 1.0, job="db")
    ((_, instance, mean),) = duckdb.sql(QUERY.replace("/var/lib/archive", str(folder))).fetchall()
    assert (instance, mean) == ("h", 2.5)
    assert sorted(rows(folder)) == [(n, float(n)) for n in range(6)]
