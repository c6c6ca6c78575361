"""The page docs/configuration.md describes every setting of TinyObs, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tinyobs.config.fields import FieldPlan, plan
from tinyobs.config.loader import parse
from tinyobs.config.settings import Settings
from tinyobs.errors import ConfigError
from tinyobs.model.durations import DurationMs, format_duration
from tinyobs.model.sizes import SizeBytes, format_size

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
ROW = re.compile(r"^\| `(tinyobs\.[a-z_.]+)` \| `([^`]*)` \|([^|]*)\| [A-Z][^|]+ \|$", re.MULTILINE)


def settings(schema: type, path: str = "tinyobs") -> Iterator[tuple[str, FieldPlan]]:
    """Yield (path, plan) of every setting that is a value, not a section."""
    for p in plan(schema):
        if attrs.has(p.type):
            yield from settings(p.type, f"{path}.{p.key}")
        elif not p.group:
            yield f"{path}.{p.key}", p


def shown(value: Any, p: FieldPlan) -> str:
    """Return a value as it is written in a file."""
    if p.type is DurationMs:
        return format_duration(int(value))
    if p.type is SizeBytes:
        return format_size(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_setting_is_documented_with_its_default() -> None:
    """Keys and defaults of the page are those of the code."""
    documented = {path: default for path, default, _ in ROW.findall(PAGE.read_text())}
    assert documented == {path: shown(p.default(), p) for path, p in settings(Settings)}


def test_the_limits_are_those_of_the_code() -> None:
    """The column of allowed values states both bounds."""
    allowed = {path: text.strip() for path, _, text in ROW.findall(PAGE.read_text())}
    for path, p in settings(Settings):
        if p.low is not None and p.high is not None:
            high = "1000y" if p.high == 1000 * 366 * 86_400_000 else shown(p.high, p)
            assert allowed[path] == f"{shown(p.low, p)} to {high}", path


def test_every_setting_has_a_docstring() -> None:
    """A docstring stands below each field of the settings."""
    folder = Path(__file__).parents[2] / "tinyobs" / "config"
    source = "".join((folder / name).read_text() for name in ("settings.py", "limit_settings.py", "scrape_cluster.py"))
    for path, p in settings(Settings):
        assert re.search(rf'^    {p.attribute}: [^\n]*\n    """', source, re.MULTILINE), path


def refused_keys() -> list[str]:
    """Return the keys that the page lists as refused."""
    listed = PAGE.read_text().partition("Refused by name")[2].partition("##")[0]
    return re.findall(r"`([a-z0-9_]+)`", listed)


@pytest.mark.parametrize("key", refused_keys())
def test_what_the_page_calls_refused_is_refused(key: str) -> None:
    """Each key that the page lists is refused by name."""
    value = "true" if key.endswith(("histograms", "nhcb")) else "1"
    text = f"scrape_configs: [{{job_name: a, {key}: {value}}}]"
    if key == "stale_series_compaction_threshold":
        text = f"storage: {{tsdb: {{{key}: 0.5}}}}"
    with pytest.raises(ConfigError) as e:
        parse(text, "f.yml")
    assert [p.message for p in e.value.problems] == [f"{key} is not supported yet by this version"]
