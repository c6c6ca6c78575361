"""Properties of the parser: it survives everything, and what it prints it reads."""

import math

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tinyobs.errors import QueryParseError
from tinyobs.model.matchers import Matcher, MatchType
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
    ValueType,
    VectorSelector,
)
from tinyobs.promql.parser import FEATURE_FILL, FEATURE_FUNCTIONS, parse
from tinyobs.promql.printer import matcher_text, pretty, to_text
from tinyobs.promql.selectors import FEATURE_EXTENDED_RANGE
from tinyobs.promql.signatures import AGGREGATORS, AGGREGATORS_WITH_PARAMETER, FUNCTIONS

EVERYTHING = frozenset((FEATURE_FILL, FEATURE_FUNCTIONS, FEATURE_EXTENDED_RANGE))

PIECES = st.sampled_from(
    [
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        "=",
        "==",
        "!=",
        "=~",
        "!~",
        "<",
        "<=",
        ">",
        ">=",
        "</",
        ">/",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "and",
        "or",
        "unless",
        "atan2",
        "bool",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "by",
        "without",
        "offset",
        "@",
        "start()",
        "end()",
        "step()",
        "range()",
        "min_of",
        "max_of",
        "fill(1)",
        "fill_left(",
        "anchored",
        "smoothed",
        "5m",
        "1h30m",
        "5",
        "0x1f",
        "1e3",
        ".5",
        "Inf",
        "NaN",
        '"a"',
        "'b'",
        "`c`",
        "foo",
        "a:b",
        "sum",
        "topk",
        "rate",
        "abs",
        "time()",
        ":",
        "#",
        "$",
        "é",
        "\\",
        '"',
        "'",
        "[5m]",
        "[1h:5m]",
        "(foo)",
        '{a="b"}',
        "1m1",
        "label_replace",
        "info",
        "count_values",
        " ",
        "\n",
        "�",
        "�",
        "\x00",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES, max_size=25).map("".join)
    )
)
@example("a[5m" * 50)
@example("\udcff")
def test_any_text_parses_or_is_a_parse_error(text: str) -> None:
    """No other exception, and an error lies within the text."""
    try:
        expr = parse(text, features=EVERYTHING)
        start, end = expr.start, expr.end
    except QueryParseError as e:
        start, end = e.start, e.end
    assert 0 <= start <= end <= len(text)


NAMES = st.sampled_from(["a", "foo:bar", "sum", "by", "start", "fill", "_x1"])
LABELS = st.sampled_from(["a", "by", "on", "x.y", "é", "__name__"])
MS = st.integers(min_value=1, max_value=10**12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=True).map(NumberLiteral)
ATS = st.one_of(
    st.none(),
    st.sampled_from([At(AtKind.START), At(AtKind.END)]),
    st.integers(-(10**13), 10**13).map(lambda ms: At(AtKind.TIME, ms)),
)


@st.composite
def matchers(draw: st.DrawFn, name: str) -> tuple[Matcher, ...]:
    """Draw matchers in the order in which they print, the one of the name last."""
    label = LABELS.filter(lambda x: not name or x != "__name__")
    drawn = draw(
        st.lists(st.builds(Matcher, st.sampled_from(MatchType), label, st.sampled_from(["", "a|b", "é\n'\""])))
    )
    if not name:
        drawn.append(Matcher(MatchType.EQUAL, "z", "needed"))
    ordered = sorted(drawn, key=matcher_text)
    return (*ordered, *([Matcher(MatchType.EQUAL, "__name__", name)] if name else []))


def durations(depth: int = 2) -> st.SearchStrategy[Expr]:
    """Return computed durations, never a literal alone."""
    literal = st.floats(min_value=0.001, max_value=1e6).map(NumberLiteral)
    leaf = st.one_of(st.just(Call("step", ())), st.just(Call("range", ())), literal.map(Paren))
    if not depth:
        return leaf
    inner = durations(depth - 1)
    both = st.tuples(inner, inner)
    return st.one_of(
        leaf,
        st.builds(Paren, inner),
        st.builds(Unary, st.just("-"), st.one_of(st.builds(Paren, inner), leaf)),
        st.builds(Call, st.sampled_from(["min_of", "max_of"]), both),
        st.builds(Binary, st.sampled_from("+-*/%^"), st.builds(Paren, inner), st.builds(Paren, inner)),
    )


OFFSETS = st.one_of(st.just(0), MS, MS.map(lambda ms: -ms), st.builds(Paren, durations()))
RANGES = st.one_of(MS, durations())


@st.composite
def selectors(draw: st.DrawFn) -> VectorSelector:
    """Draw an instant vector selector."""
    name = draw(st.one_of(NAMES, st.just("")))
    extension = draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    return VectorSelector(name, draw(matchers(name)), draw(OFFSETS), draw(ATS), *extension)


@st.composite
def range_selectors(draw: st.DrawFn) -> MatrixSelector:
    """Draw a range vector selector."""
    return MatrixSelector(draw(selectors()), draw(RANGES))


@st.composite
def matchings(draw: st.DrawFn) -> Matching | None:
    """Draw the clauses of an operation of two vectors."""
    names = st.lists(LABELS, unique=True, max_size=3).map(tuple)
    on = draw(st.booleans())
    labels = draw(names)
    card = draw(st.sampled_from([Cardinality.ONE_TO_ONE, Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY]))
    include = () if card is Cardinality.ONE_TO_ONE else tuple(x for x in draw(names) if x not in labels)
    fill = st.one_of(st.none(), st.floats(allow_nan=False))
    matching = Matching(card, labels, on, include, draw(fill), draw(fill))
    return None if matching == Matching() else matching


@st.composite
def expressions(draw: st.DrawFn, type_: ValueType, depth: int = 3) -> Expr:
    """Draw an expression of a type that the parser could have made."""
    if type_ is ValueType.STRING:
        return StringLiteral(draw(st.text(st.characters(codec="utf-8"))))
    if type_ is ValueType.MATRIX:
        if not depth or draw(st.booleans()):
            return draw(range_selectors())
        inner = draw(selectors()) if draw(st.booleans()) else Paren(draw(expressions(ValueType.VECTOR, depth - 1)))
        return Subquery(inner, draw(RANGES), draw(st.one_of(st.none(), RANGES)), draw(OFFSETS), draw(ATS))
    if not depth:
        return draw(selectors()) if type_ is ValueType.VECTOR else draw(NUMBERS)
    kind = draw(st.sampled_from(["call", "binary", "paren", "unary", "aggregate", "leaf"]))
    if kind == "leaf":
        return draw(expressions(type_, 0))
    if kind == "paren":
        return Paren(draw(expressions(type_, depth - 1)))
    if kind == "unary":
        return Unary(draw(st.sampled_from("+-")), Paren(draw(expressions(type_, depth - 1))))
    if kind == "binary":
        return draw(operations(type_, depth - 1))
    if kind == "aggregate" and type_ is ValueType.VECTOR:
        return draw(aggregations(depth - 1))
    return draw(calls(type_, depth - 1))


@st.composite
def operations(draw: st.DrawFn, type_: ValueType, depth: int) -> Binary:
    """Draw an operation on parentheses."""
    types = [type_, type_]
    if type_ is ValueType.VECTOR and draw(st.booleans()):
        types[draw(st.sampled_from([0, 1]))] = ValueType.SCALAR
    left, right = (Paren(draw(expressions(t, depth))) for t in types)
    both = types == [ValueType.VECTOR] * 2
    if both and draw(st.booleans()):
        names = draw(st.lists(LABELS, unique=True, max_size=2).map(tuple))
        many = Matching(Cardinality.MANY_TO_MANY, names, draw(st.booleans()))
        return Binary(draw(st.sampled_from(["and", "or", "unless"])), left, right, False, many)
    matching = draw(matchings()) if both else None
    if draw(st.booleans()):
        return Binary(draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="])), left, right, True, matching)
    return Binary(draw(st.sampled_from([*"+-*/%^", "atan2", "</", ">/"])), left, right, False, matching)


@st.composite
def aggregations(draw: st.DrawFn, depth: int) -> Aggregate:
    """Draw an aggregation with or without a clause."""
    op = draw(st.sampled_from(sorted(AGGREGATORS)))
    parameter = None
    if op in AGGREGATORS_WITH_PARAMETER:
        parameter = draw(expressions(ValueType.STRING if op == "count_values" else ValueType.SCALAR, depth))
    grouping = draw(st.lists(LABELS, max_size=3).map(tuple))
    return Aggregate(op, draw(expressions(ValueType.VECTOR, depth)), parameter, grouping, draw(st.booleans()))


@st.composite
def calls(draw: st.DrawFn, type_: ValueType, depth: int) -> Call:
    """Draw a call of any function of a type but `info`, whose second argument is special."""
    fitting = sorted(name for name, f in FUNCTIONS.items() if f.returns is type_ and name != "info")
    signature = FUNCTIONS[draw(st.sampled_from(fitting))]
    most = signature.count_max if signature.count_max is not None else signature.count_min + 2
    count = draw(st.integers(signature.count_min, min(most, signature.count_min + 2)))
    last = len(signature.arguments) - 1
    return Call(
        signature.name, tuple(draw(expressions(signature.arguments[min(i, last)], depth)) for i in range(count))
    )


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([ValueType.VECTOR, ValueType.SCALAR, ValueType.MATRIX]).flatmap(expressions))
def test_what_is_printed_parses_to_the_same_tree(expr: Expr) -> None:
    """On one line and broken into lines."""
    text = to_text(expr)
    assume(len(text) < 5000)
    again = parse(text, features=EVERYTHING)
    assert again == expr
    assert to_text(again) == text
    assert parse(pretty(expr), features=EVERYTHING) == expr


@given(st.floats())
def test_numbers_survive_printing(value: float) -> None:
    """Bit for bit, but for the sign of NaN."""
    again = parse(to_text(NumberLiteral(value)))
    assert isinstance(again, NumberLiteral)
    if math.isnan(value):
        assert math.isnan(again.value)
    else:
        assert (again.value, math.copysign(1, again.value)) == (value, math.copysign(1, value))
