"""Names of labels made from names that others chose: tags, keys of metadata, labels of containers."""

from __future__ import annotations

import re
from typing import Final

_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_]")


def sanitize_label_name(name: str) -> str:
    """Return a name with a `_` for each character that a label may not have.

    A first digit stays, so it is for what comes behind a prefix: `"__meta_consul_metadata_" + sanitize_label_name(key)`.
    Same as `strutil.SanitizeLabelName` of Prometheus.
    """
    return _FOREIGN.sub("_", name)
