"""Lines of StatsD, with the tags of DogStatsD, InfluxDB, Librato and SignalFX.

    name:value|type[|@rate][|#tag:value,tag:value][|c:container][|Ttimestamp]

A line may have several values of one type (`name:1:2:3|ms`) or several samples (`name:1|c:5|ms|@0.1`); it is taken apart into
pieces of one value each.  What stands around the value, the name and the *tail* behind it, says what the value means: it is
read once and remembered by whoever has many lines (`builtin/statsd/bunches.py`).  Source: prometheus/statsd_exporter
pkg/line/line.go and pkg/mapper/escape.go; docs.datadoghq.com, DogStatsD datagram format.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Final

from attrs import frozen

from .floats import parse_float

TAIL_PARTS_MAX: Final = 7
"""Parts of a tail, between bars."""
MEANING_BYTES_MAX: Final = 8192
"""Longest name and tail together."""
RATE_MIN: Final = 1e-9
"""Smallest rate: a value may stand for a billion of its kind."""
CONTAINER_LABEL: Final = "container_id"

_INVALID = re.compile(r"-+|[^a-zA-Z0-9_]")
_NEXT_SAMPLE = re.compile(rb":(?=[^:|]+\|(?:ms|c|g|h|d|s)(?:[|:]|\Z))")


class Kind(StrEnum):
    """What a value is."""

    COUNTER = "c"
    GAUGE = "g"
    TIMER = "ms"
    HISTOGRAM = "h"
    DISTRIBUTION = "d"
    SET = "s"


_KINDS: Final = {kind.value: kind for kind in Kind}


class LineError(ValueError):
    """A line that cannot be taken; `reason` is a fixed word."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@frozen(kw_only=True)
class TagStyles:
    """Which ways of writing tags are read."""

    dogstatsd: bool = True
    influxdb: bool = True
    librato: bool = True
    signalfx: bool = True
    container_id: bool = True
    """Whether the container that DogStatsD names becomes a label."""
    without_value: str = ""
    """The value of tags of DogStatsD that have none; "" leaves them out."""


@frozen
class Meaning:
    """What stands around a value says of it.

    name: as sent.  tags: label name -> value, escaped.  bad_tags: tags that could not be read.
    """

    name: str
    kind: Kind
    tags: dict[str, str]
    rate: float = 1.0
    bad_tags: int = 0


@frozen
class ServiceCheck:
    """A service check of DogStatsD; status: 0 ok, 1 warning, 2 critical, 3 unknown."""

    name: str
    status: int
    tags: dict[str, str]


Piece = tuple[bytes, bytes]
"""A value and the tail behind it."""


def pieces_of(value: bytes, tail: bytes) -> list[Piece]:
    """Return the pieces of what follows a name; value and tail: before and after the first bar.

    Raises `LineError` when there is no bar.
    """
    if not tail:
        raise LineError("not_enough_parts_after_colon")
    kind = tail.partition(b"|")[0]
    if kind == b"s":
        return [(value, tail)]  # a value of a set may be anything
    if b":" in value:
        return [(v, tail) for v in value.split(b":")]
    if b":" not in tail or b"|#" in tail:
        return [(value, tail)]
    found = []
    for sample in _NEXT_SAMPLE.split(value + b"|" + tail):
        first, _, rest = sample.partition(b"|")
        found.append((first, rest))
    return found


def meaning_of(name: bytes, tail: bytes, styles: TagStyles) -> Meaning:
    """Return what a name and the tail behind a value say; raises `LineError`."""
    if not name:
        raise LineError("malformed_line")
    if len(name) + len(tail) > MEANING_BYTES_MAX:
        raise LineError("line_too_long")
    try:
        named, text = name.decode(), tail.decode()
    except UnicodeDecodeError:
        raise LineError("malformed_line") from None
    tags: dict[str, str] = {}
    plain, bad = _name_and_tags(named, tags, styles)
    if not plain:
        raise LineError("malformed_line")
    if tags and "|#" in text:
        raise LineError("mixed_tagging_styles")
    first, *rest = text.split("|")
    kind = _KINDS.get(first)
    if kind is None:
        raise LineError("unknown_type")
    if len(rest) >= TAIL_PARTS_MAX:
        raise LineError("malformed_component")
    rate = 1.0
    for part in rest:
        if part[:1] == "@":
            rate = _rate(part[1:])
        elif part[:1] == "#":
            bad += _dogstatsd_tags(part[1:], tags, styles) if styles.dogstatsd else 0
        else:
            _other_part(part, tags, styles)
    return Meaning(plain, kind, tags, rate, bad)


def escape_name(name: str) -> str:
    """Return a name with all but letters, digits and `_` replaced by `_`; several dashes are replaced by one."""
    return ("_" if name[:1].isascii() and name[:1].isdigit() else "") + _INVALID.sub("_", name)


def is_event(line: bytes) -> bool:
    """Tell whether a line is an event of DogStatsD, which is no metric."""
    return line.startswith(b"_e{")


def is_service_check(line: bytes) -> bool:
    """Tell whether a line is a service check of DogStatsD."""
    return line.startswith(b"_sc|")


def service_check_of(line: bytes, styles: TagStyles) -> ServiceCheck:
    """Return the service check of a line; raises `LineError`."""
    try:
        parts = line[:MEANING_BYTES_MAX].decode().split("|")
    except UnicodeDecodeError:
        raise LineError("malformed_line") from None
    if len(parts) < 3 or not parts[1] or parts[2] not in ("0", "1", "2", "3"):
        raise LineError("malformed_service_check")
    tags: dict[str, str] = {}
    for part in parts[3:]:
        if part.startswith("h:") and len(part) > 2:
            tags["host"] = part[2:]
        elif part.startswith("#") and styles.dogstatsd:
            _dogstatsd_tags(part[1:], tags, styles)
    return ServiceCheck(parts[1], int(parts[2]), tags)


# -- tags ------------------------------------------------------------------------------------------------------


def _name_and_tags(name: str, tags: dict[str, str], styles: TagStyles) -> tuple[str, int]:
    """Return the name without its tags, and how many of them could not be read."""
    if styles.signalfx:
        begin, end = name.find("["), name.find("]")
        if 0 <= begin < end:
            return name[:begin] + name[end + 1 :], _name_tags(name[begin + 1 : end], tags)
        if begin >= 0 or end >= 0:
            return name, 1
    separators = "#" * styles.librato + "," * styles.influxdb
    at = min((i for s in separators if (i := name.find(s)) >= 0), default=-1)
    if at < 0:
        return name, 0
    return name[:at], _name_tags(name[at + 1 :], tags)


def _name_tags(text: str, tags: dict[str, str]) -> int:
    return sum(not _add_tag(tag, "=", tags) for tag in _split(text))


def _dogstatsd_tags(text: str, tags: dict[str, str], styles: TagStyles) -> int:
    bad = 0
    for tag in _split(text):
        tag = tag.removeprefix("#")
        if styles.without_value and tag and ":" not in tag:
            tag = f"{tag}:{styles.without_value}"
        bad += not _add_tag(tag, ":", tags)
    return bad


def _split(text: str) -> list[str]:
    """Return what stands between commas; one comma at the end is none too many."""
    return text.removesuffix(",").split(",") if text else []


def _add_tag(tag: str, separator: str, tags: dict[str, str]) -> bool:
    """Add a tag, the last of a name counts; False for one that is none, or whose name is ours."""
    key, _, value = tag.partition(separator)
    label = escape_name(key)
    if not key or not value or label.startswith("__"):
        return False
    tags[label] = value
    return True


# -- other parts -----------------------------------------------------------------------------------------------


def _rate(text: str) -> float:
    try:
        rate = parse_float(text.encode())
    except ValueError:
        raise LineError("invalid_sample_factor") from None
    if rate == 0:
        return 1.0
    if not RATE_MIN <= rate < math.inf:
        raise LineError("invalid_sample_factor")
    return rate


def _other_part(part: str, tags: dict[str, str], styles: TagStyles) -> None:
    """Read a container or a timestamp; pass over what later versions of DogStatsD have."""
    if not part:
        raise LineError("malformed_component")
    if part.startswith(("e:", "card:")):
        return
    if part[0] == "c":
        if not part.startswith("c:") or len(part) == 2:
            raise LineError("malformed_container_id")
        if styles.container_id:
            tags[CONTAINER_LABEL] = part[2:]
    elif part[0] == "T":
        if not part[1:].removeprefix("-").isdecimal():
            raise LineError("malformed_timestamp")
    else:
        raise LineError("malformed_component")
