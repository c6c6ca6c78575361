"""The tree of YAML nodes: positions, bounds, faults."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.config import yaml_tree
from tinyobs.config.yaml_tree import ListNode, MappingNode, Node, Scalar, parse_tree


def plain(node: Node | None) -> object:
    """Return a tree as Python values, every scalar as its text."""
    if isinstance(node, MappingNode):
        return {k: plain(v) for k, v in node.pairs.items()}
    if isinstance(node, ListNode):
        return [plain(v) for v in node.items]
    return None if node is None else node.text


def messages(text: str | bytes) -> list[str]:
    """Return the problems of a text as `line:column: message`."""
    return [f"{p.line}:{p.column}: {p.message}" for p in parse_tree(text, "f")[1]]


def test_nodes_know_their_place_and_text() -> None:
    """Nothing is interpreted, and quotes are remembered."""
    root, problems = parse_tree('a: 1.10\nb:\n  - no\n  - "5"\n', "f")
    assert not problems
    assert plain(root) == {"a": "1.10", "b": ["no", "5"]}
    assert isinstance(root, MappingNode)
    listed = root.pairs["b"]
    assert isinstance(listed, ListNode)
    assert [(n.line, n.column, n.plain) for n in listed.items if isinstance(n, Scalar)] == [(3, 5, True), (4, 5, False)]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", b"\xef\xbb\xbf"])
def test_empty_texts(text: str | bytes) -> None:
    """A text without content has no root, or null, and no problem."""
    root, problems = parse_tree(text, "f")
    assert not problems
    assert root is None or (isinstance(root, Scalar) and root.is_null)


def test_aliases_and_merge_keys() -> None:
    """An alias stands for its node; merged keys give way to the mapping's own."""
    root, problems = parse_tree("x: &a {k: 1, l: 2}\ny: *a\nz: {<<: *a, k: 3}\nw: {<<: [*a, {m: 4}]}\n", "f")
    assert not problems
    one = {"k": "1", "l": "2"}
    assert plain(root) == {"x": one, "y": one, "z": {"k": "3", "l": "2"}, "w": {"k": "1", "l": "2", "m": "4"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1: duplicate key 'a', first at line 1"),
        ("a: 1\n---\nb: 2\n", "2:1: more than one YAML document"),
        ("a: &x [*x]\n", "1:8: the alias '*x' is part of what it stands for"),
        ("a: !foo 1\n", "1:4: the tag '!foo' is not supported"),
        ("a: !!binary aGk=\n", "1:4: the tag 'tag:yaml.org,2002:binary' is not supported"),
        ("? [a]\n: 1\n", "1:3: a key must be text"),
        ("a: {<<: 1}\n", "1:5: a merge key needs a mapping or a list of mappings"),
        (b"a: \xff\n", "1:1: not UTF-8"),
        ("a: \ud800\n", "0:0: not UTF-8"),
    ],
)
def test_faults(text: str | bytes, message: str) -> None:
    """Each fault is reported at its place."""
    assert message in messages(text)


@pytest.mark.parametrize("text", ["a: [1, 2", "a: *nope", "\tx: 1", "a: b: c", "a: '", "%x\n---\n", "a: \x00"])
def test_syntax_errors(text: str) -> None:
    """What is no YAML gives one problem that says so."""
    (problem,) = parse_tree(text, "f")[1]
    assert problem.message.startswith("invalid YAML: ")


def test_nesting_is_bounded() -> None:
    """Deep nesting is refused before it can exhaust the stack."""
    assert messages("[" * 60 + "]" * 60) == []
    assert messages("[" * 900) == ["1:65: nested deeper than 64 levels"]
    # Newer releases of PyYAML have a limit of their own, which its scanner meets first.
    assert messages("[" * 100_000)[0].split(": ")[1] in ("nested deeper than 64 levels", "invalid YAML")


def test_aliases_cannot_nest_deeper() -> None:
    """What an alias stands for counts as if it stood there."""
    inner = "a: &a " + "[" * 40 + "]" * 40 + "\n"
    assert messages(inner + "b: " + "[" * 23 + "*a" + "]" * 23) == []
    assert messages(inner + "b: " + "[" * 24 + "*a" + "]" * 24) == ["2:28: nested deeper than 64 levels"]


def test_aliases_cannot_multiply() -> None:
    """Ten levels of ten aliases each are refused, since they would stand for billions of nodes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (message,) = messages("\n".join(lines))
    assert "more than 1000000 nodes" in message


def test_length_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text beyond the limit is not read."""
    monkeypatch.setattr(yaml_tree, "TEXT_BYTES_MAX", 10)
    assert messages("a: 0123456789") == ["0:0: longer than 10 bytes"]


@settings(deadline=None)
@given(st.text(alphabet="ab:- \n[]{},&*!'\"<|>#?%\t0~", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail: there is a tree or there are problems."""
    root, problems = parse_tree(text, "f")
    assert root is not None or problems or not text.strip() or plain(root) is None


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """The same for bytes."""
    parse_tree(data, "f")
