"""docs/limits.md says what is so: its examples are run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinyobs.config import loader
from tinyobs.model.labels import from_mapping, to_text

PAGE = (Path(__file__).parents[3] / "docs" / "limits.md").read_text()
LINE = re.compile(r'^ *(\d+) +http_requests_total\{path="([^"]+)"\} +(\d+)(?: +(\d+) .*)?$', re.MULTILINE)
FOLDED = to_text(from_mapping({"__name__": "http_requests_total", "path": "__other__"}))


def test_the_example_of_folding_is_true(scene):
    """Each sample of the table makes the sum that stands beside it."""
    table = PAGE.partition("<!-- folding-example -->")[2].partition("```\n")[0]
    s = scene(rules=[{"match": "http_requests_total", "labels": ["path"], "values_max": 2}])
    lines = LINE.findall(table)
    assert len(lines) == 8
    for seconds, path, value, total in lines:
        out = s.process({"__name__": "http_requests_total", "path": path}, value=float(value), at=int(seconds) * 1000)
        if total:
            assert s.stored(out) == {FOLDED: float(total)}
        else:
            assert out.absorbed == 0


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_configurations_are_read(text):
    """They are as they may stand in a file."""
    limits = loader.parse(text, "limits.yml").tinyobs.limits
    assert limits.rules or limits.rates.overrides
