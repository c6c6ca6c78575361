"""What one agent has discovered is scraped by another one, TinyObs and the real Prometheus, as the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from fake_docker import FakeDocker, container
from fake_http_api import Reply, Request, serving
from peers import daemon, free_port, get, pause, prometheus_3, query
from peers import running as running_peer
from test_discovery_pages import blocks

from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import RunningAgent, running_agent, until
from tinyobs.testing.targets import FakeTarget, fake_target


def settings(folder: Path, text: str, agent: bool = False) -> AgentSettings:
    """Return the settings of a server with a configuration, or of one in agent mode."""
    listen, off = ("127.0.0.1:0",), ("host",)
    url = f"{'log' if agent else 'file'}:{folder}"
    return AgentSettings(config_text=text, storage_url=url, listen=listen, plugins_off=off, agent=agent)


async def active(agent: RunningAgent) -> list[Any]:
    """Return the active targets of an agent."""
    found: list[Any] = json.loads((await agent.get("/api/v1/targets"))[1])["data"]["activeTargets"]
    return found


@pytest.mark.parametrize("agent", [False, True], ids=["server", "agent mode"])
async def test_the_example_of_the_page(tmp_path: Path, agent: bool) -> None:
    """One agent finds a container and scrapes nothing, the other one scrapes it."""
    finder, scraper = blocks("serving")
    if agent:
        finder += "remote_write: [{url: 'http://127.0.0.1:9/'}]\n"
    socket = str(tmp_path / "docker.sock")
    async with fake_target(FakeTarget(b"x 1\n")) as target:
        web = container("c1", "web", {"front": ("n1", "127.0.0.1")}, [(target.port, 0, "", "tcp")])
        docker = FakeDocker([web])
        finder = finder.replace("unix:///var/run/docker.sock", f"unix://{socket}")
        async with (
            serving(docker, unix_socket=socket),
            running_agent(settings(tmp_path / "finder", finder, agent)) as first,
        ):
            await until(lambda: bool(docker.requests))
            scraper = scraper.replace("http://finder.example:9090", first.url)
            async with running_agent(settings(tmp_path / "scraper", scraper)) as second:

                async def scraped() -> bool:
                    return bool(await active(second))

                await until(scraped)
                (found,) = await active(second)
                assert await active(first) == []
    labels = found["discoveredLabels"]
    assert found["labels"]["container"] == "web"
    assert labels["__meta_docker_network_label_com_x_team"] == "web"
    assert labels["__meta_url"] == f"{first.url}/api/v1/http_sd?scrapePool=containers"
    assert found["scrapeUrl"] == f"http://127.0.0.1:{target.port}/metrics"


async def test_targets_stay_over_a_reload_while_their_source_is_down(tmp_path: Path) -> None:
    """The reload changes the scrape config, not its discovery: nobody needs to be asked."""
    file, port = tmp_path / "prometheus.yml", free_port()
    source = f"http_sd_configs: [{{url: 'http://127.0.0.1:{port}/', refresh_interval: 1s}}]"
    await trio.Path(file).write_text(f"scrape_configs: [{{job_name: j, {source}}}]")
    async with fake_target(FakeTarget(b"x 1\n")) as target, running_agent(reloadable(file)) as served:

        async def scraped() -> bool:
            return bool(await active(served))

        async with serving(FakeList(target.address), port=port):
            await until(scraped)
        await trio.Path(file).write_text(f"scrape_configs: [{{job_name: j, sample_limit: 9, {source}}}]")
        assert (await served.get("/-/reload", "POST"))[0] == 200
        _, body = await served.get("/api/v1/scrape_pools/config?scrapePool=j")
        assert b"sample_limit: 9" in body
        await until(scraped)
        assert [t["scrapeUrl"] for t in await active(served)] == [f"http://{target.address}/metrics"]


def reloadable(file: Path) -> AgentSettings:
    """Return settings of a server that reads a file, and again when it is told."""
    url = f"file:{file.parent / 'data'}"
    return AgentSettings(
        config_file=file, lifecycle=True, storage_url=url, listen=("127.0.0.1:0",), plugins_off=("host",)
    )  # fmt: skip


class FakeList:
    """A server that lists one target."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def __call__(self, request: Request) -> Reply:
        """Answer with the list."""
        return Reply([{"targets": [self.address]}])


OURS = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: found
    metrics_path: /api/v1/metrics-are-elsewhere
    static_configs: [{{targets: ["127.0.0.1:{port}"], labels: {{env: test, __meta_site: berlin}}}}]
    relabel_configs:
      - {{target_label: __metrics_path__, replacement: /metrics}}
      - {{source_labels: [__meta_site], target_label: site}}
"""
THEIRS = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: discovered
    http_sd_configs: [{{url: "{base}/api/v1/http_sd?scrapePool=found", refresh_interval: 1s}}]
    metrics_path: /metrics
    relabel_configs: [{{source_labels: [__meta_site], target_label: found_at}}]
  - job_name: active
    http_sd_configs: [{{url: "{base}/api/v1/http_sd?state=active", refresh_interval: 1s}}]
"""


@pytest.mark.peer
@pytest.mark.slow
def test_prometheus_scrapes_what_we_discovered(tmp_path: Path) -> None:
    """Debian's Prometheus takes both lists: what was found, and what we scrape, which it then scrapes in the same way."""
    program, port = prometheus_3(), free_port()
    peer = f"http://127.0.0.1:{port}"
    (tmp_path / "prometheus.yml").write_text(OURS.format(port=port))
    with daemon(tmp_path, f"--config.file={tmp_path / 'prometheus.yml'}") as (base, _):
        (tmp_path / "peer.yml").write_text(THEIRS.format(base=base))
        command = [
            program, "--config.file=peer.yml", f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={tmp_path / 'peer-data'}",
        ]  # fmt: skip
        with running_peer(command, f"{peer}/-/ready", tmp_path):
            for _ in range(300):
                found = {
                    (dict(labels)["job"], dict(labels).get("found_at"), dict(labels).get("site")): value
                    for labels, value in query(peer, 'up{env="test"}').items()
                }
                if set(found.values()) == {1.0} and len(found) == 2:
                    break
                pause(0.1)
            assert found == {("discovered", "berlin", None): 1.0, ("found", None, "berlin"): 1.0}
            targets = json.loads(get(f"{peer}/api/v1/targets"))["data"]["activeTargets"]
    assert {t["scrapeUrl"] for t in targets} == {f"{peer}/metrics"}
