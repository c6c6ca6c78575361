"""The page docs/receivers/remote-write.md: its example runs, its names are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from rwr_agent import far

from tinyobs.builtin.remote_write_receiver.negotiation import Message
from tinyobs.builtin.remote_write_receiver.routes import PATHS
from tinyobs.runtime.settings import REMOTE_WRITE_MESSAGES, AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.targets import FakeTarget, fake_target

PAGE = (Path(__file__).parents[3] / "docs" / "receivers" / "remote-write.md").read_text()
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCRAPE = """\
global: {{scrape_interval: 1s}}
scrape_configs: [{{job_name: app, static_configs: [{{targets: ['{target}']}}]}}]
"""
BODY = b"# HELP jobs_waiting Jobs that wait.\n# TYPE jobs_waiting gauge\njobs_waiting 3\n"


async def test_the_example_works_with_tinyobs_as_sender(tmp_path):
    """It sends 2.0, with metadata, and never falls back."""
    async with far(tmp_path / "far") as receiver, fake_target(FakeTarget(BODY)) as target:
        config = SCRAPE.format(target=target.address) + EXAMPLE.replace(
            "http://127.0.0.1:9090", str(receiver.client.base_url)
        )
        config += "  queue_config: {batch_send_deadline: 100ms}\n"
        sender = AgentSettings(config_text=config, storage_url=f"file:{tmp_path / 'near'}", listen=())
        async with running_agent(sender):

            async def has_come():
                return "jobs_waiting" in await receiver.get("metadata") and bool(await receiver.values("jobs_waiting"))

            await until(has_come)
        assert list(await receiver.values("jobs_waiting")) == ["instance=" + target.address + ",job=app"]
        assert await receiver.counted('prometheus_http_requests_total{code="415"') == 0


def test_the_page_names_what_there_is():
    """Paths and messages."""
    assert tuple(Message) == REMOTE_WRITE_MESSAGES
    for name in (*PATHS, *Message):
        assert name in PAGE
