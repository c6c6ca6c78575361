"""A query's syntax tree as the JSON of `/parse_query`, for user interfaces.

Shapes and names are those of prometheus web/api/v1/translate_ast.go; durations are milliseconds.  A duration that is
computed, such as `[5m * 2]`, has no number before evaluation and is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...exposition.json import format_plain
from ...model.matchers import Matcher
from ...promql.check import value_type
from ...promql.nodes import (
    Aggregate,
    At,
    AtKind,
    Binary,
    Call,
    Duration,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from ...promql.signatures import FUNCTIONS, Signature

Functions = Mapping[str, Signature]


def to_json(node: Expr, functions: Functions = FUNCTIONS) -> dict[str, Any]:
    """Return the tree as plain values; functions: those that it may call."""
    match node:
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(node)}
        case MatrixSelector():
            return {"type": "matrixSelector", "range": _milliseconds(node.range), **_selector(node.selector)}
        case NumberLiteral():
            return {"type": "numberLiteral", "val": format_plain(node.value)}
        case StringLiteral():
            return {"type": "stringLiteral", "val": node.value}
        case Paren():
            return {"type": "parenExpr", "expr": to_json(node.expr, functions)}
        case Unary():
            return {"type": "unaryExpr", "op": node.op, "expr": to_json(node.expr, functions)}
        case Subquery():
            return {
                "type": "subquery",
                "expr": to_json(node.expr, functions),
                "range": _milliseconds(node.range),
                "step": 0 if node.step is None else _milliseconds(node.step),
                "offset": _milliseconds(node.offset),
                **_at(node.at),
            }
        case Call():
            return {
                "type": "call",
                "func": _function(functions[node.name]),
                "args": [to_json(a, functions) for a in node.args],
            }
        case Aggregate():
            return _aggregation(node, functions)
        case Binary():
            return _operation(node, functions)
    raise AssertionError(f"a node of unknown kind: {node!r}")


def _selector(node: VectorSelector) -> dict[str, Any]:
    return {
        "name": node.name,
        "offset": _milliseconds(node.offset),
        "matchers": _matchers(node.matchers),
        "anchored": node.anchored,
        "smoothed": node.smoothed,
        **_at(node.at),
    }


def _aggregation(node: Aggregate, functions: Functions) -> dict[str, Any]:
    return {
        "type": "aggregation",
        "op": node.op,
        "expr": to_json(node.expr, functions),
        "param": None if node.parameter is None else to_json(node.parameter, functions),
        "grouping": list(node.grouping),
        "without": node.without,
    }


def _operation(node: Binary, functions: Functions) -> dict[str, Any]:
    matching = node.matching
    if matching is None and value_type(node.left, functions) is value_type(node.right, functions) is ValueType.VECTOR:
        matching = Matching()
    return {
        "type": "binaryExpr",
        "op": node.op,
        "lhs": to_json(node.left, functions),
        "rhs": to_json(node.right, functions),
        "matching": None if matching is None else _matching(matching),
        "bool": node.bool_modifier,
    }


def _matching(matching: Matching) -> dict[str, Any]:
    return {
        "card": str(matching.cardinality),
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }


def _function(signature: Signature) -> dict[str, Any]:
    return {
        "name": signature.name,
        "argTypes": [str(t) for t in signature.arguments],
        "variadic": signature.variadic or signature.optional,
        "returnType": str(signature.returns),
    }


def _matchers(matchers: Sequence[Matcher]) -> list[dict[str, str]]:
    return [{"name": m.name, "value": m.value, "type": str(m.type)} for m in matchers]


def _at(at: At | None) -> dict[str, Any]:
    if at is None:
        return {"timestamp": None, "startOrEnd": None}
    if at.kind is AtKind.TIME:
        return {"timestamp": at.timestamp_ms, "startOrEnd": None}
    return {"timestamp": None, "startOrEnd": str(at.kind)}


def _milliseconds(duration: Duration) -> int | None:
    return duration if isinstance(duration, int) else None
