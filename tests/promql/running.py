"""Running `.test` scripts against the engine: loads, evaluations and the comparison of results."""

from __future__ import annotations

import re
from typing import Any

from attrs import define

from tinyobs.errors import QueryError
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histogram, numbers_of
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.promql.engine import PromqlEngine
from tinyobs.promql.limits import EngineOptions
from tinyobs.promql.nodes import ValueType
from tinyobs.promql.result import Result

from .histogram_values import of_classic, same
from .memory import MemoryStore
from .numbers import almost_equal
from .script import Eval, Load, Sample, parse_script

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


def run_script(text: str, engine: PromqlEngine | None = None) -> list[Outcome]:
    """Run a script and return the outcome of each eval."""
    engine = engine or PromqlEngine(OPTIONS)
    store = MemoryStore({})
    out = []
    for command in parse_script(text):
        if command is None:
            store = MemoryStore({})
        elif isinstance(command, Load):
            load(store, command)
        else:
            out.append(Outcome(command.line, command.query, run_eval(engine, store, command)))
    return out


def load(store: MemoryStore, command: Load) -> None:
    """Load series; classic histograms once more as native ones where that is asked for."""
    for labels, samples in command.series.items():
        points = [(i * command.gap_ms, value) for i, value in enumerate(samples) if value is not None]
        if points:
            store.add(labels, points)
    if command.native:
        for labels, found in natives_of(command).items():
            store.add(labels, found)
    for labels, starts in command.starts.items():
        stamps = ((i * command.gap_ms, start) for i, start in enumerate(starts))
        store.starts.setdefault(labels, {}).update((t, t + start) for t, start in stamps if start is not None)


Classic = dict[int, dict[str, Any]]


def natives_of(command: Load) -> dict[Labels, list[tuple[int, Histogram]]]:
    """Return the classic histograms of a load as native ones with custom buckets."""
    groups: dict[Labels, Classic] = {}
    for labels, samples in command.series.items():
        pairs = dict(labels)
        found = re.fullmatch(r"(.*)_(bucket|sum|count)", pairs.get("__name__", ""))
        if not found:
            continue
        bound = pairs.pop("le", None)
        group = groups.setdefault(from_mapping({**pairs, "__name__": found[1]}), {})
        for i, value in enumerate(samples):
            if isinstance(value, float):
                at = group.setdefault(i * command.gap_ms, {"bucket": {}, "count": None, "sum": 0.0})
                if bound is None:
                    at[found[2]] = value
                else:
                    at["bucket"][float(bound)] = value
    return {
        labels: [(t, of_classic(g["bucket"], g["count"], g["sum"])) for t, g in sorted(group.items())]
        for labels, group in groups.items()
    }


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
        labels, times, _ = result.columns.one(i)
        here = [v for t, v in zip(times.tolist(), samples_of(result.columns, i), strict=True) if t == at]
        if here:
            got[labels] = here
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
        labels, times, _ = columns.one(i)
        got[labels] = aligned(command, times.tolist(), samples_of(columns, i))
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


def samples_of(columns: SeriesColumns, i: int) -> list[Sample]:
    """Return the samples of series `i`, floats and histograms."""
    _, _, values = columns.one(i)
    table, numbers = columns.histograms, numbers_of(values).tolist()
    return [v if n < 0 or table is None else table.one(n) for v, n in zip(values.tolist(), numbers, strict=True)]


def aligned(command: Eval, times: list[int], values: list[Sample]) -> list[Sample]:
    """Return the samples of a result at every step of a range."""
    if command.instant and command.matrix is None:
        return values
    start, end, step = command.matrix or (command.start_ms, command.end_ms, command.step_ms)
    found = dict(zip(times, values, strict=True))
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
            if not equal(want, have):
                return f"{labels}: {got[labels]} instead of {values}"
    return ""


def equal(want: Sample, have: Sample) -> bool:
    """Tell whether two samples are nearly equal."""
    if isinstance(want, Histogram) or isinstance(have, Histogram):
        return isinstance(want, Histogram) and isinstance(have, Histogram) and same(want, have)
    return want is have or (want is not None and have is not None and almost_equal(want, have))


def meets(how: str, text: str, got: str) -> bool:
    """Tell whether an annotation is one that is expected."""
    return how == "any" or (text == got if how == "msg" else re.search(text, got) is not None)


def compare_notes(command: Eval, result: Result) -> str:
    """Compare annotations."""
    have = {"warn": result.warnings, "info": result.infos}
    for kind, wanted in command.notes.items():
        if kind.startswith("no_"):
            if have[kind[3:]]:
                return f"unexpected {have[kind[3:]]}"
            continue
        for how, text in wanted:
            if not any(meets(how, text, got) for got in have[kind]):
                return f"{kind} missing: {text!r}, there is {have[kind]}"
        for got in have[kind]:
            if not any(meets(how, text, got) for how, text in wanted):
                return f"{kind} not expected: {got!r}"
    return ""
