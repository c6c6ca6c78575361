"""The schemas of the nodes of a syntax tree, as `/parse_query` gives them (prometheus web/api/v1/translate_ast.go)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .values import BOOLEAN, INTEGER, TEXT, TEXTS, Schema, array, one_of, record, ref

_NODE: Final = ref("SyntaxTree")
_MILLISECONDS: Final[Schema] = {"type": ["integer", "null"]}
"""Null: computed when the expression is evaluated."""
_MATCHERS: Final = array(record(name=TEXT, value=TEXT, type=one_of("=", "!=", "=~", "!~")))
_AT: Final[Mapping[str, Schema]] = {
    "timestamp": {"type": ["integer", "null"]},
    "startOrEnd": {"type": ["string", "null"], "enum": ["start", "end", None]},
}
_SELECTOR: Final[Mapping[str, Schema]] = {
    "name": TEXT,
    "offset": _MILLISECONDS,
    "matchers": _MATCHERS,
    "anchored": BOOLEAN,
    "smoothed": BOOLEAN,
    **_AT,
}
_FUNCTION: Final = record(name=TEXT, argTypes=TEXTS, variadic=INTEGER, returnType=TEXT)
_FILL: Final[Schema] = {"type": ["number", "null"]}
_MATCHING: Final = record(
    card=one_of("one-to-one", "many-to-one", "one-to-many", "many-to-many"),
    labels=TEXTS,
    on=BOOLEAN,
    include=TEXTS,
    fillValues=record(lhs=_FILL, rhs=_FILL),
)

NODES: Final[Mapping[str, Schema]] = {
    "SyntaxTree": {
        "oneOf": [
            record(type=one_of("vectorSelector"), **_SELECTOR),
            record(type=one_of("matrixSelector"), range=_MILLISECONDS, **_SELECTOR),
            record(type=one_of("numberLiteral"), val=TEXT),
            record(type=one_of("stringLiteral"), val=TEXT),
            record(type=one_of("parenExpr"), expr=_NODE),
            record(type=one_of("unaryExpr"), op=TEXT, expr=_NODE),
            record(
                type=one_of("subquery"),
                expr=_NODE,
                range=_MILLISECONDS,
                step=_MILLISECONDS,
                offset=_MILLISECONDS,
                **_AT,
            ),
            record(type=one_of("call"), func=_FUNCTION, args=array(_NODE)),
            record(
                type=one_of("aggregation"),
                op=TEXT,
                expr=_NODE,
                param={"oneOf": [_NODE, {"type": "null"}]},
                grouping=TEXTS,
                without=BOOLEAN,
            ),
            record(
                type=one_of("binaryExpr"),
                op=TEXT,
                lhs=_NODE,
                rhs=_NODE,
                matching={"oneOf": [_MATCHING, {"type": "null"}]},
                bool=BOOLEAN,
            ),
        ]
    }
}
"""By name."""
