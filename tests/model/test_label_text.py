"""Label sets as people write them."""

from __future__ import annotations

import pytest

from tinyobs.model.label_text import read_labels
from tinyobs.model.labels import NAME, from_mapping


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('up{job="a"}', {NAME: "up", "job": "a"}),
        ('{job="a", b.c="d"}', {"job": "a", "b.c": "d"}),
        ('{"my name", "x y"="z"}', {NAME: "my name", "x y": "z"}),
        ('{"job": "a", "x y": ""}', {"job": "a"}),
        (" up ", {NAME: "up"}),
        ('{"a": "x\\ud800", "é": "ü"}', {"a": "x\ufffd", "é": "ü"}),
        ("{}", {}),
    ],
)
def test_label_sets_are_read(text: str, labels: dict[str, str]) -> None:
    """Both as Prometheus shows them and as JSON."""
    assert read_labels(text) == from_mapping(labels)


@pytest.mark.parametrize(
    "text", ['{a=~"b"}', '{a="1" or b="2"}', '{a="1",a="2"}', "{", '{"a": 1}', '{"": "x"}', "", "up{"]
)
def test_what_is_no_label_set(text: str) -> None:
    """The message says so, or what a label set is."""
    with pytest.raises(ValueError, match=r"is not a label set|JSON object|valid label name"):
        read_labels(text)
