"""What the parser says about broken queries: the words and the place that Prometheus shows."""

import pytest

from tinyobs.errors import QueryParseError
from tinyobs.promql.parser import parse

WANTED = "expected number, duration, step(), or range()"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", 0, "no expression found in input"),
        ("# nothing\n\n", 0, "no expression found in input"),
        ("1+", 2, "unexpected end of input"),
        ("1 /", 3, "unexpected end of input"),
        ("*1", 0, "unexpected <op:*>"),
        ("@@", 0, "unexpected <op:@>"),
        ("-=", 1, 'unexpected "="'),
        ("++-++-+-+-<", 10, "unexpected <op:<>"),
        ("a b", 2, 'unexpected identifier "b"'),
        ("a:b()", 3, 'unexpected "("'),
        ("a - on(b) ignoring(c) d", 10, "unexpected <ignoring>"),
        ("a + group_left(b) c", 4, "unexpected <group_left>"),
        ("a + on(b) group_left group_left c", 21, 'unexpected <group_left> in grouping opts, expected "("'),
        # lexer errors come when the parser gets there
        ("(1))", 4, "unexpected right parenthesis ')'"),
        ("*1 $", 0, "unexpected <op:*>"),
        ("a{b='c", 4, "unterminated quoted string"),
        # label matchers
        ("a{b=c}", 4, 'unexpected identifier "c" in label matching, expected string'),
        ("a{b}", 3, 'unexpected "}" in label matching, expected label matching operator'),
        ("a{,}", 2, 'unexpected "," in label matching, expected identifier or "}"'),
        ("a{b='c' d='e'}", 8, 'unexpected identifier "d" in label matching, expected "," or "}"'),
        ("a{'b' 'c'}", 6, 'unexpected string "\'c\'" in label matching, expected "," or "}"'),
        ("a{b = = 'c'}", 6, 'unexpected "=" in label matching, expected string'),
        ("a{b=~'*'}", 2, "error parsing regexp: missing argument to repetition operator: `*`"),
        ("a{b!~'(x'}", 2, "error parsing regexp: missing closing ): `(x`"),
        # grouping
        ("sum without(==)(a)", 12, "unexpected <op:==> in grouping opts, expected label"),
        ("sum without(a,,)(b)", 14, 'unexpected "," in grouping opts, expected label'),
        ("sum by (without)(a)", 8, "unexpected <without> in grouping opts, expected label"),
        ("sum by ('')(a)", 8, 'invalid label name for grouping: ""'),
        ("sum by (a b)(c)", 10, 'unexpected identifier "b" in grouping opts, expected "," or ")"'),
        ("sum (a) by b", 11, 'unexpected identifier "b" in grouping opts, expected "("'),
        # aggregations
        ("sum a by (b)", 4, 'unexpected identifier "a"'),
        ("sum (a) without (b) by (c)", 20, "unexpected <by>"),
        ("sum (1 + )", 9, 'unexpected ")" in aggregation'),
        ("sum by (a) b", 11, 'unexpected identifier "b" in aggregation'),
        ("sum(rate(a b))", 11, 'unexpected identifier "b" in aggregation'),
        ("sum(a)) ", 7, "unexpected right parenthesis ')'"),
        ("sum () by (b)", 0, "no arguments for aggregate expression provided"),
        ("topk(a)", 0, "wrong number of arguments for aggregate expression provided, expected 2, got 1"),
        ("sum(a, b)", 0, "wrong number of arguments for aggregate expression provided, expected 1, got 2"),
        ("topk(a,)", 6, "trailing commas not allowed in function call args"),
        # calls
        ("rate(a, *)", 6, "trailing commas not allowed in function call args"),
        ("f(1)", 0, 'unknown function with name "f"'),
        ("RATE(a[5m])", 0, 'unknown function with name "RATE"'),
        # ranges and subqueries
        ("a[]", 2, f'unexpected "]" in subquery or range selector, {WANTED}'),
        ("a[step]", 6, f'unexpected "]" in subquery or range selector, {WANTED}'),
        ("a[5m 5m]", 5, 'unexpected duration "5m" in subquery or range, expected ":" or "]"'),
        ("a[5m:1m 1m]", 8, 'unexpected duration "1m" in subquery selector, expected "]"'),
        ("a[5m:*]", 5, 'unexpected <op:*> in subquery selector, expected number, duration, step(), range(), or "]"'),
        ("a[5m1h]", 2, 'not a valid duration string: "5m1h"'),
        ("a[5y1hs]", 2, 'unknown unit "hs" in duration "5y1hs"'),
        ("a[0m]", 2, "duration must be greater than 0"),
        ("a[-1]", 2, "duration must be greater than 0"),
        ("a[5m:0s]", 5, "duration must be greater than 0"),
        ("a[NaN]", 2, "unexpected character in duration expression: 'N'"),
        ("a[9.5e10]", 2, "duration out of range"),
        ("99999999999999999999s", 0, 'not a valid duration string: "99999999999999999999s"'),
        ("a[5s/0d]", 4, "division by zero"),
        ("a[5s%0]", 4, "modulo by zero"),
        ("(a + b)[5m]", 7, "ranges only allowed for vector selectors"),
        ("a offset 1m[5m]", 11, "no offset modifiers allowed before range"),
        ("a offset step()[5m]", 15, "no offset modifiers allowed before range"),
        ("a @ 1 [5m]", 6, "no @ modifiers allowed before range"),
        # offset and @
        ("a offset", 8, f"unexpected end of input in offset, {WANTED}"),
        ("a offset b", 9, f'unexpected identifier "b" in offset, {WANTED}'),
        ("1 offset 1d", 0, "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery"),
        ("a offset 1s offset 2s", 0, "offset may not be set multiple times"),
        ("rate(a[5m]) @ 1", 0, "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery"),
        ("a @ 1 @ end()", 0, "@ <timestamp> may not be set multiple times"),
        ("a @", 3, "unexpected end of input in @, expected timestamp"),
        ("a @ start", 9, "unexpected end of input in @, expected timestamp"),
        ("a @ +Inf", 0, "timestamp out of bounds for @ modifier: +Inf"),
        ("a @ -Inf", 0, "timestamp out of bounds for @ modifier: -Inf"),
        ("a @ NaN", 0, "timestamp out of bounds for @ modifier: NaN"),
        ("a @ 1e19", 0, "timestamp out of bounds for @ modifier: 10000000000000000000.000000"),
        ("1e999", 0, 'error parsing number: strconv.ParseFloat: parsing "1e999": value out of range'),
    ],
)  # fmt: skip
def test_the_first_error_is_the_one_that_prometheus_shows(text: str, where: int, message: str) -> None:
    """Message and offset agree."""
    with pytest.raises(QueryParseError) as caught:
        parse(text)
    assert (caught.value.start, caught.value.message) == (where, message)
    assert caught.value.start <= caught.value.end <= len(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", '1:3: parse error: unexpected identifier "b"'),
        ("a +\n  b c", '2:5: parse error: unexpected identifier "c"'),
        ("", "unknown position: parse error: no expression found in input"),
    ],
)
def test_errors_show_line_and_column(text: str, shown: str) -> None:
    """Both count from 1, as Grafana expects them."""
    with pytest.raises(QueryParseError) as caught:
        parse(text)
    assert str(caught.value) == shown


@pytest.mark.parametrize(
    ("text", "feature", "where", "message"),
    [
        ("info(a)", "promql-experimental-functions", 0, 'function "info" is not enabled'),
        ("1 + step()", "promql-experimental-functions", 4, 'function "step" is not enabled'),
        (
            "limitk(1, a)",
            "promql-experimental-functions",
            0,
            "limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        ),
        ("a anchored", "promql-extended-range-selectors", 0, "anchored modifier is experimental and not enabled"),
        ("rate(a[5m] smoothed)", "promql-extended-range-selectors", 5, "smoothed modifier is experimental and not enabled"),
        ("a + fill(0) b", "promql-binop-fill-modifiers", 0, "binop fill modifiers are experimental and not enabled"),
    ],
)  # fmt: skip
def test_gates(text: str, feature: str, where: int, message: str) -> None:
    """Experimental syntax needs its feature, and then parses."""
    with pytest.raises(QueryParseError) as caught:
        parse(text)
    assert (caught.value.start, caught.value.message) == (where, message)
    parse(text, features=frozenset((feature,)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a[5m:] anchored", "anchored modifier is not supported for subqueries"),
        ("1 smoothed", "smoothed modifier not implemented"),
        ("a anchored smoothed", "anchored and smoothed modifiers cannot be used together"),
    ],
)
def test_extended_ranges_are_for_selectors(text: str, message: str) -> None:
    """And only one of them at a time."""
    with pytest.raises(QueryParseError) as caught:
        parse(text, features=frozenset(("promql-extended-range-selectors",)))
    assert caught.value.message == message
