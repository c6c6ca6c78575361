"""`/api/v1/query_exemplars`: which series it asks for, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from web_fakes import NOW_MS

from tinyobs.errors import StorageError
from tinyobs.model.batch import Batch
from tinyobs.model.exemplars import Exemplar, SeriesExemplars
from tinyobs.model.matchers import name_is
from tinyobs.promql.parser import parse
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent

PATH = "/api/v1/query_exemplars"
SERIES = (("__name__", "requests"), ("job", "a"))
FOUND = SeriesExemplars(
    SERIES, (Exemplar(0, (("trace_id", "abc"),), 0.5, NOW_MS), Exemplar(0, (), float("inf"), NOW_MS + 1))
)


async def test_the_selectors_of_a_query_are_asked_for(make_client: Any) -> None:
    """Every selector counts, whatever is around it."""
    asked: list[Any] = []

    def exemplars(*question: Any) -> list[SeriesExemplars]:
        asked.append(question)
        return [FOUND]

    client = make_client(exemplars=exemplars, parse=parse)
    answer = await client.get(PATH, params={"query": "rate(requests[5m] offset 1h) / up", "start": "1.5", "end": "2"})
    assert asked == [([(name_is("requests"),), (name_is("up"),)], 1500, 2000)]
    assert answer.json()["data"] == [
        {
            "seriesLabels": {"__name__": "requests", "job": "a"},
            "exemplars": [
                {"labels": {"trace_id": "abc"}, "value": "0.5", "timestamp": NOW_MS / 1000},
                {"labels": {}, "value": "+Inf", "timestamp": (NOW_MS + 1) / 1000},
            ],
        }
    ]


async def test_a_query_without_a_selector_asks_for_nothing(make_client: Any) -> None:
    """There is nothing to look for."""
    answer = await make_client(exemplars=None, parse=parse).get(PATH, params={"query": "1 + 1"})
    assert answer.json() == {"status": "success", "data": []}


async def test_errors_have_the_words_of_prometheus(make_client: Any) -> None:
    """Bad ranges and queries are 400; a storage that fails is 500."""

    def fails(*question: Any) -> list[SeriesExemplars]:
        raise StorageError("the disk is gone")

    client = make_client(exemplars=fails)
    answer = await client.get(PATH, params={"query": "up", "start": "2", "end": "1"})
    assert (answer.status_code, answer.json()["error"]) == (400, "end timestamp must not be before start timestamp")
    assert (await client.get(PATH, params={"query": "up("})).status_code == 400
    answer = await client.get(PATH, params={"query": "up"})
    assert (answer.status_code, answer.json()["error"]) == (500, "the disk is gone")


async def test_what_was_stored_is_answered(tmp_path: Path) -> None:
    """From the way in to the answer of a running agent."""
    settings = AgentSettings(storage_url=f"file:{tmp_path}", listen=("127.0.0.1:0",), plugins_off=("host",))
    async with running_agent(settings) as running:
        agent = running.agent
        now_ms = agent.clock.now_ms()
        ref = agent.registry.intern(SERIES)
        given = Exemplar(ref, (("trace_id", "abc"),), 7.0, now_ms)
        await agent.append(
            Batch(np.array([ref], np.uint32), np.array([now_ms]), np.array([7.0]), "test", exemplars=(given,))
        )
        _, body = await running.get(f"{PATH}?query=requests")
        assert b'"exemplars":[{"labels":{"trace_id":"abc"},"value":"7"' in body
