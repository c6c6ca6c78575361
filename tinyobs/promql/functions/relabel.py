"""`label_replace` and `label_join`: they look at series only, never at samples.

Source: prometheus promql/functions.go; templates are those of Go's `regexp.Expand`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve

from ...errors import QueryExecutionError
from ...model.labels import NAME, Labels, get
from ...model.regex import compile_re2
from ..blocks import Value, Vector, unified
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode

_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


@function("label_replace", Kind.GENERAL)
def label_replace(evaluation: Evaluation, call: CallNode) -> Value:
    """Set a label from a regular expression over another, where that matches."""
    destination, template, source, pattern = (evaluation.text(a) for a in call.arguments[1:])
    try:
        regex = compile_re2(pattern)
    except ValueError:
        message = f"invalid regular expression in label_replace(): {pattern}"
        raise QueryExecutionError(message) from None
    _check_name(destination, "destination label name in label_replace()")
    expand = _expander(template, regex.groups, regex.groupindex)
    remembered: dict[str, str | None] = {}

    def change(labels: Labels) -> Labels:
        value = get(labels, source)
        if value not in remembered:
            match = regex.fullmatch(value)
            remembered[value] = None if match is None else expand(match)
        new = remembered[value]
        return labels if new is None else with_label(labels, destination, new)

    return _relabelled(evaluation.vector(call.arguments[0]), destination, change)


@function("label_join", Kind.GENERAL)
def label_join(evaluation: Evaluation, call: CallNode) -> Value:
    """Set a label to the values of others, joined."""
    destination, separator, *sources = (evaluation.text(a) for a in call.arguments[1:])
    for name in sources:
        _check_name(name, "source label name in label_join()")
    _check_name(destination, "destination label name in label_join()")

    def change(labels: Labels) -> Labels:
        return with_label(labels, destination, separator.join([get(labels, name) for name in sources]))

    return _relabelled(evaluation.vector(call.arguments[0]), destination, change)


def _relabelled(vector: Vector, destination: str, change: Callable[[Labels], Labels]) -> Vector:
    labels = [change(old) for old in vector.labels]
    drop = vector.drop
    if drop is not None and destination == NAME:
        # A name that was given on purpose stays.
        drop = drop.copy()
        drop[[i for i, (a, b) in enumerate(zip(labels, vector.labels, strict=True)) if a is not b]] = False
    return unified(evolve(vector, labels=labels, drop=drop))


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """Return a label set with one label set anew; an empty value removes it."""
    rest = [p for p in labels if p[0] != name]
    if value:
        rest.append((name, value))
        rest.sort()
    return tuple(rest)


def _check_name(name: str, what: str) -> None:
    try:
        if name and name.encode():
            return
    except UnicodeEncodeError:
        pass
    raise QueryExecutionError(f"invalid {what}: {name}")


def _expander(template: str, groups: int, names: dict[str, int]) -> Callable[[Any], str]:
    """Return what fills a template from a match: `$1`, `${name}`, `$$`; an unknown group is empty."""
    parts: list[str | int] = []
    end = 0
    for found in _REFERENCE.finditer(template):
        parts.append(template[end : found.start()])
        end = found.end()
        key = found[1] or found[2]
        if key is None:
            parts.append("$")
        elif key.isdigit():
            parts.append(int(key) if int(key) <= groups else "")
        else:
            parts.append(names.get(key, ""))
    parts.append(template[end:])

    def expand(match: Any) -> str:
        return "".join([p if isinstance(p, str) else match.group(p) or "" for p in parts])

    return expand
