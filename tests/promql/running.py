"""Running `.test` scripts against the engine: loads, evaluations and the comparison of results."""

from __future__ import annotations

import re

import numpy as np
from attrs import define

from tinyobs.errors import QueryError
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions
from tinyobs.promql.nodes import ValueType
from tinyobs.promql.result import Result

from .memory import MemoryStore
from .script import HISTOGRAM, Eval, Histogram, Load, Sample, almost_equal, parse_script

FEATURES = frozenset(
    (
        "promql-experimental-functions",
        "promql-duration-expr",
        "promql-extended-range-selectors",
        "promql-binop-fill-modifiers",
    )
)
OPTIONS = EngineOptions(features=FEATURES, delayed_name_removal=True, use_start_timestamps=True)


@define
class Outcome:
    """What became of an eval; why is empty when it passed."""

    line: int
    query: str
    why: str
    unsupported: bool = False


def run_script(text: str, engine: PromqlEngine | None = None) -> list[Outcome]:
    """Run a script and return the outcome of each eval."""
    engine = engine or PromqlEngine(OPTIONS)
    store = MemoryStore({})
    natives: set[str] = set()
    out = []
    for command in parse_script(text):
        if command is None:
            store, natives = MemoryStore({}), set()
        elif isinstance(command, Load):
            load(store, command, natives)
        else:
            why = run_eval(engine, store, command)
            needs = bool(why) and needs_histograms(command, natives)
            out.append(Outcome(command.line, command.query, why, needs))
    return out


def load(store: MemoryStore, command: Load, natives: set[str]) -> None:
    """Load floats; note the names of series that have histograms."""
    for labels, samples in command.series.items():
        name = dict(labels).get("__name__", "")
        points = []
        for i, value in enumerate(samples):
            if isinstance(value, Histogram):
                natives.add(name)
            elif value is not None:
                points.append((i * command.gap_ms, value))
        if command.native and (found := re.fullmatch(r"(.*)_(bucket|sum|count)", name)):
            natives.add(found[1])
        if points:
            store.add(labels, points)
    for labels, starts in command.starts.items():
        stamps = ((i * command.gap_ms, start) for i, start in enumerate(starts))
        store.starts.setdefault(labels, {}).update((t, t + start) for t, start in stamps if start is not None)


def needs_histograms(command: Eval, natives: set[str]) -> bool:
    """Tell whether an eval touches native histograms, by name, by pattern, or by what it expects."""
    if any(value is HISTOGRAM for values in command.expected.values() for value in values):
        return True
    if any("histogram" in text for how in command.notes.values() for _, text in how):
        return True
    words = set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", command.query))
    return bool(words & natives) or bool(natives and "{" in command.query)


def run_eval(engine: PromqlEngine, store: MemoryStore, command: Eval) -> str:
    """Return why an eval did not give what it should, "" when it did."""
    try:
        if command.instant:
            result = engine.instant(store, command.query, command.start_ms)
        else:
            result = engine.range(store, command.query, command.start_ms, command.end_ms, command.step_ms)
    except QueryError as error:
        return failure(command, str(error))
    if command.fails:
        return "should have failed"
    why = compare(command, result) or compare_notes(command, result)
    if why or not command.instant or command.ordered or result.type is not ValueType.VECTOR:
        return why
    return recheck(engine, store, command)


def failure(command: Eval, message: str) -> str:
    """Judge an error."""
    if not command.fails:
        return f"failed: {message}"
    if command.message is not None and command.message != message:
        return f"message: {message!r}"
    if command.pattern is not None and not re.search(command.pattern, message):
        return f"message: {message!r}"
    return ""


def recheck(engine: PromqlEngine, store: MemoryStore, command: Eval) -> str:
    """Ask an instant query again as the middle step of a range query, as upstream's runner does."""
    if re.search(r"\b(start|end|range|step)\(\)|\bsort", command.query, re.IGNORECASE):
        return ""
    step = 60_000
    at = command.start_ms
    try:
        result = engine.range(store, command.query, at - step, at + step, step)
    except QueryError as error:
        return f"as a range query: {error}"
    got = {}
    for i in range(len(result.columns)):
        labels, times, values = result.columns.one(i)
        here = values[times == at]
        if len(here):
            got[labels] = here.tolist()
    why = compare_points(command.expected, got)
    return f"as a range query: {why}" if why else ""


def compare(command: Eval, result: Result) -> str:
    """Compare values, and the order where it matters."""
    if command.text is not None:
        return "" if result.text == command.text else f"text {result.text!r}"
    if command.scalar is not None:
        if result.type is not ValueType.SCALAR:
            return f"not a scalar but a {result.type}"
        got = float(result.columns.values[0])
        return "" if almost_equal(command.scalar, got) else f"scalar {got}"
    columns = result.columns
    expected = {k: expand(command, v) for k, v in command.expected.items()}
    got = {}
    for i in range(len(columns)):
        labels, times, values = columns.one(i)
        got[labels] = aligned(command, times, values)
    if len(got) != len(columns):
        return "a series occurs twice"
    if command.ordered and list(got) != list(expected):
        return f"order {list(got)}"
    if not command.instant and list(got) != sorted(got):
        return "series are not sorted"
    return compare_points(expected, got)


def expand(command: Eval, values: list[Sample]) -> list[Sample]:
    """Return expected samples at every step of a range, None where there is none."""
    if command.instant and command.matrix is None:
        return values
    start, end, step = command.matrix or (command.start_ms, command.end_ms, command.step_ms)
    steps = (end - start) // step + 1
    return (values + [None] * steps)[: max(steps, len(values))]


def aligned(command: Eval, times: np.ndarray, values: np.ndarray) -> list[Sample]:
    """Return the samples of a result at every step of a range."""
    if command.instant and command.matrix is None:
        return list(values.tolist())
    start, end, step = command.matrix or (command.start_ms, command.end_ms, command.step_ms)
    found = dict(zip(times.tolist(), values.tolist(), strict=True))
    out: list[Sample] = [found.pop(t, None) for t in range(start, end + 1, step)]
    return out + list(found.values())


def compare_points(expected: dict, got: dict) -> str:
    """Compare label set -> samples."""
    for labels in got:
        if labels not in expected:
            return f"unexpected series {labels} {got[labels]}"
    for labels, values in expected.items():
        if labels not in got:
            if all(v is None for v in values):
                continue
            return f"missing series {labels}"
        if len(values) != len(got[labels]):
            return f"{labels}: {got[labels]} instead of {values}"
        for want, have in zip(values, got[labels], strict=True):
            same = want is have or (isinstance(want, float) and isinstance(have, float) and almost_equal(want, have))
            if not same:
                return f"{labels}: {got[labels]} instead of {values}"
    return ""


def compare_notes(command: Eval, result: Result) -> str:
    """Compare annotations."""
    have = {"warn": result.warnings, "info": result.infos}
    for kind, wanted in command.notes.items():
        if kind.startswith("no_"):
            if have[kind[3:]]:
                return f"unexpected {have[kind[3:]]}"
            continue
        for how, text in wanted:
            if not any(how == "any" or (text == got if how == "msg" else re.search(text, got)) for got in have[kind]):
                return f"{kind} missing: {text!r}, there is {have[kind]}"
    return ""
