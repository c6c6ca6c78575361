"""Upstream's own `.test` scripts, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .running import run_script

SHARED = Path(os.environ.get("TINYOBS_SHARED", Path(__file__).parents[2].parent / "shared")) / "promqltest"

EVALS = {
    "aggregators": 160,
    "duration_expression": 59,
    "extended_vectors": 169,
    "functions": 431,
    "histograms": 185,
    "literals": 25,
    "name_label_dropping": 30,
    "native_histograms": 522,
    "operators": 214,
    "range_queries": 18,
    "selectors": 31,
    "staleness": 17,
    "start_timestamps": 26,
    "trig_functions": 19,
    "type_and_unit": 58,
}
"""Evals in each script; all pass."""


@pytest.mark.parametrize("name", EVALS)
def test_upstream_script(name: str) -> None:
    """No eval fails."""
    path = SHARED / f"{name}.test"
    if not path.exists():
        pytest.skip("upstream's scripts are not here (set TINYOBS_SHARED)")
    outcomes = run_script(path.read_text())
    failed = [f"{o.line}: {o.query}: {o.why}" for o in outcomes if o.why]
    assert not failed, "\n".join(failed)
    assert len(outcomes) >= EVALS[name]
