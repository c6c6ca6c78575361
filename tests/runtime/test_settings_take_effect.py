"""The settings of `tinyobs.query` and `tinyobs.web` do what they say, at the start and after a reload."""

from __future__ import annotations

import json

import pytest
import structlog.testing
import trio

from tinyobs.config.effect import waits_for_restart
from tinyobs.config.loader import parse
from tinyobs.promql.limits import QueryLimitExceeded
from tinyobs.runtime.agent import Agent
from tinyobs.runtime.gather import storage_aliases
from tinyobs.runtime.query_engine import engine_options
from tinyobs.runtime.settings import AgentSettings
from tinyobs.storage.engine_statistics import EngineStatistics
from tinyobs.testing.agents import running_agent


@pytest.fixture
def settings(tmp_path):
    """Return a function that makes the settings of an agent without collection, from the text of its configuration."""

    def make(text):
        file = tmp_path / "tinyobs.yml"
        file.write_text(text)
        return AgentSettings(
            config_file=file, storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",), plugins_off=("host",)
        )

    return make


async def error_of(running, expression):
    """Return the error of an instant query, "" when it succeeds."""
    _, body = await running.get(f"/api/v1/query?query={expression}")
    return json.loads(body).get("error", "")


@pytest.mark.parametrize(
    ("limit", "expression", "message"),
    [
        ("memory_max", "x", "query would hold about 400 bytes in memory, more than the limit of 1 (query_memory_max)"),
        ("answer_max", "x", "the answer would be larger than the limit of 1 bytes (query_answer_max)"),
        ("series_max", "x", "query touches 2 series, more than the limit of 1 (query_series_max)"),
        ("points_max", "x", "query returns 2 points, more than the limit of 1 (query_points_max)"),
    ],
)
async def test_limits_of_queries_hold_and_follow_a_reload(settings, limit, expression, message):
    """A query beyond the limit fails with its name; a reload lifts it without a restart."""
    unit = "B" if limit in ("memory_max", "answer_max") else ""
    given = settings(f"tinyobs: {{query: {{{limit}: 1{unit}}}}}")
    async with running_agent(given) as running:
        await running.store("x", 1.0, a="1")
        await running.store("x", 2.0, a="2")
        assert message in await error_of(running, expression)
        given.config_file.write_text("")
        await running.agent.reload()
        assert await error_of(running, expression) == ""
        given.config_file.write_text(f"tinyobs: {{query: {{{limit}: 1{unit}}}}}")
        await running.agent.reload()
        if limit == "answer_max":  # a limit of the HTTP layer
            assert message in await error_of(running, expression)
            return
        with pytest.raises(QueryLimitExceeded):
            running.agent.query_engine.instant(running.agent, expression, running.agent.clock.now_ms())


async def test_bounds_of_the_queue_hold_and_follow_a_reload(settings):
    """Queue, threads and time to send are the configured ones, now and after a reload; figures show under `/metrics`."""
    given = settings(
        "tinyobs: {query: {queue_max: 3, queue_timeout: 2s, threads: 5, answer_timeout: 7s, answer_max: 1MiB}}"
    )
    async with running_agent(given) as running:
        desk = running.agent.query_desk

        def options():
            found = desk.options
            return (
                found.queries_queued_max,
                found.query_queue_seconds,
                found.query_threads,
                found.answer_seconds,
                found.answer_bytes_max,
            )

        assert options() == (3, 2.0, 5, 7.0, 1 << 20)
        given.config_file.write_text("")
        await running.agent.reload()
        assert options() == (200, 0.0, 0, 300.0, 0)
        await running.get("/api/v1/query?query=1")
        body = (await running.get("/metrics"))[1].decode()
        for line in (
            "prometheus_engine_queries 0",
            "prometheus_engine_queries_concurrent_max 20",
            "tinyobs_query_queue_length 0",
            "tinyobs_query_refused_total 0",
        ):
            assert f"\n{line}\n" in body
        for stage in ("queue_time", "prepare_time", "inner_eval", "result_sort"):
            assert f'prometheus_engine_query_duration_seconds_count{{slice="{stage}"}}' in body


async def test_the_engine_counts_queries_and_samples(settings):
    """Queries, failures and samples read show under the names of Prometheus."""
    async with running_agent(settings("")) as running:
        await running.store("x", 1.0)
        await running.query("x")
        assert "parse error" in await error_of(running, "x%2B")
        _, body = await running.get("/metrics")
    lines = body.decode().splitlines()
    assert "prometheus_engine_queries_concurrent_max 20" in lines
    assert "prometheus_engine_query_samples_total 1" in lines
    assert "tinyobs_query_failures_total 1" in lines
    assert 'prometheus_engine_query_duration_seconds_count{slice="inner_eval"} 2' in lines


async def test_bounds_of_the_server_hold_and_follow_a_reload(settings):
    """The size from which answers are compressed, and the size of a body, are those that are configured."""
    given = settings(
        "tinyobs: {web: {body_size_max: 1KiB, compress_size_min: 1TiB, requests_max: 7, body_timeout: 5s}}"
    )
    async with running_agent(given) as running:
        options = running.agent.listeners.application.options
        assert (options.body_bytes_max, options.compress_bytes_min) == (1024, 1 << 40)
        assert (options.requests_max, options.body_seconds) == (7, 5.0)
        given.config_file.write_text("tinyobs: {web: {body_size_max: 2KiB}}")
        await running.agent.reload()
        options = running.agent.listeners.application.options
        assert (options.body_bytes_max, options.requests_max) == (2048, 256)


async def test_the_shown_configuration_is_made_once(settings, monkeypatch):
    """The text is made for each configuration, not for each request."""
    given = settings("global: {scrape_interval: 7s}")
    agent = Agent(given)
    made = []
    cls = type(agent.config)
    original = cls.to_yaml
    monkeypatch.setattr(cls, "to_yaml", lambda self: made.append(1) or original(self))
    assert "scrape_interval: 7s" in agent.api.config_yaml()
    agent.api.config_yaml()
    given.config_file.write_text("global: {scrape_interval: 8s}")
    await agent.reload()
    assert "scrape_interval: 8s" in agent.api.config_yaml()
    assert len(made) == 2
    await trio.lowlevel.checkpoint()


def test_sections_that_wait_for_a_restart_are_named():
    """A reload that changes storage or queue names the sections; other changes need no restart."""
    before = parse("", "f")
    assert waits_for_restart(before, parse("tinyobs: {query: {series_max: 1}}", "f")) == []
    text = "storage: {tsdb: {retention: {time: 1d}}}\ntinyobs: {storage: {sync: never}, ingest: {samples_queued_max: 5000}}"
    assert waits_for_restart(before, parse(text, "f")) == ["storage", "tinyobs.storage", "tinyobs.ingest"]


def test_flags_stand_beside_the_section_of_queries():
    """What is a flag comes from the flags, what is a setting from the file."""
    config = parse("global: {evaluation_interval: 7s}\ntinyobs: {query: {series_max: 5}}", "f")
    options = engine_options(AgentSettings(query_samples_max=9, lookback_ms=1000), config)
    assert (options.series_max, options.samples_max, options.lookback_ms) == (5, 9, 1000)
    assert options.subquery_step_ms == 7000


def test_figures_of_the_engine_have_the_shape_that_dashboards_know():
    """Refused samples, compactions and fsyncs show under the names of Prometheus; another storage shows none of them."""
    values = {a.name: 0 for a in EngineStatistics.__attrs_attrs__}
    values |= {"samples_refused_total": {"too_old": 3}, "cuts_total": 2, "compactions_total": 5, "wal_fsyncs_total": 4}
    values |= {"head_samples_appended_total": 9, "head_native_samples_appended_total": 4}
    values |= {"exemplars_refused_total": {"out_of_order": 6}, "exemplar_newest_time_ms": 5000}
    values |= {"job_seconds_total": {}, "jobs_total": {}}
    found = {f.name: f for f in storage_aliases(EngineStatistics(**values))}
    assert found["prometheus_tsdb_too_old_samples_total"].points[0].value == 3
    appended = found["prometheus_tsdb_head_samples_appended_total"].points
    assert [(p.labels, p.value) for p in appended] == [((("type", "float"),), 5), ((("type", "histogram"),), 4)]
    assert found["prometheus_tsdb_exemplar_out_of_order_exemplars_total"].points[0].value == 6
    assert found["prometheus_tsdb_exemplar_last_exemplars_timestamp_seconds"].points[0].value == 5
    assert found["prometheus_tsdb_compactions_total"].points[0].value == 7
    assert [p.value for p in found["prometheus_tsdb_wal_fsync_duration_seconds"].points] == [0, 4]
    assert list(storage_aliases(parse("", "f").tinyobs.query)) == []


async def test_what_deserves_a_look_is_logged_at_a_reload(settings):
    """Warnings of the file, what has no effect, and what waits for a restart are named; the rest takes effect."""
    given = settings("")
    async with running_agent(given) as running:
        given.config_file.write_text(
            "global: {external_labels: {a: $NOT_SET_ANYWHERE}}\nremote_read: [{url: 'http://h/'}]\n"
            "tinyobs: {ingest: {samples_queued_max: 5000}}\n"
        )
        with structlog.testing.capture_logs() as logs:
            await running.agent.reload()
    told = [line.get("problem", "") + line.get("section", "") for line in logs if line["log_level"] == "warning"]
    for part in ("NOT_SET_ANYWHERE", "remote_read is parsed", "tinyobs.ingest"):
        assert any(part in text for text in told), (part, told)


async def test_statistics_by_step_need_their_feature(settings):
    """`stats=all` tells the samples of each step where the feature is on; the total is then their sum."""
    config = "global: {scrape_interval: 1h}\ntinyobs: {features: [promql-per-step-stats]}\n"
    async with running_agent(settings(config)) as running:
        await running.store("x", 1.0)
        at = running.agent.clock.now_ms() // 1000 + 1
        path = f"/api/v1/query_range?query=x&start={at - 600}&end={at}&step=600&stats="
        samples = json.loads((await running.get(path + "all"))[1])["data"]["stats"]["samples"]
        assert samples["totalQueryableSamplesPerStep"] == [[at - 600, 0], [at, 1]]
        assert samples["totalQueryableSamples"] == 1
        assert "totalQueryableSamplesPerStep" not in (await running.get(path + "1"))[1].decode()
