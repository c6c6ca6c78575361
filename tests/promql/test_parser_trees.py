"""What the parser makes of sound queries: structure, positions, bounds."""

import math

import pytest

from tinyobs.errors import QueryParseError
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.promql.cursor import NESTING_MAX, TREE_HEIGHT_MAX
from tinyobs.promql.nodes import (
    Aggregate,
    At,
    AtKind,
    Binary,
    Call,
    Cardinality,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
    walk,
)
from tinyobs.promql.parser import FEATURE_FILL, FEATURE_FUNCTIONS, QUERY_LENGTH_MAX, parse, parse_selector
from tinyobs.promql.selectors import FEATURE_EXTENDED_RANGE

EVERYTHING = frozenset((FEATURE_FILL, FEATURE_FUNCTIONS, FEATURE_EXTENDED_RANGE))


def vector(name: str, **more: object) -> VectorSelector:
    """Return the selector of a metric."""
    return VectorSelector(name, (Matcher(MatchType.EQUAL, "__name__", name),), **more)  # type: ignore[arg-type]


def number(value: float) -> NumberLiteral:
    """Return a literal."""
    return NumberLiteral(value)


A, B, C = vector("a"), vector("b"), vector("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("-1^2", Unary("-", Binary("^", number(1), number(2)))),
        ("-1*2", Binary("*", number(-1), number(2))),
        ("-1^-2", Unary("-", Binary("^", number(1), number(-2)))),
        ("2^3^2", Binary("^", number(2), Binary("^", number(3), number(2)))),
        ("1-2-3", Binary("-", Binary("-", number(1), number(2)), number(3))),
        ("+1 + -2 * 1", Binary("+", number(1), Binary("*", number(-2), number(1)))),
        ("1 < bool 2 - 1", Binary("<", number(1), Binary("-", number(2), number(1)), True)),
        ("-a", Unary("-", A)),
        ("--1", number(1)),
        ("-(1)", Unary("-", Paren(number(1)))),
        ("a atan2 b * c", Binary("*", Binary("atan2", A, B), C)),
        ("a </ 1 + 2", Binary("</", A, Binary("+", number(1), number(2)))),
        ("5m", number(300)),
        ("-a offset 5m", Unary("-", vector("a", offset=300_000))),
        ("a + b @ 5", Binary("+", A, vector("b", at=At(AtKind.TIME, 5000)))),
        ("'x'", StringLiteral("x")),
        ("pi()", Call("pi", ())),
    ],
)
def test_operators_bind_as_in_prometheus(text: str, tree: Expr) -> None:
    """Precedence, associativity, and signs that become part of a literal."""
    assert parse(text) == tree


def test_set_operators_match_many_to_many() -> None:
    """`and` binds tighter than `or`, and both match many to many."""
    many = Matching(Cardinality.MANY_TO_MANY)
    assert parse("a or b and c") == Binary("or", A, Binary("and", B, C, matching=many), matching=many)
    on_nothing = Matching(Cardinality.MANY_TO_MANY, on=True)
    assert parse("a unless on () b") == Binary("unless", A, B, matching=on_nothing)


@pytest.mark.parametrize(
    ("clauses", "matching"),
    [
        ("", None),
        ("ignoring ()", None),
        ("on()", Matching(on=True)),
        ("on(x, 'y.z',)", Matching(labels=("x", "y.z"), on=True)),
        ("ignoring(by) group_left", Matching(Cardinality.MANY_TO_ONE, ("by",))),
        ("on(x) group_right(y, z)", Matching(Cardinality.ONE_TO_MANY, ("x",), True, ("y", "z"))),
        ("fill(-1)", Matching(fill_left=-1, fill_right=-1)),
        ("on(x) fill_right(2) fill_left(+1)", Matching(labels=("x",), on=True, fill_left=1, fill_right=2)),
    ],
)
def test_matching_clauses(clauses: str, matching: Matching | None) -> None:
    """What stands between an operator and its right side."""
    assert parse(f"a + {clauses} b", features=EVERYTHING) == Binary("+", A, B, matching=matching)


def test_a_parenthesis_after_group_left_opens_labels() -> None:
    """Even where it was meant for the right side, as upstream's grammar has it."""
    with pytest.raises(QueryParseError, match="unexpected end of input"):
        parse("a * on(x) group_left (b)")


def test_keywords_may_name_metrics_and_labels() -> None:
    """Aggregators and modifiers are names where nothing else can stand."""
    names = [
        "sum",
        "by",
        "without",
        "and",
        "or",
        "unless",
        "offset",
        "start",
        "end",
        "step",
        "range",
        "min_of",
        "anchored",
        "smoothed",
        "fill",
        "topk",
    ]
    for name in names:
        assert parse(name) == vector(name)
    assert parse("a * sum") == Binary("*", A, vector("sum"))
    grouping = ("and", "by", "avg", "on", "bool", "group_left", "atan2", "offset", "x.y")
    assert parse(f"sum without({', '.join(grouping[:-1])}, 'x.y')(a)") == Aggregate("sum", A, None, grouping, True)


def test_matchers_keep_their_order_and_the_name_comes_last() -> None:
    """Every kind of matcher, quoted names, and the metric name inside the braces."""
    selector = parse("""{"a.b", c!='x', "d e"=~`y.*`, inf!~"z",}""")
    assert isinstance(selector, VectorSelector)
    assert [str(m) for m in selector.matchers] == ['__name__="a.b"', 'c!="x"', '"d e"=~"y.*"', 'inf!~"z"']
    assert selector.name == ""
    named = parse("a{b='c'}")
    assert isinstance(named, VectorSelector)
    assert [m.name for m in named.matchers] == ["b", "__name__"]


@pytest.mark.parametrize(
    "text", ["sum by (x) (a)", "sum by (x,) (a)", "sum(a) by (x)", "SUM BY(x)(a)", "sum # c\n (a) by ('x')"]
)
def test_the_clause_of_an_aggregation_stands_before_or_after(text: str) -> None:
    """Both forms mean the same."""
    assert parse(text) == Aggregate("sum", A, None, ("x",))


def test_parameters_of_aggregations() -> None:
    """The parameter comes first."""
    assert parse("topk(3, a)") == Aggregate("topk", A, number(3))
    assert parse("count_values('v', a) by (x)") == Aggregate("count_values", A, StringLiteral("v"), ("x",))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a[5m]", MatrixSelector(A, 300_000)),
        ("a[4.018]", MatrixSelector(A, 4018)),
        ("a[5m] @ 1m offset -1", MatrixSelector(vector("a", offset=-1000, at=At(AtKind.TIME, 60_000)), 300_000)),
        ("a[1h:]", Subquery(A, 3_600_000)),
        ("a[1h:5m] offset 1s @ end()", Subquery(A, 3_600_000, 300_000, 1000, At(AtKind.END))),
        ("a @ -3.3335", vector("a", at=At(AtKind.TIME, -3334))),
        ("a offset 0s offset 1s", vector("a", offset=1000)),
        ("a anchored", vector("a", anchored=True)),
        ("a[5m] smoothed offset 1s", MatrixSelector(vector("a", offset=1000, smoothed=True), 300_000)),
    ],
)
def test_what_follows_a_selector(text: str, tree: Expr) -> None:
    """Ranges, subqueries, offsets, times, extended ranges, in any order that upstream takes."""
    assert parse(text, features=EVERYTHING) == tree


STEP, RANGE = Call("step", ()), Call("range", ())


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a[5m*2]", MatrixSelector(A, Binary("*", number(300), number(2)))),
        ("a[(5s)]", MatrixSelector(A, Paren(number(5)))),
        ("a[-2^2 + STEP()]", MatrixSelector(A, Binary("+", Unary("-", Binary("^", number(2), number(2))), STEP))),
        ("a[+range()]", MatrixSelector(A, RANGE)),
        ("a[step():step()]", Subquery(A, STEP, STEP)),
        ("a[max_of(step(),5s)]", MatrixSelector(A, Call("max_of", (STEP, number(5))))),
        ("a offset -(1^2)", vector("a", offset=Unary("-", Paren(Binary("^", number(1), number(2)))))),
        ("a offset (-1^2)", vector("a", offset=Paren(Unary("-", Binary("^", number(1), number(2)))))),
        ("a offset +(5)", vector("a", offset=Paren(number(5)))),
        ("a offset 5s-8", Binary("-", vector("a", offset=5000), number(8))),
        ("a offset -1^1", Binary("^", vector("a", offset=-1000), number(1))),
        ("a offset step()*0", Binary("*", vector("a", offset=STEP), number(0))),
        ("a offset (1h)*2", vector("a", offset=Binary("*", Paren(number(3600)), number(2)))),
    ],
)
def test_computed_durations(text: str, tree: Expr) -> None:
    """Arithmetic belongs to a range always, to an offset only after an opening parenthesis."""
    assert parse(text) == tree


def test_every_node_knows_its_place() -> None:
    """Start and end are those of the text a node was read from, modifiers included."""
    text = " sum by (x) (rate(a{b='c'}[5m] offset 1m)) / -(d @ 5 ) > bool 1"
    places = [text[node.start : node.end] for node in walk(parse(text))]
    assert places == [
        "sum by (x) (rate(a{b='c'}[5m] offset 1m)) / -(d @ 5 ) > bool 1",
        "sum by (x) (rate(a{b='c'}[5m] offset 1m)) / -(d @ 5 )",
        "sum by (x) (rate(a{b='c'}[5m] offset 1m))",
        "rate(a{b='c'}[5m] offset 1m)",
        "a{b='c'}[5m] offset 1m",
        "a{b='c'}",
        "-(d @ 5 )",
        "(d @ 5 )",
        "d @ 5",
        "1",
    ]


def test_nan_and_infinity_are_numbers() -> None:
    """In any case of letters."""
    nan = parse("nAn")
    assert isinstance(nan, NumberLiteral)
    assert math.isnan(nan.value)
    assert parse("-Inf") == number(-math.inf)


def test_selectors_alone() -> None:
    """`match[]` takes a selector and nothing behind it; what it selects is not judged."""
    assert [str(m) for m in parse_selector("a{b=~'c'}")] == ['b=~"c"', '__name__="a"']
    assert parse_selector("{}") == ()
    for text in ("a[5m]", "a + b", "", "5", "a offset 5m"):
        with pytest.raises(QueryParseError):
            parse_selector(text)


@pytest.mark.parametrize(("opening", "closing"), [("(", ")"), ("abs(", ")"), ("-", ""), ("sum(", ")"), ("2^", "")])
def test_nesting_is_bounded(opening: str, closing: str) -> None:
    """Up to the limit a query parses; far beyond it there is an error that says so, and no RecursionError."""
    count = NESTING_MAX - 2
    parse(opening * count + ("1" if opening in ("(", "-", "2^") else "a") + closing * count)
    with pytest.raises(QueryParseError, match="nested deeper than"):
        parse(opening * 100_000 + "a" + closing * 100_000)


def test_durations_are_bounded() -> None:
    """Parentheses in a range nest no deeper than elsewhere."""
    with pytest.raises(QueryParseError, match="nested deeper than"):
        parse("a[" + "(" * 5000 + "1" + ")" * 5000 + "]")


def test_chains_are_bounded() -> None:
    """A chain of operators makes a high tree, which evaluation descends."""
    parse(" or ".join(["a"] * (TREE_HEIGHT_MAX - 1)))
    for text in (" or ".join(["a"] * 5000), "a" + "[1m:]" * 5000, "a[" + "+".join(["1"] * 5000) + "]"):
        with pytest.raises(QueryParseError, match="levels"):
            parse(text)


def test_length_is_bounded() -> None:
    """A query that is too long is not even looked at."""
    with pytest.raises(QueryParseError, match="longer than"):
        parse(" " * (QUERY_LENGTH_MAX + 1))
