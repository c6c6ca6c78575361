"""Values out of JSON that a server sent."""

from __future__ import annotations

import pytest

from tinyobs.discovery.addresses import host_port
from tinyobs.discovery.answers import Fields, objects
from tinyobs.discovery.refreshing import DiscoveryError

ANSWER = Fields(
    {
        "text": "t",
        "number": 3,
        "flag": True,
        "texts": ["a", "b"],
        "pairs": {"a": "b"},
        "object": {"text": "inner"},
        "objects": [{"text": "1"}, None],
        "null": None,
    }
)


def test_values_of_the_wanted_type() -> None:
    """Each is returned as it is; null in a list of objects is an empty one."""
    assert (ANSWER.text("text"), ANSWER.number("number"), ANSWER.flag("flag")) == ("t", 3, True)
    assert (ANSWER.texts("texts"), ANSWER.pairs("pairs")) == (["a", "b"], {"a": "b"})
    assert ANSWER.fields("object").text("text") == "inner"
    assert [item.text("text") for item in ANSWER.items("objects")] == ["1", ""]
    assert ("text" in ANSWER, "null" in ANSWER, "none" in ANSWER) == (True, False, False)


@pytest.mark.parametrize("key", ["none", "null"])
def test_what_is_missing_is_empty(key: str) -> None:
    """Or null, as Go writes empty lists."""
    assert (ANSWER.text(key), ANSWER.number(key), ANSWER.flag(key)) == ("", 0, False)
    assert (ANSWER.texts(key), ANSWER.pairs(key), ANSWER.items(key)) == ([], {}, [])
    assert ANSWER.fields(key).text("x") == ""


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda: ANSWER.text("number"), "number of the answer is not a text but a number"),
        (lambda: ANSWER.number("flag"), "flag of the answer is not a whole number but a truth value"),
        (lambda: ANSWER.flag("text"), "text of the answer is not true or false but a text"),
        (lambda: ANSWER.texts("pairs"), "pairs of the answer is not a list of texts but an object"),
        (lambda: ANSWER.pairs("texts"), "texts of the answer is not an object of texts but a list"),
        (lambda: ANSWER.fields("texts"), "texts of the answer is no object but a list"),
        (lambda: ANSWER.items("text"), "text of the answer is no list but a text"),
        (lambda: ANSWER.fields("object").number("text"), "text of object of the answer is not a whole number"),
        (lambda: ANSWER.items("texts"), "item 0 of texts of the answer is no object but a text"),
        (lambda: objects({}, "containers"), "containers is no list but an object"),
        (lambda: Fields([]), "the answer is no object but a list"),
    ],
)
def test_another_type_is_an_error(ask: object, text: str) -> None:
    """It names the place, and not the value."""
    with pytest.raises(DiscoveryError) as caught:
        ask()  # type: ignore[operator]
    assert str(caught.value).startswith(text)


def test_addresses() -> None:
    """An IPv6 address stands in brackets."""
    assert [host_port("h", 1), host_port("::1", "2")] == ["h:1", "[::1]:2"]
