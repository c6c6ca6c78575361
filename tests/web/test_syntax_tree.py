"""`/parse_query`: the JSON of each kind of node."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tinyobs.promql.nodes import Expr
from tinyobs.promql.parser import parse
from tinyobs.web.api_v1.pace import INLINE_TEXT_MAX
from tinyobs.web.api_v1.syntax_tree import to_json


def selector(name: str, **more: Any) -> dict[str, Any]:
    """Return the JSON of a plain selector."""
    return {
        "type": "vectorSelector",
        "name": name,
        "offset": 0,
        "matchers": [{"name": "__name__", "value": name, "type": "="}],
        "timestamp": None,
        "startOrEnd": None,
        "anchored": False,
        "smoothed": False,
        **more,
    }


NO_FILL = {"lhs": None, "rhs": None}


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("a @ 1.5", selector("a", timestamp=1500)),
        ("a[5m] offset 1m", selector("a", type="matrixSelector", range=300_000, offset=60_000)),
        ("1e-7", {"type": "numberLiteral", "val": "0.0000001"}),
        ("'x'", {"type": "stringLiteral", "val": "x"}),
        ("-(a)", {"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": selector("a")}}),
        (
            "a[1h:] @ end()",
            {
                "type": "subquery",
                "expr": selector("a"),
                "range": 3_600_000,
                "step": 0,
                "offset": 0,
                "timestamp": None,
                "startOrEnd": "end",
            },
        ),
        (
            "round(a)",
            {
                "type": "call",
                "func": {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"},
                "args": [selector("a")],
            },
        ),
        (
            "topk without (b) (2, a)",
            {
                "type": "aggregation",
                "op": "topk",
                "expr": selector("a"),
                "param": {"type": "numberLiteral", "val": "2"},
                "grouping": ["b"],
                "without": True,
            },
        ),
        (
            "a > bool on (b) group_left (c) d",
            {
                "type": "binaryExpr",
                "op": ">",
                "lhs": selector("a"),
                "rhs": selector("d"),
                "matching": {
                    "card": "many-to-one",
                    "labels": ["b"],
                    "on": True,
                    "include": ["c"],
                    "fillValues": NO_FILL,
                },
                "bool": True,
            },
        ),
    ],
)
def test_each_kind_of_node(query: str, tree: dict[str, Any]) -> None:
    """Names and shapes are those that Prometheus's own pages read."""
    assert to_json(parse(query)) == tree


def test_matching_is_shown_between_vectors_only() -> None:
    """Two vectors match one to one by default; with a scalar nothing is matched."""
    assert to_json(parse("a + b"))["matching"]["card"] == "one-to-one"
    assert to_json(parse("a + 1"))["matching"] is None


def test_every_tree_is_json() -> None:
    """Special numbers are text, as values are everywhere."""
    assert json.loads(json.dumps(to_json(parse("vector(NaN) + Inf"))))["rhs"] == {
        "type": "numberLiteral",
        "val": "+Inf",
    }


def test_a_node_of_unknown_kind_is_a_bug() -> None:
    """A new kind of node must be added here as well."""
    with pytest.raises(AssertionError, match="unknown kind"):
        to_json(Expr())


async def test_the_endpoint_gives_the_tree_or_the_error(make_client: Any) -> None:
    """GET and POST; a query that cannot be read is refused as elsewhere."""
    client = make_client(parse=parse)
    assert (await client.get("/api/v1/parse_query?query=1")).json()["data"] == {"type": "numberLiteral", "val": "1"}
    assert (await client.post("/api/v1/parse_query", data={"query": "1 +"})).status_code == 400


@pytest.mark.parametrize("path", ["parse_query", "format_query"])
async def test_a_long_text_is_read_in_a_thread(make_client: Any, path: str) -> None:
    """A short one is read in the event loop; errors are the same."""
    inline: list[bool] = []

    def noting(text: str) -> Expr:
        inline.append(threading.current_thread() is threading.main_thread())
        return parse(text)

    client = make_client(parse=noting, format=lambda expr: "text")
    for text, status in (("1", 200), ("1" + " " * INLINE_TEXT_MAX, 200), ("1 +" + " " * INLINE_TEXT_MAX, 400)):
        assert (await client.post(f"/api/v1/{path}", data={"query": text})).status_code == status
    assert inline == [True, False, False]
