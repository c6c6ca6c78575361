"""Upstream's own `.test` scripts, where they are at hand: the number of passing evals may only rise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .running import run_script

SHARED = Path(os.environ.get("TINYOBS_SHARED", Path(__file__).parents[2].parent / "shared")) / "promqltest"

PASSED = {
    "aggregators": 126,
    "duration_expression": 59,
    "extended_vectors": 123,
    "functions": 380,
    "histograms": 92,
    "literals": 25,
    "name_label_dropping": 30,
    "native_histograms": 3,
    "operators": 145,
    "range_queries": 17,
    "selectors": 31,
    "staleness": 17,
    "start_timestamps": 17,
    "trig_functions": 19,
    "type_and_unit": 58,
}
"""Evals that pass, by script.  The others need native histograms or start timestamps."""


@pytest.mark.parametrize("name", PASSED)
def test_upstream_script(name: str) -> None:
    """No eval on float samples fails, and no fewer pass than before."""
    path = SHARED / f"{name}.test"
    if not path.exists():
        pytest.skip("upstream's scripts are not here (set TINYOBS_SHARED)")
    outcomes = run_script(path.read_text())
    failed = [f"{o.line}: {o.query}: {o.why}" for o in outcomes if o.why and not o.unsupported]
    assert not failed, "\n".join(failed)
    assert sum(not o.why for o in outcomes) >= PASSED[name]
