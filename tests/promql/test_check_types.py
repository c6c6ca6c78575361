"""Types of expressions, and what is rejected although the grammar takes it."""

import pytest

from tinyobs.errors import QueryParseError
from tinyobs.promql.check import check, value_type
from tinyobs.promql.nodes import ValueType
from tinyobs.promql.parser import FEATURE_FILL, FEATURE_FUNCTIONS, parse
from tinyobs.promql.signatures import AGGREGATORS, FUNCTIONS, Signature

OPEN = frozenset((FEATURE_FUNCTIONS, FEATURE_FILL))


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("1", ValueType.SCALAR),
        ("'a'", ValueType.STRING),
        ("a", ValueType.VECTOR),
        ("a[5m]", ValueType.MATRIX),
        ("a[5m:]", ValueType.MATRIX),
        ("sum(a)", ValueType.VECTOR),
        ("-(1)", ValueType.SCALAR),
        ("(a[5m])", ValueType.MATRIX),
        ("1 + 2", ValueType.SCALAR),
        ("1 + a", ValueType.VECTOR),
        ("a + on() b", ValueType.VECTOR),
        ("1 < bool time()", ValueType.SCALAR),
        ("vector(1)", ValueType.VECTOR),
        ("scalar(a) ^ pi()", ValueType.SCALAR),
        ("rate(a[5m])", ValueType.VECTOR),
    ],
)
def test_types(text: str, type_: ValueType) -> None:
    """Checking and asking agree."""
    expr = parse(text)
    assert check(expr, text) is type_
    assert value_type(expr) is type_


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        # selectors
        ("{}", 0, "vector selector must contain at least one non-empty matcher"),
        ("1 + {x=''}", 4, "vector selector must contain at least one non-empty matcher"),
        ("{x=~'.*'}", 0, "vector selector must contain at least one non-empty matcher"),
        ("{x!~'.+'}", 0, "vector selector must contain at least one non-empty matcher"),
        ("{x!='a'}[5m]", 0, "vector selector must contain at least one non-empty matcher"),
        ("a{__name__='b'}", 0, 'metric name must not be set twice: "a" or "b"'),
        ("a{'b'}", 0, 'metric name must not be set twice: "a" or "b"'),
        # operators
        ("1 == 1", 2, "comparisons between scalars must use BOOL modifier"),
        ("a + bool b", 2, "bool modifier can only be used on comparison operators"),
        ("a  and bool 1", 3, "bool modifier can only be used on comparison operators"),
        ("1 and 1", 0, 'set operator "and" not allowed in binary scalar expression'),
        ("a or 1", 0, 'set operator "or" not allowed in binary scalar expression'),
        ("1 unless on() a", 0, 'set operator "unless" not allowed in binary scalar expression'),
        ("1 or on(b) a", 0, "vector matching only allowed between instant vectors"),
        ("a == on(b) 1", 0, "vector matching only allowed between instant vectors"),
        ("a + fill(1) 1", 0, "filling in missing series only allowed between instant vectors"),
        ("a or fill(1) b", 0, "filling in missing series not allowed for set operators"),
        ("a and on(b) group_left(c) d", 0, 'no grouping allowed for "and" operation'),
        ("a + on(b) group_left(c,b) d", 2, 'label "b" must not occur in ON and GROUP clause at once'),
        ("a[5m] + 1", 0, "binary expression must contain only scalar and instant vector types"),
        ("1 + 'a'", 4, "binary expression must contain only scalar and instant vector types"),
        ("-'a'", 0, 'unary expression only allowed on expressions of type scalar or instant vector, got "string"'),
        ("-a[5m]", 0, 'unary expression only allowed on expressions of type scalar or instant vector, got "range vector"'),
        ("a[5m:][5m:]", 0, "subquery is only allowed on instant vector, got matrix instead"),
        ("1[5m:]", 0, "subquery is only allowed on instant vector, got scalar instead"),
        # aggregations
        ("sum(1)", 4, "expected type instant vector in aggregation expression, got scalar"),
        ("sum(a[5m])", 4, "expected type instant vector in aggregation expression, got range vector"),
        ("topk(a, b)", 5, "expected type scalar in aggregation parameter, got instant vector"),
        ("count_values(5, b)", 13, "expected type string in aggregation parameter, got scalar"),
        ("topk('x', b[5m])", 10, "expected type instant vector in aggregation expression, got range vector"),
        # calls
        ("floor()", 0, 'expected 1 argument(s) in call to "floor", got 0'),
        ("floor(a, 1)", 0, 'expected 1 argument(s) in call to "floor", got 2'),
        ("hour(a, a)", 0, 'expected at most 1 argument(s) in call to "hour", got 2'),
        ("label_join(a, 'b')", 0, 'expected at least 3 argument(s) in call to "label_join", got 2'),
        ("floor(1)", 6, 'expected type instant vector in call to function "floor", got scalar'),
        ("rate(a)", 5, 'expected type range vector in call to function "rate", got instant vector'),
        ("label_join(a, 'b', 'c', 'd', 5)", 29, 'expected type string in call to function "label_join", got scalar'),
        ("rate(sum(1)[5m:])", 9, "expected type instant vector in aggregation expression, got scalar"),
        # info
        ("info(a, 1)", 0, 'expected type instant vector in call to function "info", got scalar'),
        ("info(a, b{c='d'})", 8, "expected label selectors only, got vector selector instead"),
        ("info(a, {c='d'} == 1)", 8, "expected label selectors only"),
        ("info(1, {c='d'})", 5, 'expected type instant vector in call to function "info", got scalar'),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_rejected(text: str, where: int, message: str) -> None:
    """With the words and at the place of Prometheus."""
    with pytest.raises(QueryParseError) as caught:
        parse(text, features=OPEN)
    assert (caught.value.start, caught.value.message) == (where, message)


def test_info_may_select_everything() -> None:
    """Its second argument says which labels are wanted, so it may match the empty value."""
    parse("info(a, {b=~'.*'})", features=OPEN)
    parse("info(a, {})", features=OPEN)


def test_all_functions_are_declared() -> None:
    """Ninety functions, seventeen experimental, fourteen aggregators."""
    assert len(FUNCTIONS) == 90
    assert sum(signature.experimental for signature in FUNCTIONS.values()) == 17
    assert len(AGGREGATORS) == 14


def test_argument_counts() -> None:
    """The variadic number counts how often the last argument may stand."""
    counts = {name: (FUNCTIONS[name].count_min, FUNCTIONS[name].count_max) for name in FUNCTIONS}
    assert counts["pi"] == (0, 0)
    assert counts["clamp"] == (3, 3)
    assert counts["round"] == (1, 2)
    assert counts["hour"] == (0, 1)
    assert counts["sort_by_label"] == (1, None)
    assert counts["label_join"] == (3, None)
    assert counts["histogram_quantiles"] == (3, 12)


def test_functions_of_a_plugin_are_checked_like_our_own() -> None:
    """A caller may bring more functions."""
    mine = dict(FUNCTIONS) | {"twice": Signature("twice", (ValueType.SCALAR,), returns=ValueType.SCALAR)}
    text = "twice(2) + 1"
    assert value_type(parse(text, functions=mine), mine) is ValueType.SCALAR
    with pytest.raises(QueryParseError, match='expected type scalar in call to function "twice"'):
        parse("twice(a)", functions=mine)
    with pytest.raises(QueryParseError, match="unknown function"):
        parse(text)
