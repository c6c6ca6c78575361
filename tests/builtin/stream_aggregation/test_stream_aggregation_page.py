"""docs/receivers/stream-aggregation.md: its examples work, its tables are those of the code."""

from __future__ import annotations

import re

import trio
from receiver_pages import FOLDER, agent_of, blocks

from tinyobs.abc import ConfigSection
from tinyobs.aggregation.natives import takes_histograms
from tinyobs.aggregation.rule import PLAIN_OUTPUTS
from tinyobs.builtin.remote_write import tinyobs_config_sections as remote_write_sections
from tinyobs.builtin.remote_write.sink import plans_of
from tinyobs.config.fields import plan
from tinyobs.config.loader import load, parse
from tinyobs.config.stream_aggregation import SECTION, PlaceSettings, RuleSettings, StreamAggregationSettings
from tinyobs.model.sizes import SizeBytes, format_size
from tinyobs.testing.agents import until

PAGE = (FOLDER / "stream-aggregation.md").read_text()
INLINE, IN_A_FILE, BEFORE_ONE = blocks("stream-aggregation", "yaml")
SECTIONS = [ConfigSection(SECTION, StreamAggregationSettings), *remote_write_sections()]


def part(title):
    """The text below a heading."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


async def test_the_first_example_works():
    """With an interval that a test can wait for: what is stored are the aggregates, not the samples."""
    text = INLINE.replace("1m", "1s").replace("[total]", "[total, sum_samples]")
    async with agent_of(text, "127.0.0.1:0") as running:
        for _ in range(3):
            for pod in ("1", "2"):
                result = await running.store("http_requests_total", 5.0, job="a", pod=pod)
                assert result.stored == 1
            await running.store("request_duration_seconds", 0.25, job="a")
            await trio.sleep(0.5)

        async def has_come():
            found = await running.query('{__name__=~".+_total|.+_quantiles"}')
            return 'http_requests_total:1s_without_pod_total{job="a"}' in found and (
                found.get('request_duration_seconds:1s_by_job_quantiles{job="a", quantile="0.99"}') == 0.25
            )

        await until(has_come)
        assert await running.query("http_requests_total") == {}
        found = await running.query("sum_over_time(http_requests_total:1s_without_pod_sum_samples[1m])")
        assert 0 < found['{job="a"}'] <= 30
        _, metrics = await running.get("/metrics")
        for name in set(re.findall(r"`(tinyobs_stream_aggregation_\w+)`", part("Metrics"))):
            assert name in metrics.decode(), name


def test_the_other_examples_are_read(tmp_path):
    """Rules in a file, and before one destination."""
    (tmp_path / "aggregation.yml").write_text("- {interval: 1m, outputs: [max]}\n")
    (tmp_path / "c.yml").write_text(IN_A_FILE)
    assert len(load(tmp_path / "c.yml", SECTIONS).tinyobs.section(SECTION).plan().rules) == 1
    (destination,) = plans_of(parse(BEFORE_ONE, "f.yml", SECTIONS))
    assert [rule.outputs for rule in destination.aggregation.rules] == [("total",)]


def test_all_outputs_and_options_are_described():
    """None is missing, and none is there too many."""
    named = re.findall(
        r"`([a-z_]+)(?:\(phi1, \.\.\.\))?`", "".join(re.findall(r"^\| (`.*?) \|", part("Outputs"), re.M))
    )
    assert sorted(named) == sorted([*PLAIN_OUTPUTS, "quantiles"])
    of_histograms = re.findall(r"^\| (`.*?) \| (.*) \|", part("Native histograms"), re.M)
    taken = {name: "nothing" not in text for names, text in of_histograms for name in re.findall(r"`([a-z_]+)", names)}
    assert taken == {**{name: takes_histograms(name) for name in PLAIN_OUTPUTS}, "quantiles": True}
    rows = re.findall(r"^\| (`.*?) \|", part("Options of a rule"), re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(p.key for p in plan(RuleSettings))


def test_all_settings_are_described():
    """Those of the section, and those that rules have as well."""
    text = part("Settings")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.M))
    common = set(re.findall(r"`(\w+)`", text.partition("`buckets`")[2].partition("`dedup_interval`")[2]))
    keys = {p.key for p in plan(PlaceSettings)}
    assert set(rows) | common | {"dedup_interval"} == keys
    for p in plan(PlaceSettings):
        if p.key in rows and p.key != "buckets":
            default = p.default()
            size = format_size(default) if p.type is SizeBytes else str(default)
            shown = {(): "[]", "": '""', False: "false"}.get(default, size)
            assert rows[p.key] == f"`{shown}`", p.key
