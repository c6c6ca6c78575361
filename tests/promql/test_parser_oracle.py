"""The parser against others: upstream's own test scripts, and another parser of the language.

What `promql_parser` accepts we accept; where it knows better than Prometheus it is not asked.
"""

import os
import re
from pathlib import Path

import promql_parser
import pytest

from tinyobs.errors import QueryParseError
from tinyobs.promql.parser import FEATURE_FILL, FEATURE_FUNCTIONS, parse
from tinyobs.promql.printer import to_text
from tinyobs.promql.selectors import FEATURE_EXTENDED_RANGE

EVERYTHING = frozenset((FEATURE_FILL, FEATURE_FUNCTIONS, FEATURE_EXTENDED_RANGE))
SHARED = Path(os.environ.get("TINYOBS_SHARED", Path(__file__).parents[3] / "shared"))
SCRIPTS = SHARED / "promqltest"

_EVAL = re.compile(
    r"\s*eval(?:_\w+)?\s+(?:instant(?:\s+at\s+\S+)?|range\s+from\s+\S+\s+to\s+\S+\s+step\s+\S+)\s+(.*\S)\s*"
)
BEYOND_THE_OTHER_PARSER = re.compile(
    r"smoothed|anchored|</|>/|\d_\d|info\(|\(\?i\)"  # syntax it does not know
    r"|\[[^\]]*[a-z+*/%^(-][^\]]*\(|\[[^\]]*\d[a-z]*\s*[-+*/%^]|offset\s*[-+]?\s*(?:\(|step|range|min_of|max_of)"  # computed durations
    r"|start_timestamp|min_of|max_of|\b(?:start|end|step|range)\(\)",  # functions it does not know
    re.IGNORECASE,
)


def queries() -> list[str]:
    """Return the distinct queries of the scripts."""
    if not SCRIPTS.is_dir():
        pytest.skip("upstream's test scripts are not there (set TINYOBS_SHARED)")
    found = set()
    for script in sorted(SCRIPTS.glob("*.test")):
        for line in script.read_text().splitlines():
            if match := _EVAL.fullmatch(line):
                found.add(match[1])
    assert len(found) > 1000
    return sorted(found)


def test_all_queries_of_the_scripts_parse_and_print() -> None:
    """Those that fail upstream fail in evaluation only; printing once is enough."""
    for query in queries():
        printed = to_text(parse(query, features=EVERYTHING))
        assert to_text(parse(printed, features=EVERYTHING)) == printed


def test_the_other_parser_accepts_the_same_queries() -> None:
    """Outside the syntax that it does not know, both accept the queries of the scripts."""
    asked = [query for query in queries() if not BEYOND_THE_OTHER_PARSER.search(query)]
    assert len(asked) > 1000
    rejected = [query for query in asked if not accepted_by_other(query)]
    assert rejected == []


def accepted_by_other(query: str) -> bool:
    """Ask the other parser."""
    try:
        promql_parser.parse(query)
    except ValueError:
        return False
    return True


def accepted(query: str) -> bool:
    """Ask ours, with all gates open."""
    try:
        parse(query, features=EVERYTHING)
    except QueryParseError:
        return False
    return True


@pytest.mark.parametrize(
    "query",
    [
        "a{b='c'", "a{b==c}", "sum(", "sum(a) by", "rate(a)", "rate(a[5m]", "a[5m] + 1", "1 == 1", "a and 1", "topk(a)",
        "a offset", "a @", "f(a)", "a[]", "a[5m][5m]", "'a' + 'b'", "-'a'", "a + on(b) group_left(b) c", "a{}b", "{}",
        "a or on(b) group_left(c) d", "label_replace(a, 'b')", "sum by (a b) (c)", "a ~ b", "1 + + ", "a[5m:1m",
        "a + bool b", "count_values(1, a)", "hour(a, b)", "a{b=~'('}", "sum(a,)", "a[5m1h]", "a offset 1s offset 1s",
    ],
)  # fmt: skip
def test_both_reject(query: str) -> None:
    """Broken and ill-typed queries are rejected by both."""
    assert not accepted_by_other(query)
    assert not accepted(query)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("{a='b' or c='d'}", "an extension of VictoriaMetrics"),
        ("info(a, {b='c'} == 1)", "the second argument must be a selector"),
        ("a[9.5e10]", "longer than Go's durations"),
    ],
)
def test_known_differences(query: str, why: str) -> None:
    """What Prometheus rejects we reject, though the other parser does not."""
    assert not accepted(query), why
