"""Random configuration files are read or refused, and nothing else happens."""

from __future__ import annotations

import contextlib
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.config.decoder import Groups
from tinyobs.config.discovery import discovery_group
from tinyobs.config.fields import known_keys
from tinyobs.config.loader import parse
from tinyobs.config.rule_file import RuleConfig, RuleFileContent, RuleGroupConfig, parse_rules
from tinyobs.config.schema import Config
from tinyobs.config.scraping import GlobalConfig, ScrapeConfig
from tinyobs.config.settings import Settings
from tinyobs.config.web_config import TlsServerConfig, WebConfig, parse_web_config
from tinyobs.errors import ConfigError
from tinyobs.relabel import Rule

GROUPS: Groups = {"discovery": discovery_group(), "sections": {}}
SCHEMAS: list[type] = [
    Config, GlobalConfig, ScrapeConfig, Settings, Rule, RuleFileContent, RuleGroupConfig, RuleConfig, WebConfig,
    TlsServerConfig,
]  # fmt: skip
KEYS = sorted({key for schema in SCHEMAS for key in known_keys(schema, GROUPS)} | {"targets", "labels", "files"})

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**20),
    st.sampled_from(["15s", "1h", "10MB", "(.*)", "(", "$1", "keep", "http://h/", "a.yml", "legacy", "", "no", "é"]),
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)
documents = st.dictionaries(st.sampled_from(sorted(known_keys(Config, GROUPS))), values, max_size=4)
scrape_configs = st.lists(
    st.dictionaries(st.sampled_from(sorted(known_keys(ScrapeConfig, GROUPS))), values, max_size=5)
)


def read(text: str | bytes) -> None:
    """Read a text in all three formats; whatever is read can be shown, and reads back to the same text."""
    with contextlib.suppress(ConfigError):
        config = parse(text, "f.yml", environment={})
        shown = config.to_yaml()
        # What is shown has its variables replaced; a dollar that is left would be taken for another.
        if "$" not in shown:
            assert parse(shown, "f.yml", environment={}).to_yaml() == shown
        config.not_yet_effective()
    for parse_other in (parse_web_config, parse_rules):
        with contextlib.suppress(ConfigError):
            parse_other(text, "f.yml")  # type: ignore[operator]


@settings(max_examples=150, deadline=None)
@given(documents)
def test_random_documents(document: dict[str, Any]) -> None:
    """Known keys with any values: a configuration or problems."""
    read(yaml.safe_dump(document, allow_unicode=True))


@settings(max_examples=150, deadline=None)
@given(scrape_configs)
def test_random_scrape_configs(configs: list[dict[str, Any]]) -> None:
    """The same, deeper."""
    named = [{"job_name": f"j{i}", **config} for i, config in enumerate(configs)]
    read(yaml.safe_dump({"scrape_configs": named}, allow_unicode=True))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80))
def test_random_texts(text: str | bytes) -> None:
    """Any bytes."""
    read(text)


EXAMPLE = """
global: {scrape_interval: 15s, external_labels: {a: $B}}
scrape_configs:
  - job_name: x
    static_configs: [{targets: ['a:1'], labels: {b: c}}]
    relabel_configs: [{source_labels: [a], regex: '(.*)', target_label: b}]
tinyobs: {expand_env: true, web: {requests_max: 5}}
"""


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 5), st.text(alphabet="&*!{}[]:-,'\"\n $\0\ud800a1", max_size=3))
def test_mutated_files(at: int, removed: int, inserted: str) -> None:
    """A good file with a small change is read or refused."""
    read(EXAMPLE[:at] + inserted + EXAMPLE[at + removed :])
