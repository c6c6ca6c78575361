"""`__type__` and `__unit__` of scraped series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyobs.builtin.scrape.series import SeriesRules, TargetSeries
from tinyobs.builtin.scrape.type_labels import TypeLabels
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.relabel import Action, Rule
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent, until
from tinyobs.testing.targets import FakeTarget, fake_target


def series(name: str, **labels: str) -> Labels:
    """Return a label set."""
    return from_mapping({"__name__": name, **labels})


def one(name: str, metadata: dict[str, MetricMetadata]) -> dict[str, str]:
    """Return the labels of a series besides its name."""
    found = dict(TypeLabels().typed({0: series(name)}, metadata)[0])
    del found["__name__"]
    return found


@pytest.mark.parametrize(
    ("name", "family", "kind", "labelled"),
    [
        ("a_seconds", "a_seconds", MetricType.GAUGE, True),
        ("a_total", "a", MetricType.COUNTER, True),
        ("a_total", "a_total", MetricType.COUNTER, True),
        ("a_bucket", "a", MetricType.HISTOGRAM, True),
        ("a_count", "a", MetricType.SUMMARY, True),
        ("a_gsum", "a", MetricType.GAUGE_HISTOGRAM, True),
        ("a_info", "a", MetricType.INFO, True),
        ("a_total", "a", MetricType.GAUGE, False),
        ("b", "a", MetricType.GAUGE, False),
    ],
)
def test_a_series_belongs_to_the_family_of_its_name(name: str, family: str, kind: MetricType, labelled: bool) -> None:
    """Suffixes count where the family's type has them."""
    assert one(name, {family: MetricMetadata(kind)}) == ({"__type__": kind.value} if labelled else {})


def test_unknown_types_and_empty_units_add_nothing() -> None:
    """Only what is known becomes a label."""
    assert one("a", {"a": MetricMetadata(MetricType.UNKNOWN, "help", "bytes")}) == {"__unit__": "bytes"}
    assert one("a", {"a": MetricMetadata()}) == {}


def test_exposed_labels_of_these_names_are_left_out() -> None:
    """A target cannot claim a type by a label."""
    types = TypeLabels()
    assert types.typed({0: series("a", __type__="counter", x="1")}, {}) == {0: series("a", x="1")}


def test_a_changed_type_gives_another_series() -> None:
    """Known series of the family get other labels, all others stay."""
    types = TypeLabels()
    types.typed({0: series("a"), 1: series("b")}, {"a": MetricMetadata(MetricType.GAUGE)})
    changed = types.typed({}, {"a": MetricMetadata(MetricType.COUNTER), "b": MetricMetadata()})
    assert changed == {0: series("a", __type__="counter")}
    assert types.typed({}, {"a": MetricMetadata(MetricType.COUNTER, "only other words")}) == {}


def test_relabelling_sees_the_labels_and_old_series_end() -> None:
    """Rules match on the type, and after a change of type the old ref is gone."""
    rule = Rule(source_labels=("__type__",), regex="summary", action=Action.DROP)
    registry = SeriesRegistry()
    target = TargetSeries(registry, from_mapping({"job": "j"}), SeriesRules(metric_rules=(rule,), type_and_unit=True))
    both = np.array([0, 1], np.int32)
    known = {"a": MetricMetadata(MetricType.GAUGE), "s": MetricMetadata(MetricType.SUMMARY)}
    first = target.refs(both, {0: series("a"), 1: series("s_sum")}, known)
    assert first.tolist() == [0, -1]
    assert registry.labels(0) == series("a", job="j", __type__="gauge")
    second = target.refs(both, {}, {"a": MetricMetadata(MetricType.COUNTER), "s": known["s"]})
    assert registry.labels(int(second[0])) == series("a", job="j", __type__="counter")
    plain = TargetSeries(registry, from_mapping({"job": "j"}), SeriesRules())
    assert registry.labels(int(plain.refs(both[:1], {0: series("a")}, known)[0])) == series("a", job="j")


async def test_scraping_follows_the_feature(tmp_path: Path) -> None:
    """Series have the labels while the feature is on; a reload that switches it off ends them."""
    async with fake_target(FakeTarget(b"# TYPE a counter\n# UNIT a_seconds seconds\na 1\n")) as target:
        file = tmp_path / "main.yml"
        jobs = f"""
scrape_configs:
  - job_name: j
    scrape_interval: 200ms
    scrape_timeout: 200ms
    static_configs: [{{targets: ['{target.address}']}}]
"""
        file.write_text(jobs + "tinyobs: {features: [type-and-unit-labels]}\n")
        settings = AgentSettings(
            config_file=file, storage_url=f"file:{tmp_path / 'data'}", listen=("127.0.0.1:0",), plugins_off=("host",)
        )
        async with running_agent(settings) as running:

            async def typed() -> bool:
                return bool(await running.query('a{__type__="counter",job="j"}'))

            await until(typed)
            file.write_text(jobs)
            await running.agent.reload()

            async def plain() -> bool:
                found = await running.query('count(a{__type__=""}) unless count(a{__type__!=""})')
                return list(found.values()) == [1.0]

            await until(plain)
