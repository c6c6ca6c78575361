"""Health, reload, quit, metrics, the status page."""

from __future__ import annotations

from typing import Any

import pytest
from web_fakes import targets

from tinyobs.errors import ConfigError, Problem
from tinyobs.web.options import WebOptions


async def test_health_and_readiness(make_client: Any) -> None:
    """One line of text each; HEAD works."""
    client = make_client()
    assert (await client.get("/-/healthy")).text == "TinyObs is Healthy.\n"
    assert (await client.get("/-/ready")).text == "TinyObs is Ready.\n"
    assert (await client.head("/-/ready")).status_code == 200


@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
async def test_lifecycle_needs_its_flag_and_its_methods(make_client: Any, path: str) -> None:
    """GET is 405 in any case; without the flag POST is 403."""
    client = make_client()
    got = await client.get(path)
    assert (got.status_code, got.text) == (405, "Only POST or PUT requests allowed\n")
    posted = await client.post(path)
    assert (posted.status_code, posted.text) == (403, "Lifecycle API is not enabled.\n")


async def test_reload_and_quit_with_the_flag(make_client: Any) -> None:
    """Both call the agent; a configuration with faults is 500 with them."""
    quits: list[bool] = []

    async def fail() -> None:
        raise ConfigError([Problem("x.yml", 3, 1, "unknown key")])

    client = make_client(WebOptions(lifecycle=True), quit=lambda: quits.append(True))
    assert (await client.put("/-/reload")).status_code == 200
    assert (await client.post("/-/quit")).text == "Requesting termination... Goodbye!\n"
    assert quits == [True]
    failed = await make_client(WebOptions(lifecycle=True), reload=fail).post("/-/reload")
    assert (failed.status_code, failed.text) == (500, "failed to reload config: x.yml:3:1: unknown key\n")


async def test_metrics_are_written_in_the_format_asked_for(make_client: Any) -> None:
    """The accepted formats reach the writer, and its content type the client."""
    asked: list[str] = []

    def expose(families: Any, accept: str) -> tuple[bytes, str]:
        asked.append(accept)
        return b"x 1\n", "application/openmetrics-text; version=1.0.0"

    answer = await make_client(expose=expose).get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert (answer.content, answer.headers["content-type"]) == (b"x 1\n", "application/openmetrics-text; version=1.0.0")
    assert asked == ["application/openmetrics-text"]


async def test_the_page_shows_targets_and_nothing_from_elsewhere(make_client: Any) -> None:
    """Texts are escaped, links are relative, no asset is loaded from another place."""
    page = (await make_client().get("/")).text
    assert "http://x:1/metrics" in page
    assert '<td class="up">up</td>' in page
    assert 'href="api/v1/targets"' in page
    for outside in ("src=", "@import", "url(", "cdn"):
        assert outside not in page
    assert "100%;" in page


async def test_the_page_escapes_what_it_shows(make_client: Any) -> None:
    """An error text with markup stays text."""
    import attrs

    view = targets()
    evil = attrs.evolve(view.active[0], last_error="<script>alert(1)</script>")
    page = (await make_client(targets=lambda: attrs.evolve(view, active=(evil,))).get("/")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
