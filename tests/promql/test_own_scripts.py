"""Our own `.test` scripts: every function, aggregator and operator, on small data worked out by hand."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from tinyobs.promql.aggregate import FOLDS
from tinyobs.promql.annotations import MONOTONICITY, Annotations
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


MODIFIERS = (
    *("bool", "on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right"),
    *("by", "without", "offset", "anchored", "smoothed", "start", "end"),
)


def test_every_modifier_is_covered() -> None:
    """Each word that changes an operation or a selector occurs, and so do `@`, computed durations and subqueries."""
    queries = "\n".join(line for p in SCRIPTS for line in p.read_text().split("\n") if line.startswith("eval"))
    assert [word for word in MODIFIERS if not re.search(rf"\b{word}\b", queries)] == []
    for form in (
        r"@ \d",
        r"@ start\(\)",
        r"@ end\(\)",
        r"offset -",
        r"\[\w+:\]",
        r"\[\w+:\w+\]",
        r"\[step\(\)",
        r"offset \(",
    ):
        assert re.search(form, queries), form


KINDS = [n for n, f in vars(Annotations).items() if callable(f) and "node" in inspect.signature(f).parameters]
NOT_IN_SCRIPTS = {"warn", "info", "tier_used", "not_a_counter_by_type"}
"""What makes the others; what needs downsampling tiers, or an option that the scripts do not have (tests of their own)."""


@pytest.fixture(scope="module")
def noted() -> dict[str, set[str]]:
    """Kind of annotation -> the texts that it gave while all scripts ran."""
    texts: dict[str, set[str]] = {kind: set() for kind in KINDS}

    def watched(kind: str, make: Any) -> Any:
        def note(self: Annotations, *arguments: Any, **more: Any) -> None:
            before = {*self._warnings, *self._infos}
            make(self, *arguments, **more)
            texts[kind] |= {text for text, _ in {*self._warnings, *self._infos} - before}
            texts[kind] |= {MONOTONICITY} if kind == "repaired_buckets" else set()

        return note

    with pytest.MonkeyPatch.context() as patch:
        for kind in KINDS:
            patch.setattr(Annotations, kind, watched(kind, getattr(Annotations, kind)))
        for path in SCRIPTS:
            run_script(path.read_text())
    return texts


@pytest.mark.parametrize("kind", sorted({*KINDS} - NOT_IN_SCRIPTS))
def test_every_annotation_is_covered(noted: dict[str, set[str]], kind: str) -> None:
    """Each kind of warning and info is expected by some script with its words."""
    expected = [x for p in SCRIPTS for x in p.read_text().split("\n") if re.match(r"\s+expect (warn|info) msg:", x)]
    assert any(text in line for text in noted[kind] for line in expected), noted[kind]


def test_everything_is_implemented() -> None:
    """Each declared function has an implementation, each aggregator a fold or a special."""
    assert [name for name in FUNCTIONS if implementation(name) is None] == []
    special = {"topk", "bottomk", "limitk", "limit_ratio", "quantile", "count_values"}
    assert set(FOLDS) | special == set(AGGREGATORS)
