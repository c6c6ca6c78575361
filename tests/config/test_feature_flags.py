"""Names of features: upstream's are taken, noted or refused; flags and the configuration add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyobs.config import loader
from tinyobs.config.feature_flags import BUILT_IN, MISSING, OPENING, notes, refusal
from tinyobs.errors import ConfigError
from tinyobs.runtime.query_engine import engine_options
from tinyobs.runtime.settings import AgentSettings

UPSTREAM = [
    "concurrent-rule-eval",
    "created-timestamp-zero-ingestion",
    "delayed-compaction",
    "exemplar-storage",
    "extra-scrape-metrics",
    "histograms-st-encoding",
    "memory-snapshot-on-shutdown",
    "metadata-wal-records",
    "old-ui",
    "otlp-deltatocumulative",
    "otlp-native-delta-ingestion",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "promql-per-step-stats",
    "search-api",
    "st-storage",
    "st-synthesis",
    "type-and-unit-labels",
    "use-start-timestamps",
    "use-uncached-io",
    "xor2-encoding",
    "promql-duration-expr",
    "native-histograms",
]


@pytest.mark.parametrize("name", UPSTREAM)
def test_every_name_of_prometheus_is_known(name: str) -> None:
    """Each opens something, is there for good, or is refused with what is missing."""
    assert sum(name in table for table in (OPENING, BUILT_IN, MISSING)) == 1
    assert (refusal(name) == "") == (name not in MISSING)
    if name in MISSING:
        assert refusal(name).startswith(f"feature {name} is not supported by this version: {MISSING[name]} is missing")


def test_names_without_effect_are_noted() -> None:
    """What changes nothing is told once, with the reason."""
    assert list(notes(["native-histograms", "use-start-timestamps", "native-histograms"])) == [
        ("native-histograms", BUILT_IN["native-histograms"])
    ]


def test_the_configuration_switches_features_on() -> None:
    """`tinyobs.features` adds to the flags; the file shows its own alone."""
    text = "tinyobs: {features: [type-and-unit-labels]}"
    config = loader.parse(text, features=frozenset({"use-start-timestamps"}))
    assert config.features == {"type-and-unit-labels", "use-start-timestamps"}
    assert config.tinyobs.features == ("type-and-unit-labels",)
    assert "use-start-timestamps" not in config.to_yaml()


def test_a_wrong_name_is_a_fault_of_the_file() -> None:
    """The fault has its place and says what there is."""
    with pytest.raises(ConfigError, match=r"1:21: feature st-synthesis is not supported by this version"):
        loader.parse("tinyobs: {features: [st-synthesis]}")


def test_queries_follow_the_configuration() -> None:
    """What the file switches on changes the options of the engine."""
    config = loader.parse("tinyobs: {features: [type-and-unit-labels, use-start-timestamps]}")
    options = engine_options(AgentSettings(), config)
    assert options.type_and_unit_labels
    assert options.use_start_timestamps
    assert not options.delayed_name_removal


def test_every_name_is_documented() -> None:
    """The page of the command line has all names, and the reason of those that change nothing."""
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    assert [name for name in (*OPENING, *MISSING) if f"`{name}`" not in page] == []
    assert [name for name, reason in BUILT_IN.items() if f"| `{name}` | {reason} |" not in page] == []


def test_rules_may_use_what_is_switched_on(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Expressions are checked with the features of the flags and of the file."""
    seen = []
    (tmp_path / "rules.yml").write_text("groups: [{name: g, rules: [{record: a, expr: info(b)}]}]")
    main = tmp_path / "main.yml"
    main.write_text("rule_files: [rules.yml]\ntinyobs: {features: [promql-experimental-functions]}")
    loader.load(
        main,
        check_expression=lambda text, opened: seen.append((text, opened)),
        features=frozenset({"exemplar-storage"}),
    )
    assert seen == [("info(b)", {"promql-experimental-functions", "exemplar-storage"})]


def test_two_ways_with_deltas_exclude_each_other() -> None:
    """Whether flags or the file name them."""
    text = "tinyobs: {features: [otlp-deltatocumulative]}"
    with pytest.raises(ConfigError, match="cannot enable otlp-deltatocumulative and otlp-native-delta-ingestion"):
        loader.parse(text, features=frozenset({"otlp-native-delta-ingestion"}))
    assert loader.parse(text).features == {"otlp-deltatocumulative"}
