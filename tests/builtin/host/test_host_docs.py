"""docs/host-metrics.md knows every setting and every collector."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from tinyobs.builtin.host import HostSettings
from tinyobs.builtin.host.collectors import NAMES

PAGE = (Path(__file__).parents[3] / "docs" / "host-metrics.md").read_text()
ROWS = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))


def test_every_setting_is_documented():
    """The first table has the fields of the section, and no other."""
    table = PAGE.split("## Collectors")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == {a.name for a in attrs.fields(HostSettings)}


def test_every_collector_is_documented():
    """The second table has all collectors."""
    assert ROWS >= NAMES
