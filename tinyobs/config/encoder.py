"""A configuration value -> YAML text as `/api/v1/status/config` shows it.

Follows what Prometheus does: keys in the order of the schema, zero and empty values left out unless the schema says
`always` or they are not the default, defaults that are not zero shown, secrets as `<secret>`, passwords in URLs as `xxxxx`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs
import yaml

from ..model.durations import DurationMs, format_duration
from ..model.secrets import MASK, Secret
from ..model.sizes import SizeBytes, format_size
from .fields import FieldPlan, JsonText, ProxyUrl, Url, UrlText, item_of, mapped_of, optional_of, plan


class _FlowList(list[Any]):
    """A list that is written on one line."""


_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Knows the one-line list; never writes anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_flow(dumper: yaml.SafeDumper, data: _FlowList) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


_Dumper.add_representer(_FlowList, _represent_flow)


def to_yaml(plain: dict[str, Any]) -> str:
    """Return what `to_plain` made as YAML text."""
    text: str = yaml.dump(
        plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=4096
    )
    return text


def to_plain(value: Any) -> dict[str, Any]:
    """Return a schema object as dicts, lists and scalars, secrets masked."""
    out: dict[str, Any] = {}
    schema: type = type(value)
    for p in plan(schema):
        held = getattr(value, p.attribute)
        if p.inline:
            out.update(to_plain(held))
        elif p.group:
            out.update((name, _plain(item, type(item))) for name, item in held)
        elif p.always or not (_is_left_out(held, p) or held == p.omit):
            shown = _plain(held, p.type)
            if shown == {} and not p.always:
                continue
            if p.one_or_many and len(shown) == 1:
                shown = shown[0]
            out[p.key] = _FlowList(shown) if p.flow else shown
    return out


def redact_url(url: str) -> str:
    """Return a URL with the password in it replaced by `xxxxx`."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:xxxxx@{host}"))


def _plain(value: Any, type_: Any) -> Any:
    """Return one value for YAML, led by its type, since durations and sizes are integers at run time."""
    type_, _ = optional_of(type_)
    if value is None:
        return None
    if type_ is DurationMs:
        return format_duration(value)
    if type_ is SizeBytes:
        return format_size(value)
    if type_ in (Url, ProxyUrl, UrlText):
        return redact_url(value)
    if type_ is JsonText:
        return json.loads(value)
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Enum):
        return value.value
    if attrs.has(type(value)):
        return to_plain(value)
    if isinstance(value, Mapping):
        return {k: _plain(v, type(v)) for k, v in value.items()}
    mapped = mapped_of(type_)
    if mapped is not None:
        return {k: _plain(v, mapped) for k, v in value}
    if isinstance(value, tuple | list):
        item = item_of(type_)
        return [_plain(v, item if item is not None else type(v)) for v in value]
    return value


def _is_left_out(value: Any, p: FieldPlan) -> bool:
    """Tell whether a value is zero or empty and reading the text without it would give it again."""
    if value is None:
        return True
    empty = value == () or value == "" or value is False or value == 0 or value == Secret("")
    return bool(empty and value == p.default())
