"""The OpenAPI document of the description, for versions 3.1 and 3.2 of OpenAPI.

Specification: https://spec.openapis.org/oas/.  Streams of events are described in 3.2 only, which has words for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

import yaml

from .... import __version__
from .endpoints import ENDPOINTS
from .schemas import COMPONENTS
from .values import TEXT, TEXTS, Endpoint, Parameter, Schema, one_of, record, ref

VERSIONS: Final = {"3.1": "3.1.0", "3.2": "3.2.0"}
_FORM: Final = "application/x-www-form-urlencoded"
_PLAIN: Final[Schema] = {"text/plain": {"schema": TEXT}}


@cache
def text(version: str, base: str) -> str:
    """Return the document as YAML.  version: a key of `VERSIONS`; base: the path below which the API is served."""
    plain = document(version, ENDPOINTS.values(), base)
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def document(version: str, endpoints: Iterable[Endpoint], base: str) -> dict[str, Any]:
    """Return the document as plain values."""
    chosen = [e for e in endpoints if version != "3.1" or not e.since_3_2]
    return {
        "openapi": VERSIONS[version],
        "info": {
            "title": "TinyObs API",
            "version": __version__,
            "description": "The HTTP API of Prometheus 3.14, and what TinyObs adds to it.",
        },
        "servers": [{"url": base}],
        "tags": [{"name": name} for name in dict.fromkeys(e.tag for e in chosen)],
        "paths": {e.path: {m.lower(): _operation(e, m) for m in e.methods} for e in chosen},
        "components": {"schemas": dict(COMPONENTS)},
    }


def _operation(endpoint: Endpoint, method: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}{endpoint.path.translate(_ID)}",
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
    }
    form = method == "POST" and not endpoint.takes
    described = [_parameter(p) for p in endpoint.parameters if p.place == "path" or not form]
    if described:
        found["parameters"] = described
    inside = [p for p in endpoint.parameters if p.place != "path"]
    if form and inside:
        required = any(p.required for p in inside)
        found["requestBody"] = {"required": required, "content": {_FORM: {"schema": _form(inside)}}}
    if endpoint.takes:
        schema = {"type": "string", "format": "binary"}
        found["requestBody"] = {"required": True, "content": {endpoint.takes: {"schema": schema}}}
    found["responses"] = _responses(endpoint)
    return found


_ID: Final = str.maketrans({"/": "-", "{": "", "}": "", ".": "-", "_": "-"})


def _parameter(parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.help,
        "required": parameter.required,
    }
    if parameter.schema is TEXTS:
        found |= {"style": "form", "explode": True}
    found["schema"] = dict(parameter.schema)
    if parameter.example is not None:
        found["example"] = parameter.example
    return found


def _form(parameters: Iterable[Parameter]) -> dict[str, Any]:
    """Return the schema of a form; more fields than those known are passed over, as everywhere."""
    parameters = tuple(parameters)
    return {
        "type": "object",
        "properties": {p.name: {"description": p.help, **p.schema} for p in parameters},
        "required": [p.name for p in parameters if p.required],
    }


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if endpoint.data is not None:
        envelope = record({"warnings": TEXTS, "infos": TEXTS}, status=one_of("success"), data=endpoint.data)
        others = {kind: {"schema": schema} for kind, schema in endpoint.content.items()}
        found["200"] = {"description": "The answer.", "content": {"application/json": {"schema": envelope}, **others}}
    elif endpoint.content:
        kind = "itemSchema" if endpoint.since_3_2 else "schema"
        found["200"] = {"description": "The answer.", "content": {c: {kind: s} for c, s in endpoint.content.items()}}
    for status, meaning in endpoint.statuses.items():
        found[str(status)] = {"description": meaning}
    errors: Mapping[str, Any] = _PLAIN if endpoint.takes else {"application/json": {"schema": ref("Error")}}
    found["default"] = {"description": "What went wrong.", "content": {**errors, **_PLAIN}}
    return found


class _Dumper(yaml.SafeDumper):
    """Writes what is used twice twice: readers of OpenAPI do not expect anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that nothing is to be referred to."""
        return True
