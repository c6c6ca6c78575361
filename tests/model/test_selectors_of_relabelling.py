"""Selectors of relabelling rules: the same as PromQL's where both can be written, and never a crash."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinyobs.errors import QueryParseError
from tinyobs.model.labels import quote
from tinyobs.model.selectors import Selector
from tinyobs.promql.parser import parse_selector

names = st.from_regex(r"x[a-zA-Z0-9_]{0,5}", fullmatch=True)
"""None of them is a keyword."""
values = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=6)
matchers = st.tuples(names, st.sampled_from(["=", "!="]), values)


@given(st.none() | names, st.lists(matchers, max_size=3))
def test_selectors_are_read_as_promql_reads_them(name: str | None, given_matchers: list[tuple[str, str, str]]) -> None:
    """Names, operators and values with any characters in quotes."""
    text = (name or "") + "{" + ",".join(f"{n}{op}{quote(v)}" for n, op, v in given_matchers) + "}"
    try:
        wanted = parse_selector(text)
    except QueryParseError:
        return  # PromQL wants a matcher that excludes something, and no second name
    found = Selector(text).alternatives
    assert sorted(map(str, found[0] if found else ())) == sorted(map(str, wanted))


@given(st.text(max_size=20) | st.text(alphabet="ab{}=~!,\"'`\\ or.", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """With `ValueError` and nothing else."""
    try:
        selector = Selector(text)
    except ValueError:
        return
    assert selector.matches(lambda name: "") in (True, False)
