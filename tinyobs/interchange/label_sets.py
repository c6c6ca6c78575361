"""Label sets from files: checked as those that come over the wire are, and remembered by how they were written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..model.labels import NAME, Labels, from_mapping

LABELS_MAX: Final = 1024
"""Labels that a series may have."""
LABEL_CHARACTERS_MAX: Final = 1 << 20
"""Characters in a label's name or value."""


def labels_of(mapping: Mapping[str, str]) -> Labels:
    """Return the label set of names and values; raises `ValueError` where it can be none."""
    labels = from_mapping(mapping)
    if not mapping.get(NAME):
        raise ValueError("a series has no metric name (label __name__)")
    if len(labels) > LABELS_MAX:
        raise ValueError(f"more than {LABELS_MAX} labels")
    for name, value in labels:
        if not name:
            raise ValueError("a label has no name")
        if len(name) > LABEL_CHARACTERS_MAX or len(value) > LABEL_CHARACTERS_MAX:
            raise ValueError(f"a label longer than {LABEL_CHARACTERS_MAX} characters")
        try:
            name.encode(), value.encode()
        except UnicodeEncodeError:
            raise ValueError("a label is not valid UTF-8") from None
    return labels
