"""The decoder: types from annotations, all problems in one run."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
from attrs import field, frozen, validators

from tinyobs.config.decoder import BROKEN, Decoder, decode_text
from tinyobs.config.encoder import to_plain
from tinyobs.config.fields import Fault, FilePath, Url, group, inline, setting, unsupported
from tinyobs.config.yaml_tree import parse_tree
from tinyobs.errors import ConfigError
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret
from tinyobs.model.sizes import SizeBytes


class Color(StrEnum):
    """An Enum without words of its own."""

    RED = "red"
    BLUE = "blue"


@frozen(kw_only=True)
class Inner:
    """Keys that stand among the outer ones."""

    low_limit: int = setting(default=1, low=1, high=10)
    word: str = ""


@frozen(kw_only=True)
class Sample:
    """One field of every kind."""

    name: str = setting()
    wait_ms: DurationMs = setting("wait", default=DurationMs(1000))
    size_bytes: SizeBytes = setting("size", default=SizeBytes(0))
    password: Secret = setting(default=Secret())
    url: Url | None = setting(default=None)
    file: FilePath = setting(default=FilePath(""))
    color: Color = Color.RED
    share: float = 0.5
    on: bool = field(default=False, metadata={"key": "enabled"})
    words: tuple[str, ...] = ()
    pairs: tuple[tuple[str, int], ...] = ()
    inner: Inner = inline(Inner)
    nested: Inner | None = setting(default=None)
    later: Any = unsupported()
    later_limit: int = unsupported(default=0)
    extra: tuple[tuple[str, Any], ...] = group("extra")
    hidden: int = field(default=7, metadata={"key": None})

    def faults(self) -> Iterator[Fault]:
        """Refuse one name."""
        if self.name == "evil":
            yield Fault("no evil names", "name")


def decode(text: str, folder: str = "/etc/t") -> Sample:
    """Return the value of a text, or raise with all problems."""
    return decode_text(Sample, text, "f.yml", folder)


def problems(text: str) -> list[str]:
    """Return the problems of a text, as printed."""
    with pytest.raises(ConfigError) as e:
        decode(text)
    return [str(p) for p in e.value.problems]


def test_every_type_is_read() -> None:
    """Values have the annotated types; mappings are sorted pairs; paths start at the folder."""
    value = decode(
        "{name: 5, wait: 1m, size: 1KB, password: p, url: 'http://u:pw@h/p', file: x/../y, color: blue, share: 1e-1,"
        " enabled: yes, words: [1.10, no, null], pairs: {b: 0x10, a: 1_000}, low_limit: 3, nested: {word: w},"
        " later: [], later_limit: 0}"
    )
    assert value == Sample(
        name="5",
        wait_ms=DurationMs(60_000),
        size_bytes=SizeBytes(1024),
        password=Secret("p"),
        url=Url("http://u:pw@h/p"),
        file=FilePath("/etc/t/y"),
        color=Color.BLUE,
        share=0.1,
        on=True,
        words=("1.10", "no", ""),
        pairs=(("a", 1000), ("b", 16)),
        inner=Inner(low_limit=3),
        nested=Inner(word="w"),
    )


def test_null_means_the_default_except_for_text() -> None:
    """A key without a value is as if it were not there; in a text field it is the empty text."""
    value = decode("{name: , wait: , words: , color: ~, nested: null, password: , later: }")
    assert value == Sample(name="")


def test_all_problems_are_found_in_one_run() -> None:
    """Every fault has its position, the path and, where a known name is close, a suggestion."""
    text = """\
wait: 5 minutes
size: 5
url: ftp://x
color: green
share: "1"
enabled: maybe
words: x:1
pairs: [a]
low_limit: 11
nested: {word: [a], wrod: b}
later: {x: 1}
later_limit: 2
nmae: x
"""
    assert problems(text) == [
        "f.yml:1:1: missing key 'name'",
        'f.yml:1:7: not a valid duration string: "5 minutes" (at .wait)',
        'f.yml:2:7: units: unknown unit "" in "5" (write for example 512MB) (at .size)',
        "f.yml:3:6: expected an http or https URL, got 'ftp://x' (at .url)",
        "f.yml:4:8: expected one of red, blue, got 'green' (at .color)",
        "f.yml:5:8: expected a number, got the text '1' (at .share)",
        "f.yml:6:10: expected true or false, got 'maybe' (at .enabled)",
        "f.yml:7:8: expected a list, got 'x:1' (at .words)",
        "f.yml:8:8: expected a mapping, got a list (at .pairs)",
        "f.yml:9:12: must be between 1 and 10, got '11' (at .low_limit)",
        "f.yml:10:16: expected text, got a list (at .nested.word)",
        "f.yml:10:21: unknown key 'wrod', did you mean 'word'? (at .nested)",
        "f.yml:11:8: later is not supported yet by this version (at .later)",
        "f.yml:12:14: later_limit is not supported yet by this version (at .later_limit)",
        "f.yml:13:1: unknown key 'nmae', did you mean 'name'?",
    ]


def test_faults_of_the_class_point_at_their_key() -> None:
    """What the class itself refuses is reported at the key it names."""
    assert problems("wait: 1s\nname: evil\n") == ["f.yml:2:7: no evil names (at .name)"]


@frozen(kw_only=True)
class Validated:
    """A class of a plugin whose author relies on attrs."""

    mode: str = field(default="a", validator=validators.in_(("a", "b")), metadata={"key": "run_mode"})


def test_validators_of_attrs_point_at_their_key() -> None:
    """A plugin may use them instead of `faults()`."""
    with pytest.raises(ConfigError) as e:
        decode_text(Validated, "run_mode: c", "f.yml")
    assert [str(p) for p in e.value.problems] == ["f.yml:1:11: 'mode' must be in ('a', 'b') (got 'c') (at .run_mode)"]


def test_groups_take_the_keys_that_plugins_add() -> None:
    """A key of a group is decoded by its own type; a reason instead of a type refuses it."""
    groups: dict[str, dict[str, Any]] = {"extra": {"probe": Inner, "gone": "is switched off"}}
    root, _ = parse_tree("name: a\nprobe: {word: w}\n", "f")
    assert root is not None
    decoder = Decoder("f", groups=groups)
    assert decoder.decode(root, Sample, "") == Sample(name="a", extra=(("probe", Inner(word="w")),))
    root, _ = parse_tree("name: a\ngone: [1]\nprob: {}\n", "f")
    assert root is not None
    decoder = Decoder("f", groups=groups)
    assert decoder.decode(root, Sample, "") is BROKEN
    assert [p.message for p in decoder.problems] == [
        "unknown key 'prob', did you mean 'probe'?",
        "gone is switched off",
    ]


def test_a_hidden_field_is_no_key() -> None:
    """A field without key can be set by code only."""
    assert problems("{name: a, hidden: 1}") == ["f.yml:1:11: unknown key 'hidden'"]


@pytest.mark.parametrize("text", ["5", "[1]", "text", '"q"'])
def test_the_root_must_be_a_mapping(text: str) -> None:
    """Anything else is one clear problem."""
    assert "expected a mapping, got" in problems(text)[0]


def test_long_texts_are_cut_in_messages() -> None:
    """A message does not repeat a whole file."""
    assert len(problems(f"{{name: a, words: {'x' * 100_000}}}")[0]) < 200


def test_values_are_shown_with_their_units_and_masked() -> None:
    """The encoder writes what the decoder reads; secrets and passwords do not show; zero values are left out."""
    shown = to_plain(decode("{name: a, wait: 90s, password: p, url: 'http://u:pw@h:1/p', pairs: {a: 1}, word: w}"))
    assert shown == {
        "name": "a",
        "wait": "1m30s",
        "password": "<secret>",
        "url": "http://u:xxxxx@h:1/p",
        "color": "red",
        "share": 0.5,
        "pairs": {"a": 1},
        "low_limit": 1,
        "word": "w",
    }
