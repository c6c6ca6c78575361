"""Types of expressions, and whether an expression makes sense: types, number of arguments, matching rules.

What the grammar lets pass and Prometheus rejects nevertheless, in its order and wording.  Source: prometheus
promql/parser/parse.go, checkAST.  Not here: what only evaluation can know (many-to-many matches, label names made up by
`label_replace`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from ..errors import QueryParseError
from ..model.labels import NAME
from .lexer import SET_OPERATORS
from .nodes import (
    Aggregate,
    Binary,
    Call,
    Cardinality,
    Expr,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from .signatures import FUNCTIONS, Signature
from .strings import quote

COMPARISONS: Final = frozenset(("==", "!=", "<", "<=", ">", ">="))
"""The operators that `bool` may follow."""

_DOCUMENTED: Final = {
    ValueType.VECTOR: "instant vector",
    ValueType.MATRIX: "range vector",
    ValueType.SCALAR: "scalar",
    ValueType.STRING: "string",
}


def value_type(expr: Expr, functions: Mapping[str, Signature] = FUNCTIONS) -> ValueType:
    """Return the type of an expression, which is taken to be sound; `KeyError` for an unknown function."""
    while isinstance(expr, (Paren, Unary)):
        expr = expr.expr
    if isinstance(expr, (VectorSelector, Aggregate)):
        return ValueType.VECTOR
    if isinstance(expr, Call):
        return functions[expr.name].returns
    if isinstance(expr, Binary):
        if expr.matching is not None:
            return ValueType.VECTOR
        sides = (value_type(side, functions) is ValueType.SCALAR for side in (expr.right, expr.left))
        return ValueType.SCALAR if all(sides) else ValueType.VECTOR
    if isinstance(expr, NumberLiteral):
        return ValueType.SCALAR
    if isinstance(expr, StringLiteral):
        return ValueType.STRING
    return ValueType.MATRIX


def check(expr: Expr, text: str, functions: Mapping[str, Signature] = FUNCTIONS) -> ValueType:
    """Return the type of an expression parsed from `text`; raise `QueryParseError` for the first thing wrong with it."""
    return _Checker(text, functions).check(expr)


@frozen
class _Checker:
    """The text (for messages) and the functions that there are."""

    text: str
    functions: Mapping[str, Signature]

    def check(self, expr: Expr) -> ValueType:
        """Check an expression and everything below it."""
        if isinstance(expr, VectorSelector):
            self.selector(expr)
            return ValueType.VECTOR
        if isinstance(expr, Call):
            return self.call(expr)
        if isinstance(expr, MatrixSelector):
            self.selector(expr.selector)
            return ValueType.MATRIX
        if isinstance(expr, Aggregate):
            return self.aggregate(expr)
        if isinstance(expr, Binary):
            return self.binary(expr)
        if isinstance(expr, Paren):
            return self.check(expr.expr)
        if isinstance(expr, Unary):
            found = self.check(expr.expr)
            if found not in (ValueType.SCALAR, ValueType.VECTOR):
                allowed = "unary expression only allowed on expressions of type scalar or instant vector"
                raise self.fail(f'{allowed}, got "{_DOCUMENTED[found]}"', expr)
            return found
        if isinstance(expr, Subquery):
            found = self.check(expr.expr)
            if found is not ValueType.VECTOR:
                raise self.fail(f"subquery is only allowed on instant vector, got {found} instead", expr)
            return ValueType.MATRIX
        return ValueType.SCALAR if isinstance(expr, NumberLiteral) else ValueType.STRING

    def fail(self, message: str, expr: Expr) -> QueryParseError:
        """Return the error for an expression."""
        return QueryParseError(message, expr.start, expr.end, self.text)

    def selector(self, expr: VectorSelector) -> None:
        """A name may be given only once, and something must be selected."""
        if expr.name:
            for matcher in expr.matchers[:-1]:
                if matcher.name == NAME:
                    twice = f"{quote(expr.name)} or {quote(matcher.value)}"
                    raise self.fail(f"metric name must not be set twice: {twice}", expr)
        elif all(matcher.matches_empty() for matcher in expr.matchers):
            raise self.fail("vector selector must contain at least one non-empty matcher", expr)

    def aggregate(self, expr: Aggregate) -> ValueType:
        """The argument is an instant vector, the parameter a scalar or (for `count_values`) a string."""
        self.expect(expr.expr, ValueType.VECTOR, "aggregation expression")
        if expr.parameter is not None:
            wanted = ValueType.STRING if expr.op == "count_values" else ValueType.SCALAR
            self.expect(expr.parameter, wanted, "aggregation parameter")
        return ValueType.VECTOR

    def expect(self, expr: Expr, wanted: ValueType, context: str) -> None:
        """Check an expression that must have a certain type."""
        found = self.check(expr)
        if found is not wanted:
            raise self.fail(f"expected type {_DOCUMENTED[wanted]} in {context}, got {_DOCUMENTED[found]}", expr)

    def call(self, expr: Call) -> ValueType:
        """The number of arguments, then each one's type."""
        signature = self.functions[expr.name]
        count = len(expr.args)
        if not (signature.variadic or signature.optional) and count != len(signature.arguments):
            raise self.fail(self.count_message("", len(signature.arguments), expr), expr)
        if count < signature.count_min:
            raise self.fail(self.count_message("at least ", signature.count_min, expr), expr)
        if signature.count_max is not None and count > signature.count_max:
            raise self.fail(self.count_message("at most ", signature.count_max, expr), expr)
        is_info = expr.name == "info" and count > 1
        if is_info:
            self.info_selector(expr)
        context = f"call to function {quote(expr.name)}"
        for position, argument in enumerate(expr.args):
            if not (is_info and position == 1):
                wanted = signature.arguments[min(position, len(signature.arguments) - 1)]
                self.expect(argument, wanted, context)
        return signature.returns

    @staticmethod
    def count_message(bound: str, count: int, expr: Call) -> str:
        """Return the message for a wrong number of arguments."""
        return f"expected {bound}{count} argument(s) in call to {quote(expr.name)}, got {len(expr.args)}"

    def info_selector(self, expr: Call) -> None:
        """The second argument of `info` holds matchers only, and may match everything."""
        matchers = expr.args[1]
        found = value_type(matchers, self.functions)
        if found is not ValueType.VECTOR:
            message = f'expected type instant vector in call to function "info", got {_DOCUMENTED[found]}'
            raise self.fail(message, expr)
        if not isinstance(matchers, VectorSelector):
            raise self.fail("expected label selectors only", matchers)
        if matchers.name:
            raise self.fail("expected label selectors only, got vector selector instead", matchers)

    def binary(self, expr: Binary) -> ValueType:
        """The types of the sides, and the clauses that go with them."""
        left, right = self.check(expr.left), self.check(expr.right)
        both_scalar = left is right is ValueType.SCALAR
        if expr.bool_modifier and expr.op not in COMPARISONS:
            raise self.fail_at_operator("bool modifier can only be used on comparison operators", expr)
        if both_scalar and expr.op in COMPARISONS and not expr.bool_modifier:
            raise self.fail_at_operator("comparisons between scalars must use BOOL modifier", expr)
        self.labels_apart(expr)
        for side, found in ((expr.left, left), (expr.right, right)):
            if found not in (ValueType.SCALAR, ValueType.VECTOR):
                raise self.fail("binary expression must contain only scalar and instant vector types", side)
        self.matching(expr, left is right is ValueType.VECTOR)
        return ValueType.SCALAR if both_scalar else ValueType.VECTOR

    def labels_apart(self, expr: Binary) -> None:
        """No label is both matched on and copied from the other side."""
        if expr.matching is None or not expr.matching.on:
            return
        for label in expr.matching.labels:
            if label in expr.matching.include:
                message = f"label {quote(label)} must not occur in ON and GROUP clause at once"
                raise self.fail_at_operator(message, expr)

    def matching(self, expr: Binary, both_vectors: bool) -> None:
        """Clauses are for vectors only; set operators know neither groups nor fill values."""
        matching, is_set = expr.matching, expr.op in SET_OPERATORS
        filled = matching is not None and (matching.fill_left is not None or matching.fill_right is not None)
        if not both_vectors:
            if matching is not None and matching.labels:
                raise self.fail("vector matching only allowed between instant vectors", expr)
            if filled:
                raise self.fail("filling in missing series only allowed between instant vectors", expr)
            if is_set:
                raise self.fail(f"set operator {quote(expr.op)} not allowed in binary scalar expression", expr)
        elif is_set and matching is not None:
            if matching.cardinality is not Cardinality.MANY_TO_MANY:
                raise self.fail(f"no grouping allowed for {quote(expr.op)} operation", expr)
            if filled:
                raise self.fail("filling in missing series not allowed for set operators", expr)

    def fail_at_operator(self, message: str, expr: Binary) -> QueryParseError:
        """Return the error for the operator of an operation, clauses included."""
        start, end = expr.left.end, expr.right.start
        between = self.text[start:end]
        start += len(between) - len(between.lstrip(" \t\r\n"))
        return QueryParseError(message, start, start + len(between.strip(" \t\r\n")), self.text)
