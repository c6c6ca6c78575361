"""Label sets as sorted tuples of (name, value) pairs.

A label set is a plain tuple: hashable, comparable (the order of series everywhere is the order of these tuples,
which for valid UTF-8 is also the order of the bytes), and free of any class overhead.  Invariants: names are unique
and ascending, no value is empty (an empty label is an absent one).  The metric name is the label `__name__`.

Not here: the shared numbering of series (`registry.py`) and the selection by label (`matchers.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]

NAME = "__name__"
EMPTY: Labels = ()

_LEGACY_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


def from_mapping(mapping: Mapping[str, str]) -> Labels:
    """Return the label set of a mapping; empty values are dropped."""
    return tuple(sorted((k, v) for k, v in mapping.items() if v))


def from_pairs(pairs: Iterable[tuple[str, str]]) -> Labels:
    """Return the label set of (name, value) pairs in any order; of a repeated name the last pair wins."""
    return from_mapping(dict(pairs))


def get(labels: Labels, name: str) -> str:
    """Return the value of a label, "" where it is absent."""
    for k, v in labels:
        if k == name:
            return v
    return ""


def metric_name(labels: Labels) -> str:
    """Return the value of `__name__`, "" where it is absent."""
    return get(labels, NAME)


def keep(labels: Labels, names: frozenset[str] | set[str]) -> Labels:
    """Return only the labels whose name is in `names`."""
    return tuple(p for p in labels if p[0] in names)


def drop(labels: Labels, names: frozenset[str] | set[str]) -> Labels:
    """Return the labels whose name is not in `names`."""
    return tuple(p for p in labels if p[0] not in names)


def quote(value: str) -> str:
    r"""Return a label value in double quotes with `\\`, `\"` and `\n` escaped, as the text formats have it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def is_legacy_metric_name(name: str) -> bool:
    """Tell whether a metric name needs no quoting: `[a-zA-Z_:][a-zA-Z0-9_:]*`."""
    return _LEGACY_NAME.match(name) is not None


def is_legacy_label_name(name: str) -> bool:
    """Tell whether a label name needs no quoting: `[a-zA-Z_][a-zA-Z0-9_]*`."""
    return _LEGACY_LABEL.match(name) is not None


def to_text(labels: Labels) -> str:
    r"""Return a series in PromQL notation: `name{a="b"}`, or `{"my.name", "my.label"="b"}` where names need quotes."""
    name = metric_name(labels)
    plain = not name or is_legacy_metric_name(name)
    inside = [] if plain else [quote(name)]
    inside += [f"{k if is_legacy_label_name(k) else quote(k)}={quote(v)}" for k, v in labels if k != NAME]
    head = name if plain else ""
    if not inside:
        return head or "{}"
    return head + "{" + ", ".join(inside) + "}"
