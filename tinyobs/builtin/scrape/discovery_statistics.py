"""Joins the statistics of many discoveries of one kind: counters add up, mappings unite.

Each entry of a scrape config runs a discoverer of its own, while metrics such as
`prometheus_sd_file_read_errors_total` count for the whole agent and must not fall when one of them ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs


def unite(running: Iterable[Any], ended: Iterable[Any]) -> list[Any]:
    """Return one statistics object for each class of them.

    Numbers add up and mappings unite, those of counters by adding up; of those that have ended only what counts (`_total`) remains.
    """
    found: dict[type, Any] = {}
    for statistics in (*map(_remains, ended), *running):
        cls = type(statistics)
        found[cls] = _sum(found[cls], statistics) if cls in found else statistics
    return list(found.values())


def _sum(a: Any, b: Any) -> Any:
    return attrs.evolve(
        a, **{f.alias: _add(f.name, getattr(a, f.name), getattr(b, f.name)) for f in attrs.fields(type(a))}
    )


def _add(name: str, a: Any, b: Any) -> Any:
    if not isinstance(a, Mapping):
        return a + b
    return {**a, **{k: a.get(k, 0) + v if name.endswith("_total") else v for k, v in b.items()}}


def _remains(statistics: Any) -> Any:
    gone = {}
    for f in attrs.fields(type(statistics)):
        if not f.name.endswith("_total"):
            value = getattr(statistics, f.name)
            gone[f.alias] = {} if isinstance(value, Mapping) else type(value)()
    return attrs.evolve(statistics, **gone)
