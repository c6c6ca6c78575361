"""What an endpoint is described by: values only, in the words of OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, frozen

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
INTEGER: Final[Schema] = {"type": "integer"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
DATE: Final[Schema] = {"type": "string", "format": "date-time"}
TIME: Final[Schema] = {"oneOf": [DATE, NUMBER], "description": "RFC 3339, or unix seconds with decimals."}
DURATION: Final[Schema] = {"type": "string", "description": "Seconds with decimals, or a duration such as 1h30m."}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
GET_POST: Final = ("GET", "POST")
POST_PUT: Final = ("POST", "PUT")


@frozen
class Parameter:
    """A parameter of the URL, or of a form where the method is POST.  example: a value that the server accepts."""

    name: str
    help: str
    schema: Schema = TEXT
    required: bool = False
    example: Any = None
    place: str = "query"


@frozen
class Endpoint:
    """One path below `/api/v1` with all methods that answer alike.

    data: the schema of `data` in the envelope, None where there is none.  content: content type -> schema of answers
    without an envelope.  takes: content type of a body that is no form.  statuses: what else than an envelope with 200 may
    come, with its meaning.  since_3_2: needs OpenAPI 3.2 to be described, so that it is left out of 3.1.
    """

    path: str
    summary: str
    tag: str
    data: Schema | None = None
    parameters: tuple[Parameter, ...] = ()
    methods: tuple[str, ...] = ("GET",)
    content: Mapping[str, Schema] = Factory(dict)
    takes: str = ""
    statuses: Mapping[int, str] = Factory(dict)
    since_3_2: bool = False


def ref(name: str) -> Schema:
    """Return the reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def pair(first: Schema, second: Schema) -> Schema:
    """Return the schema of a list of two."""
    return {"type": "array", "prefixItems": [first, second], "minItems": 2, "maxItems": 2}


def mapping(values: Schema) -> Schema:
    """Return the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": values}


def record(optional: Mapping[str, Schema] | None = None, /, **required: Schema) -> Schema:
    """Return the schema of an object with these keys and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def one_of(*texts: str) -> Schema:
    """Return the schema of a text that is one of some."""
    return {"type": "string", "enum": list(texts)}
