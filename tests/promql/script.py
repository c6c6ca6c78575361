"""The `.test` script language of Prometheus, read and run in process.

A script loads series and evaluates queries.  Commands: `load <gap>` with indented `series values...`, `clear`,
`eval [fail|warn|info|ordered] instant at <time> <query>`, `eval range from <time> to <time> step <time> <query>`, each
with expected series, values and `expect ...` lines.  The language is described in prometheus
promql/promqltest/README.md.  Start timestamps are read as such, and mark what needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import Factory, define

from tinyobs.model.histograms import Histogram
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.staleness import STALE_NAN
from tinyobs.promql.numerals import duration_ms
from tinyobs.promql.strings import unquote

from .histogram_values import parse_sequence
from .numbers import parse_number

Sample = float | None | Histogram
DEFAULT_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]*")
_NUMBER = r"(?:0[xX][0-9a-fA-F]+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?|[Ii][Nn][Ff]|[Nn][Aa][Nn])"
VALUE = re.compile(rf"(stale|[+-]?{_NUMBER})([+-]{_NUMBER})?$")
NUMBER = re.compile(rf"[+-]?{_NUMBER}$")


@define
class Load:
    """Series to load: label set -> samples, `gap_ms` apart from time 0."""

    line: int
    gap_ms: int
    native: bool
    series: dict[Labels, list[Sample]] = Factory(dict)
    starts: dict[Labels, list[int | None]] = Factory(dict)
    """Start timestamps, ms from the time of their sample; None where not known."""


@define
class Eval:
    """A query, when to evaluate it, and what to expect."""

    line: int
    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    instant: bool
    fails: bool = False
    message: str | None = None
    pattern: str | None = None
    ordered: bool = False
    notes: dict[str, list[tuple[str, str]]] = Factory(dict)
    text: str | None = None
    scalar: float | None = None
    matrix: tuple[int, int, int] | None = None
    expected: dict[Labels, list[Sample]] = Factory(dict)


def parse_time(text: str) -> int:
    """Return milliseconds of a duration, maybe negative, or plain seconds."""
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("-")
    if re.fullmatch(r"[\d.]+", text):
        return sign * round(float(text) * 1000)
    return sign * duration_ms(text)


def parse_series(text: str) -> tuple[Labels, str]:
    """Return the labels at the start of a line, and what follows."""
    labels: dict[str, str] = {}
    match = DEFAULT_NAME.match(text)
    if match:
        labels["__name__"], text = match.group(), text[match.end() :]
    if not re.match(r"\s*\{(?!\{)", text):
        return from_mapping(labels), text
    text = text.lstrip()[1:].lstrip()
    while not text.startswith("}"):
        if text[0] in "\"'`":
            key, text = parse_string(text)
        else:
            found = LABEL.match(text)
            assert found, text
            key, text = found.group(), text[found.end() :]
        text = text.lstrip()
        if text.startswith("="):
            labels[key], text = parse_string(text[1:].lstrip())
        else:
            labels["__name__"] = key
        text = text.lstrip().removeprefix(",").lstrip()
    return from_mapping(labels), text[1:]


def parse_string(text: str) -> tuple[str, str]:
    """Return the value of the string literal at the start, and what follows."""
    quote, at = text[0], 1
    while text[at] != quote:
        at += 2 if text[at] == "\\" and quote != "`" else 1
    return unquote(text[: at + 1]), text[at + 1 :]


def parse_values(text: str) -> list[Sample]:
    """Return the samples of a sequence such as `1 2 _ 0+5x3 stale`."""
    out: list[Sample] = []
    for item in re.findall(r"\{\{.*?\}\}(?:[+-]\{\{.*?\}\})?(?:x\d+)?|\S+", text):
        body, times = item, 0
        if found := re.search(r"x(\d+)$", item):
            body, times = item[: found.start()], int(found[1])
        if body.startswith("{{"):
            out += parse_sequence(item)
            continue
        if body == "_":
            out += [None] * max(times, 1)
            continue
        match = VALUE.match(body)
        assert match, f"values: {text}"
        value = STALE_NAN if match[1] == "stale" else parse_number(match[1])
        step = parse_number(match[2]) if match[2] else None
        out.append(value)
        for _ in range(times):
            value = value if step is None else value + step
            out.append(value)
    return out


def parse_starts(text: str) -> list[int | None]:
    """Return start timestamps of a sequence such as `_ -30s-1mx2 0`, relative to their samples."""
    out: list[int | None] = []
    for item in text.split():
        body, _, times = item.partition("x")
        count = int(times or 0)
        if body == "_":
            out += [None] * max(count, 1)
            continue
        found = re.fullmatch(r"([+-]?\w+)([+-]\w+)?", body)
        assert found, f"start timestamps: {text}"
        value, step = parse_time(found[1].lstrip("+")), parse_time(found[2].lstrip("+")) if found[2] else 0
        out += [value + i * step for i in range(count + 1)]
    return out


def parse_script(text: str) -> Iterator[Load | Eval | None]:
    """Yield the commands of a script; None is `clear`."""
    lines = ["" if (s := line.strip()).startswith("#") else s for line in text.split("\n")]
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line:
            continue
        if line == "clear":
            yield None
            continue
        body = []
        while at < len(lines) and lines[at]:
            body.append(lines[at])
            at += 1
        if line.startswith("load"):
            yield parse_load(line, body, number)
        else:
            assert line.startswith("eval"), f"line {number}: {line}"
            yield parse_eval(line, body, number)


def parse_load(line: str, body: list[str], number: int) -> Load:
    """Return a load command."""
    command, gap = line.split()
    load = Load(number, parse_time(gap), command == "load_with_nhcb")
    for row in body:
        if found := re.match(r"(.*?)@st\s(.*)", row):
            load.starts[parse_series(found[1])[0]] = parse_starts(found[2])
            continue
        labels, values = parse_series(row)
        load.series[labels] = parse_values(values)
    return load


def parse_eval(line: str, body: list[str], number: int) -> Eval:
    """Return an eval command."""
    found = re.match(r"eval(?:_(\w+))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$", line)
    if found:
        moment = parse_time(found[2] or "0")
        ev = Eval(number, found[3], moment, moment, 0, True)
    else:
        found = re.match(r"eval(?:_(\w+))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$", line)
        assert found, f"line {number}: {line}"
        ev = Eval(number, found[5], parse_time(found[2]), parse_time(found[3]), parse_time(found[4]), False)
    if found[1] == "fail":
        ev.fails = True
    elif found[1] == "ordered":
        ev.ordered = True
    elif found[1]:
        ev.notes[found[1]] = [("any", "")]
    for row in body:
        parse_expectation(ev, row)
    return ev


def parse_expectation(ev: Eval, row: str) -> None:
    """Take in one line below an eval."""
    if row.startswith("expected_fail_message"):
        ev.message = row.removeprefix("expected_fail_message").strip()
    elif row.startswith("expected_fail_regexp"):
        ev.pattern = row.removeprefix("expected_fail_regexp").strip()
    elif row.startswith("expect range vector"):
        words = row.split()
        ev.matrix = parse_time(words[4]), parse_time(words[6]), parse_time(words[8])
    elif row.startswith("expect string"):
        ev.text = parse_string(row.removeprefix("expect string").strip())[0]
    elif row.startswith("expect"):
        found = re.match(r"expect\s+(\w+)(?:\s+(regex|msg):(.+))?$", row)
        assert found, row
        kind, how, text = found[1], found[2] or "any", (found[3] or "").strip()
        if kind == "ordered":
            ev.ordered = True
        elif kind == "fail":
            ev.fails = True
            ev.message = text if how == "msg" else ev.message
            ev.pattern = text if how == "regex" else ev.pattern
        else:
            ev.notes.setdefault(kind, []).append((how, text))
    elif NUMBER.match(row):
        ev.scalar = parse_number(row)
    else:
        labels, values = parse_series(row)
        ev.expected[labels] = parse_values(values)
