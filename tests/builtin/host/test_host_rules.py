"""The alert rules in contrib ask for metrics that the collectors have."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]


def test_rules_use_our_metrics():
    """Each metric in an expression stands in the code of a collector, or is built from a name that does."""
    groups = yaml.safe_load((ROOT / "contrib/rules/host.yml").read_text())["groups"]
    expressions = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    code = "".join(p.read_text() for p in (ROOT / "tinyobs/builtin/host").glob("*.py"))
    names = set(re.findall(r"node_\w+", expressions))
    assert names
    for name in names - {n for n in names if n.startswith("node_memory_")}:
        assert f'"{name}"' in code, name
