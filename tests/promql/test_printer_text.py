"""Printing: the text that Prometheus prints, and lines for people."""

import pytest

from tinyobs.promql.parser import FEATURE_FILL, FEATURE_FUNCTIONS, parse
from tinyobs.promql.printer import pretty, to_text
from tinyobs.promql.selectors import FEATURE_EXTENDED_RANGE

EVERYTHING = frozenset((FEATURE_FILL, FEATURE_FUNCTIONS, FEATURE_EXTENDED_RANGE))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("sum by() (a)", "sum(a)"),
        ("sum without() (a)", "sum without () (a)"),
        ("SUM(a) by (c, 'd.e')", 'sum by (c, "d.e") (a)'),
        ("topk (5,a)", "topk(5, a)"),
        ("a-on()c", "a - on () c"),
        ("a - ignoring() c", "a - c"),
        ("a > bool on(b) group_left c", "a > bool on (b) group_left () c"),
        ("a * ignoring(b) group_right(c,d) e", "a * ignoring (b) group_right (c, d) e"),
        ("a + fill(1e21) b", "a + fill (1e+21) b"),
        ("a + fill_right(-0.5) b", "a + fill_right (-0.5) b"),
        ("a + fill_left(1) fill_right(2) b", "a + fill_left (1) fill_right (2) b"),
        ("a offset 60", "a offset 1m"),
        ("a offset -7m", "a offset -7m"),
        ("a{c='d'}[5m] offset 1m", 'a{c="d"}[5m] offset 1m'),
        ("a offset 1m @ 10", "a @ 10.000 offset 1m"),
        ("a[1m] @ start()", "a[1m] @ start()"),
        ("a[1h:5m] offset 1m @ end()", "a[1h:5m] @ end() offset 1m"),
        ("a[1h:]", "a[1h:]"),
        ("a smoothed offset 1m", "a smoothed offset 1m"),
        ("a[1m] anchored @ 1", "a[1m] anchored @ 1.000"),
        ("a[STEP( )*2]", "a[step() * 2]"),
        ("a[max_of(1m,range())] offset -(5+1)", "a[max_of(1m, range())] offset -(5 + 1)"),
        ("{'a'}", '{__name__="a"}'),
        ("{'a.b', z!~'x', \"y z\"=~'w'}", '{"y z"=~"w",__name__="a.b",z!~"x"}'),
        ("a{}", "a"),
        ("info(a, {})", "info(a, {})"),
        ("'a\"\\n'", '"a\\"\\n"'),
        ("0x10 + 1e20 + .5", "16 + 100000000000000000000 + 0.5"),
        ("90m + inf", "1h30m + +Inf"),
        ("-a ^ +2", "-a ^ 2"),
        ("(a)", "(a)"),
        ("label_replace(a,`b`,'$1','c','(.*)')", 'label_replace(a, "b", "$1", "c", "(.*)")'),
    ],
)
def test_text_is_that_of_prometheus(text: str, printed: str) -> None:
    """One canonical form, which prints as itself."""
    assert to_text(parse(text, features=EVERYTHING)) == printed
    assert to_text(parse(printed, features=EVERYTHING)) == printed


def test_short_expressions_stay_on_one_line() -> None:
    """Up to a hundred characters nothing is broken."""
    assert pretty(parse("sum(rate(a[5m])) by (b) / 2")) == "sum by (b) (rate(a[5m])) / 2"


def test_long_expressions_are_broken() -> None:
    """Operators stand on lines of their own, arguments are indented, as `format_query` of Prometheus does it."""
    name = "a_metric_with_a_rather_long_name_for_it"
    text = (
        f"topk(3, sum by (x) (rate({name}[5m])) / on (x) group_left () -({name} + {name} * {name})) > bool "
        f"label_replace(({name} or max_over_time({name}[1h:1m] @ end())), 'a', 'b', 'c', 'd')"
        f" + max_over_time(sum({name} + {name} + {name})[5m:])"
    )
    lines = [
        "  topk(",
        "    3,",
        f"      sum by (x) (rate({name}[5m]))",
        "    / on (x) group_left ()",
        "      -(",
        f"          {name}",
        "        +",
        f"          {name} * {name}",
        "      )",
        "  )",
        "> bool",
        "    label_replace(",
        "      (",
        f"          {name}",
        "        or",
        f"          max_over_time({name}[1h:1m] @ end())",
        "      ),",
        '      "a",',
        '      "b",',
        '      "c",',
        '      "d"',
        "    )",
        "  +",
        "    max_over_time(",
        "      sum(",
        f"          {name} + {name}",
        "        +",
        f"          {name}",
        "      )[5m:]",
        "    )",
    ]
    assert pretty(parse(text)).split("\n") == lines
