"""Turns `statistics()` objects into metric families by one naming rule.

A field of a frozen attrs object becomes `tinyobs_<part>_<field>`; a field that ends in `_total` is a counter, any other
a gauge; its docstring is the help text.  A field that ends in `_ms` is exposed in seconds.  A mapping has one point a key, under the label that the field's metadata
names (`attrs.field(metadata={"label": "reason"})`, else `kind`; a tuple of names for tuple keys).  A field whose
metadata has `metric` gets that name instead.  A value that is a `MetricFamily`, or a sequence of them, passes as it is; a
sequence of statistics objects is unfolded in place.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final

import attrs

from ..model.families import MetricFamily, Point
from ..model.labels import from_mapping
from ..model.metadata import MetricType

METRIC: Final = "metric"
LABEL: Final = "label"

_parsing = threading.Lock()


def families(part: str, statistics: Any, names: Mapping[str, str] | None = None) -> list[MetricFamily]:
    """Return the families of one statistics object.

    names: field -> metric name, for those that carry a name that dashboards know.
    """
    names = names or {}
    return [f for field in attrs.fields(type(statistics)) for f in _of_field(part, statistics, field, names)]


def _of_field(
    part: str, statistics: Any, field: attrs.Attribute[Any], names: Mapping[str, str]
) -> Iterator[MetricFamily]:
    value = getattr(statistics, field.name)
    if value is None:
        return
    if isinstance(value, MetricFamily):
        yield value
        return
    if isinstance(value, Sequence) and value and isinstance(value[0], MetricFamily):
        yield from value
        return
    if isinstance(value, Sequence) and value and attrs.has(type(value[0])):
        for inner in value:
            yield from families(part, inner)
        return
    name = names.get(field.name) or field.metadata.get(METRIC) or ""
    scale = 1.0
    if not name:
        name = f"tinyobs_{part}_{field.name}"
        if name.endswith("_ms"):
            name, scale = name.removesuffix("_ms") + "_seconds", 1000.0
    kind = MetricType.COUNTER if name.endswith("_total") else MetricType.GAUGE
    cls: type = type(statistics)
    help = field_docs(cls).get(field.name, "")
    if isinstance(value, Mapping):
        label = field.metadata.get(LABEL, "kind")
        yield MetricFamily(name, kind, help, tuple(_labelled(value, label)))
    elif isinstance(value, (int, float)):
        yield MetricFamily(name, kind, help, (Point(value / scale),))


def _labelled(values: Mapping[Any, Any], label: str | tuple[str, ...]) -> Iterator[Point]:
    for key, value in values.items():
        if isinstance(label, tuple):
            labels = {n: str(k) for n, k in zip(label, key, strict=True)}
        else:
            labels = {label: str(key)}
        yield Point(float(value), from_mapping(labels))


@cache
def field_docs(cls: type) -> dict[str, str]:
    """Return the docstrings that stand below the fields of a class, by field; {} where there is no source.

    One class at a time: Python counts the depth of the trees that it makes for all threads together, and raises `SystemError`
    where a garbage collection lets another thread in meanwhile (CPython 3.11).  `inspect` makes trees as well.
    """
    with _parsing:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, SyntaxError):
            return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for statement, following in pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            docs[statement.target.id] = " ".join(inspect.cleandoc(following.value.value).split())
    return docs
