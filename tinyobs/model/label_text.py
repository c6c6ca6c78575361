"""A label set as people write it: `name{a="b"}`, `{a="b"}`, or a JSON object of texts."""

from __future__ import annotations

import json
import re
from typing import Final

from .labels import Labels, from_mapping
from .matchers import MatchType
from .selectors import Selector

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def read_labels(text: str) -> Labels:
    """Return the labels that a text says; empty values are left out.  Raises `ValueError`."""
    text = text.strip()
    if text.startswith("{") and (read := _from_json(text)) is not None:
        return read
    try:
        alternatives = Selector(text).alternatives
    except ValueError as e:
        raise ValueError(str(e).replace("is not a series selector", "is not a label set")) from None
    matchers = alternatives[0] if alternatives else ()
    if len(alternatives) > 1 or any(m.type is not MatchType.EQUAL for m in matchers):
        raise ValueError(f'{text!r} is not a label set: each label must be given as name="value"')
    found: dict[str, str] = {}
    for m in matchers:
        if found.setdefault(m.name, m.value) != m.value:
            raise ValueError(f"{text!r} is not a label set: {m.name} has two values")
    return from_mapping({k: v for k, v in found.items() if v})


def _from_json(text: str) -> Labels | None:
    """Return the labels of a JSON object, None when the text is no JSON."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return labels_of_json(read)


def labels_of_json(read: object) -> Labels:
    """Return the labels of what JSON says, none of null; raises `ValueError` for anything but an object of texts."""
    if read is None:
        return ()
    if not isinstance(read, dict) or not all(isinstance(v, str) for v in read.values()):
        raise ValueError("labels must be a JSON object whose values are texts")
    if "" in read:
        raise ValueError('"" is not a valid label name')
    return from_mapping({_whole(k): _whole(v) for k, v in read.items() if v})


def _whole(text: str) -> str:
    """Return a text with halves of characters, which JSON can write and UTF-8 cannot, replaced as Go does."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
