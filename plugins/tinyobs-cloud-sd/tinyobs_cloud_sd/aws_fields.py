"""Fields of AWS' answers in XML -> labels.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from tinyobs.cloud_auth.xml_answers import Element
from tinyobs.discovery.names import sanitize_label_name

_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_FRACTION: Final = re.compile(r"(T\d\d:\d\d:\d\d)\.\d+")


def names_of(fields: str, without: str = "", **others: str) -> dict[str, tuple[str, ...]]:
    """Return label -> path for fields whose label is their own name: `MultiAZ` -> `multi_az`.

    fields: names with blanks between them.  without: a beginning that labels do not have.  others: label -> path with
    dots between its names.
    """
    found = {_WORDS.sub("_", field).lower().removeprefix(without): (field,) for field in fields.split()}
    return found | {label: tuple(path.split(".")) for label, path in others.items()}


def values_of(element: Element, prefix: str, fields: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return a label for each field that is there; times without fractions of a second, as Prometheus writes them."""
    labels = {}
    for name, path in fields.items():
        value = element.value(*path)
        if value is not None:
            is_time = path[-1].endswith(("Time", "Date"))
            labels[prefix + name] = _FRACTION.sub(r"\1", value) if is_time else value
    return labels


def tags_of(tags: Iterable[Element], prefix: str) -> dict[str, str]:
    """Return a label for each tag that has a value."""
    labels = {}
    for tag in tags:
        key, value = tag.value("Key"), tag.value("Value")
        if key is not None and value is not None:
            labels[prefix + sanitize_label_name(key)] = value
    return labels
