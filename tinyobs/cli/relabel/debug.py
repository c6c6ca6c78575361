"""`tinyobs relabel debug`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click

from ...config.encoder import to_yaml
from ...config.relabel_rules import rule_to_plain
from ...errors import UsageError
from ...model.label_text import read_labels
from ...model.labels import Labels, to_text
from ...relabel import DEFAULT_REGEX, Rule, Step, trace
from ..tsdb.parameters import json_option
from .rules import chosen_rules, rule_options

LABEL_SETS_MAX: Final = 100_000
"""Label sets that one run takes."""


@click.command()
@click.argument("labels", nargs=-1)
@rule_options
@json_option
def debug(labels: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Show what each rule makes of a label set, and why one drops it.

    LABELS are written like {job="a"}, name{job="a"} or {"job": "a"}; without any they are read from standard input, one
    a line.  With --json each label set is one line of JSON.
    """
    rules = chosen_rules(**options)
    for at, found in enumerate(_label_sets(labels)):
        after, steps = trace(found, rules)
        if as_json:
            click.echo(json.dumps(_as_json(found, after, steps), ensure_ascii=False))
        else:
            click.echo(("\n" if at else "") + "\n".join(_as_text(found, after, steps)))


def _label_sets(given: tuple[str, ...]) -> Iterator[Labels]:
    lines: Iterable[str] = given or (line for line in sys.stdin if line.strip())
    for i, line in enumerate(lines):
        if i >= LABEL_SETS_MAX:
            raise UsageError(f"more than {LABEL_SETS_MAX} label sets")
        try:
            yield read_labels(line)
        except ValueError as e:
            raise UsageError(str(e)) from None


def _as_json(before: Labels, after: Labels | None, steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "input": dict(before),
        "output": None if after is None else dict(after),
        "steps": [
            {
                "rule": rule_to_plain(s.rule),
                "input": dict(s.before),
                "output": dict(s.after),
                "keep": s.keep,
                "matched": s.matched,
                "reason": s.reason,
            }
            for s in steps
        ],
    }


def _as_text(before: Labels, after: Labels | None, steps: Sequence[Step]) -> Iterator[str]:
    yield to_text(before)
    dropped = False
    for i, step in enumerate(steps):
        if dropped:
            yield f"  {i + 1}. {one_line(step.rule)}\n     not reached"
            continue
        yield f"  {i + 1}. {one_line(step.rule)}"
        dropped = not step.keep
        if dropped:
            yield f"     DROPPED {step.reason}"
        elif step.before == step.after:
            yield "     unchanged" + ("" if step.matched else " (no match)")
        else:
            yield from (f"     {change}" for change in changes(step.before, step.after))
    yield "-> dropped" if after is None else f"-> {to_text(after)}"


def changes(before: Labels, after: Labels) -> Iterator[str]:
    """Yield what differs between two label sets, a line for each label."""
    old, new = dict(before), dict(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"- {name}={json.dumps(old[name], ensure_ascii=False)}"
        elif name not in old:
            yield f"+ {name}={json.dumps(new[name], ensure_ascii=False)}"
        elif old[name] != new[name]:
            was, now = (json.dumps(text, ensure_ascii=False) for text in (old[name], new[name]))
            yield f"~ {name}={now} (was {was})"


def one_line(rule: Rule) -> str:
    """Return a rule on one line: its action first, then what is not a default."""
    shown = rule_to_plain(rule)
    if shown.get("separator") == ";":
        del shown["separator"]
    if shown.get("replacement") == "$1":
        del shown["replacement"]
    if shown["regex"] == DEFAULT_REGEX:
        del shown["regex"]
    rest = {key: value for key, value in shown.items() if key != "action"}
    parts = " ".join(to_yaml({key: value}).strip().replace("\n", " ") for key, value in rest.items())
    return f"{rule.action} {parts}".rstrip()
