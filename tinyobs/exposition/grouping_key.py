"""The grouping key of a push: the labels in the path of its URL.

    job/<JOB>{/<LABEL>/<VALUE>}        a name with the suffix `@base64` has its value in base64 for URLs (RFC 4648, 5)

Source of the rules: prometheus/pushgateway handler/push.go (`splitLabels`), README "URL".  Pure.  The last value may be empty:
a path that ends in a slash.  An empty component elsewhere, which upstream's router answers with a redirect that pushes
nothing, is refused with a sentence.
"""

from __future__ import annotations

import base64
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from ..errors import WireError
from ..model.labels import Labels, is_legacy_label_name

BASE64_SUFFIX: Final = "@base64"
JOB: Final = "job"
INSTANCE: Final = "instance"
PATH_BYTES_MAX: Final = 16_384
"""Longest path of a grouping key, in bytes as sent."""
LABELS_MAX: Final = 128
"""Labels that a grouping key may have."""

RESERVED: Final = "__"
"""What label names do not begin with."""

_BASE64 = re.compile(r"[A-Za-z0-9_-]*\Z")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED: Final = "U__"
_ESCAPE = re.compile(r"__|_([0-9a-fA-F]{1,6})_")


def grouping_key(path: bytes, *, utf8_names: bool = False) -> Labels:
    """Return the labels of a path from `job` on, sorted; unlike other label sets it may have empty values.

    path: as sent, still percent-encoded.  utf8_names: label names may be written in upstream's escaping (`U__...`).  Raises
    `WireError`.
    """
    if len(path) > PATH_BYTES_MAX:
        raise WireError(f"the path has more than {PATH_BYTES_MAX} bytes")
    if _BAD_PERCENT.search(path):
        raise WireError("invalid percent encoding in the path")
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise WireError("the path is not UTF-8") from None
    parts = text.split("/")
    if len(parts) == 3 and not parts[2]:
        del parts[2]  # upstream's pattern allows one slash behind the job
    if len(parts) % 2 and len(parts) > 1:
        raise WireError(f'odd number of components in label string "/{"/".join(parts[2:])}"')
    if "" in (parts[:-1] if len(parts) > 2 else parts):
        raise WireError("an empty value or a slash in a value must be sent as NAME@base64/VALUE, an empty one as =")
    if len(parts) > 2 * LABELS_MAX:
        raise WireError(f"more than {LABELS_MAX} labels in the path")
    if len(parts) < 2 or parts[0].removesuffix(BASE64_SUFFIX) != JOB:
        raise WireError("job name is required")
    return _labels(parts, utf8_names)


def _labels(parts: list[str], utf8_names: bool) -> Labels:
    labels: dict[str, str] = {}
    for name, value in zip(parts[2::2], parts[3::2], strict=True):
        plain = name.removesuffix(BASE64_SUFFIX)
        real = unescaped(plain) if utf8_names else plain
        if not (real if utf8_names else is_legacy_label_name(real)) or real.startswith(RESERVED):
            raise WireError(f'improper label name "{plain}"')
        labels[real] = value if name == plain else _decoded(value, f"for label {plain}=")
    job = parts[1] if parts[0] == JOB else _decoded(parts[1], "in job name ")
    if not job:
        raise WireError("job name is required")
    labels[JOB] = job
    return tuple(sorted(labels.items()))


def unescaped(name: str) -> str:
    """Return a name whose other characters were written as `_<hex>_`, behind `U__`; any other name as it is.

    Source: prometheus/common model `UnescapeName` with `ValueEncodingEscaping`.
    """
    if not name.startswith(_ESCAPED):
        return name
    out, at, rest = [], 0, name[len(_ESCAPED) :]
    while at < len(rest):
        if rest[at] != "_":
            out.append(rest[at])
            at += 1
            continue
        match = _ESCAPE.match(rest, at)
        code = int(match[1] or "5f", 16) if match is not None else -1
        if match is None or code > 0x10FFFF or 0xD800 <= code < 0xE000:
            return name
        out.append(chr(code))
        at = match.end()
    return "".join(out)


def _decoded(value: str, where: str) -> str:
    bare = value.rstrip("=")
    if not _BASE64.match(bare) or len(bare) % 4 == 1:
        raise WireError(f'invalid base64 encoding {where}"{value[:100]}"')
    try:
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode()
    except UnicodeDecodeError:
        raise WireError(f'what base64 encodes {where}"{value[:100]}" is not UTF-8') from None
