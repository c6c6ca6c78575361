"""Our own `.test` scripts: every function, aggregator and operator, on small data worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinyobs.promql.aggregate import FOLDS
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.functions.registry import implementation
from tinyobs.promql.operators import ARITHMETIC, COMPARISONS, SETS, TRIMS
from tinyobs.promql.signatures import AGGREGATORS, FUNCTIONS

from .running import FEATURES, EngineOptions, run_script

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.test"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    """Every eval of the script gives what the script says."""
    failed = [f"{o.line}: {o.query}: {o.why}" for o in run_script(path.read_text()) if o.why]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_with_early_name_removal(path: Path) -> None:
    """Dropping names at once gives the same results; only names in annotations differ."""
    engine = PromqlEngine(EngineOptions(features=FEATURES, use_start_timestamps=True))
    failed = [
        f"{o.line}: {o.query}: {o.why}"
        for o in run_script(path.read_text(), engine)
        if o.why and "missing: 'PromQL" not in o.why
    ]
    assert not failed, "\n".join(failed)


def test_everything_is_covered() -> None:
    """Each function, aggregator and operator of the language occurs in a query of a script."""
    queries = "\n".join(line for p in SCRIPTS for line in p.read_text().split("\n") if line.startswith("eval"))
    words = set(re.findall(r"[a-z_0-9]+", queries))
    assert not (set(FUNCTIONS) | set(AGGREGATORS) | set(SETS)) - words
    assert not [op for op in (*ARITHMETIC, *COMPARISONS, *TRIMS) if f" {op} " not in queries]


def test_everything_is_implemented() -> None:
    """Each declared function has an implementation, each aggregator a fold or a special."""
    assert [name for name in FUNCTIONS if implementation(name) is None] == []
    special = {"topk", "bottomk", "limitk", "limit_ratio", "quantile", "count_values"}
    assert set(FOLDS) | special == set(AGGREGATORS)
