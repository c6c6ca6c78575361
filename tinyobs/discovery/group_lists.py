"""The JSON that agents exchange about targets: a list of `{"targets": [...], "labels": {...}}`.

`http_sd_configs` reads it; what we list for others is written by `tinyobs.web.api_v1.http_sd`.  Format: prometheus
discovery/targetgroup/targetgroup.go.  It is stricter than a file of targets: every value must be a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .refreshing import DiscoveryError

_KEYS = frozenset(("targets", "labels"))


def read_list(data: bytes, where: str) -> list[tuple[tuple[Mapping[str, str], ...], Mapping[str, str]]]:
    """Return (labels of each target, labels of all) of each group; raises `DiscoveryError` that begins with `where`."""
    try:
        value = orjson.loads(data)
        if not isinstance(value, list | None):
            raise ValueError("the list of groups is no list")
        return [_group(item, i) for i, item in enumerate(value or [])]
    except orjson.JSONDecodeError as e:
        raise DiscoveryError(f"{where}: the list of groups is no JSON: {e}") from None
    except ValueError as e:
        raise DiscoveryError(f"{where}: {e}") from None


def _group(item: Any, index: int) -> tuple[tuple[Mapping[str, str], ...], Mapping[str, str]]:
    if item is None:
        raise ValueError("nil target group item found")
    if not isinstance(item, dict):
        raise ValueError(f"group {index} is no object")
    if unknown := sorted(item.keys() - _KEYS):
        raise ValueError(f"group {index} has an unknown field {unknown[0]!r}")
    targets, labels = item.get("targets"), item.get("labels")
    targets, labels = [] if targets is None else targets, {} if labels is None else labels
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets):
        raise ValueError(f"the targets of group {index} are no list of texts")
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise ValueError(f"the labels of group {index} are no object of texts")
    if "" in labels:
        raise ValueError(f'"" is not a valid label name (group {index})')
    return tuple({"__address__": t} for t in targets), labels
