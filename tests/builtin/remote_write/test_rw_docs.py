"""The page docs/remote-write.md: its examples run, its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import trio
from peers import free_port

from tinyobs.builtin.remote_write import tinyobs_config_sections
from tinyobs.builtin.remote_write.series import Placing
from tinyobs.builtin.remote_write.settings import Distribution, RemoteWriteSettings
from tinyobs.config.loader import parse
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.targets import FakeTarget, fake_target

PAGE = (Path(__file__).parents[3] / "docs" / "remote-write.md").read_text()
FIRST, SHARED = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def test_the_first_example_works(tmp_path):
    """An agent scrapes, drops what the rule says, and a second TinyObs has the rest, with the external label."""
    port = free_port()
    near, far = f"file:{tmp_path / 'near'}", f"file:{tmp_path / 'far'}"
    body = b"jobs_waiting 3\ngo_threads 7\n"
    async with fake_target(FakeTarget(body)) as target:
        text = FIRST.replace("127.0.0.1:9100", target.address).replace("9091", str(port)).replace("15s", "1s")
        text = text.replace("send_exemplars", "queue_config: {batch_send_deadline: 100ms}\n    send_exemplars")
        receiver = AgentSettings(listen=(f"127.0.0.1:{port}",), storage_url=far, remote_write_receiver=True)
        async with running_agent(receiver) as there:
            sender = AgentSettings(config_text=text, storage_url=near, listen=())
            async with running_agent(sender):

                async def has_come():
                    return bool(await there.query('jobs_waiting{site="cellar"}'))

                with trio.fail_after(90):
                    await until(has_come)
                assert len(await there.query('up{site="cellar",job="app"}')) == 1
                assert await there.query("go_threads{site='cellar'}") == {}


def test_the_second_example_is_read():
    """Three destinations that share the series, each of which goes to two."""
    config = parse(SHARED, "f.yml", tinyobs_config_sections())
    settings = config.tinyobs.section("remote_write")
    assert (settings.distribution, settings.replicas) == (Distribution.SHARD, 2)
    names = tuple(c.name for c in config.remote_write)
    owners = [n for n in names if Placing(names, n, settings).is_own((("__name__", "up"), ("instance", "x")))]
    assert len(owners) == 2
    assert settings.start_of("south").age_ms is None
    assert settings.start_of("east").age_ms == 7_200_000


def test_all_keys_are_described():
    """With their defaults."""
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", PAGE.partition("Key below")[2], re.MULTILINE))
    expected = {a.name: str(a.default) for a in attrs.fields(RemoteWriteSettings)}
    assert {k: rows[k] for k in expected} == expected
