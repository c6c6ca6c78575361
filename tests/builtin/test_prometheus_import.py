"""The import of Prometheus text over HTTP."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trio

from tinyobs.builtin import prometheus_import
from tinyobs.builtin.prometheus_import import PATH, tinyobs_routes
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for

PAGE = Path(__file__).parents[2] / "docs" / "receivers" / "prometheus-text.md"
CASE = ReceiverCase(PATH, b"m 1\nn 2 1700000000000\n", 2, bad=b"what\n", mixed=b"m 1\n?\nn 2\n", mixed_samples=2)


async def test_it_keeps_the_promises_of_receivers(autojump_clock):
    """Small bodies are read in the writer's thread."""
    await check_receiver(tinyobs_routes, CASE)


async def test_it_keeps_them_where_bodies_are_large(autojump_clock, monkeypatch):
    """Others are read in pieces."""
    monkeypatch.setattr(prometheus_import, "IN_WRITER_BYTES", 0)
    await check_receiver(tinyobs_routes, CASE)


async def test_labels_of_the_path(autojump_clock):
    """They are those of a Pushgateway, and win."""
    path = f"{PATH}/metrics/job/a/dc@base64/ZnJhL2I/empty@base64/=?extra_label=x=y"
    case = ReceiverCase(path, b'm{job="b"} 1\n', 1)
    services = services_for(case)
    assert (await push(tinyobs_routes, services, case, case.good)).status == 200, "as clients of Pushgateways want it"
    assert list(services.samples()) == ['m{dc="fra/b", job="a", x="y"}']


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{PATH}/metrics/job/a/b", "odd number of components"),
        (f"{PATH}?timestamp=now", "timestamp must be milliseconds"),
        (f"{PATH}?timestamp=99999999999999999", "timestamp must be milliseconds"),
    ],
)
async def test_requests_that_cannot_be(autojump_clock, path, message):
    """They are told so, counted, and store nothing."""
    case = ReceiverCase(path, b"m 1\n", 1)
    services = services_for(case)
    answer = await push(tinyobs_routes, services, case, case.good)
    assert answer.status == 400
    assert message in answer.body.decode()
    assert not services.batches
    assert services.receptions.statistics().refused_total == {("prometheus", "malformed"): 1}


async def test_the_time_of_a_request(autojump_clock):
    """Samples without a time get it."""
    case = ReceiverCase(f"{PATH}?timestamp=1600000000123", b"m 1\nm 2 5\n", 2)
    services = services_for(case)
    assert (await push(tinyobs_routes, services, case, case.good)).status == 204
    assert services.samples() == {"m": [(1600000000123, 1.0), (5000, 2.0)]}


async def test_the_first_problems_are_named_and_the_others_counted(autojump_clock):
    """An answer stays short."""
    body = b"m 1\n" + b"?\n" * 50
    case = ReceiverCase(PATH, body, 1)
    answer = await push(tinyobs_routes, services_for(case), case, body)
    text = answer.body.decode()
    assert answer.status == 400
    assert "line 2, column 1" in text
    assert "50 lines or samples of this request were left out" in text
    assert text.count("\n") <= 12


async def test_the_example_of_the_page(tmp_path):
    """What is to be copied works as it stands."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    script = re.search(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    settings = AgentSettings(storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",))
    async with running_agent(settings) as running:
        script = script.replace("http://127.0.0.1:9090", running.url)
        done = await trio.run_process(["bash", "-ec", script], capture_stdout=True, stderr=subprocess.STDOUT)
        assert '"batch"' in done.stdout.decode()
        found = await running.query('backup_files{job="batch"}')
        assert list(found.values()) == [17.0]
