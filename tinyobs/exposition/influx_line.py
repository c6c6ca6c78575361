"""One line of the Influx line protocol, taken apart with care: the general way, which decides what is an error.

    measurement,tag=value,tag=value field=1.5,count=3i,on=true,note="text" 1700000000000000000

Format: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/.  Escapes are read as VictoriaMetrics reads
them: a backslash makes a space, comma, equals sign or backslash ordinary, before anything else it stands for itself.  Numbers
are as strict as in InfluxDB: no NaN, no infinity, integers of 64 bits.  `influx_scan.py` reads ordinary lines in bulk.
"""

from __future__ import annotations

import math
import re
from typing import Final

from attrs import frozen

TIME_MAX: Final = (1 << 63) - 1
"""Largest timestamp, whatever its precision."""

KEY: Final = re.compile(rb"(?:[^ \\]|\\.?)*", re.DOTALL)
_PIECE: Final = {
    b",": re.compile(rb"(?:[^,\\]|\\.?)*", re.DOTALL),
    b"=": re.compile(rb"(?:[^=\\]|\\.?)*", re.DOTALL),
}
_FIELD_NAME: Final = re.compile(rb"((?:[^,= \\]|\\.?+)++)=", re.DOTALL)
"""Possessive, as numbers are: what cannot be read must not be tried in all ways of parting a run of backslashes or digits."""
STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BARE: Final = re.compile(rb"[^, ]*")
_ESCAPE: Final = re.compile(rb"\\([ ,=\\])")
_FLOAT: Final = re.compile(rb"[+-]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?\Z")
_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,40}i\Z")
_UNSIGNED: Final = re.compile(rb"[0-9]{1,40}u\Z")
_TIME: Final = re.compile(rb"-?[0-9]{1,40}\Z")
BOOLEANS: Final[dict[bytes, float]] = {
    **dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), 1.0),
    **dict.fromkeys((b"f", b"F", b"false", b"False", b"FALSE"), 0.0),
}


class BadLine(ValueError):
    """A line that cannot be read; the message says why."""


class OpenString(BadLine):
    """A line that ends within a string, whose first quote is at byte `at` of it."""

    def __init__(self, at: int) -> None:
        super().__init__("unbalanced quotes")
        self.at = at


@frozen
class Line:
    """key: measurement and tags as they stand in the line.  fields: (name as it stands, value), without strings.

    time: as it stands, None without one.
    """

    key: bytes
    fields: tuple[tuple[bytes, float], ...]
    time: int | None
    string_count: int = 0

    @property
    def is_single(self) -> bool:
        """Whether there is no more than one field."""
        return len(self.fields) + self.string_count == 1


@frozen
class Key:
    """measurement: may be empty.  tags: without those that are empty, in the order of the line."""

    measurement: str
    tags: tuple[tuple[str, str], ...]


def parse_line(line: bytes) -> Line:
    """Return a line that is neither empty nor a comment; raises `BadLine`.  A key that is wrong passes; see `parse_key`."""
    parts = line.split(b" ")
    if not 2 <= len(parts) <= 3 or not parts[1] or b"\\" in line or b'"' in line:
        return parse_carefully(line)
    fields = []
    for text in parts[1].split(b","):
        name, equals, value = text.partition(b"=")
        if not name or not equals:
            raise BadLine("invalid field format")
        fields.append((name, parse_value(value)))
    return Line(parts[0], tuple(fields), parse_time(parts[2]) if len(parts) == 3 else None)


def parse_carefully(line: bytes) -> Line:
    """Do as `parse_line` does for a line with strings, escapes and more spaces than there need to be."""
    match = KEY.match(line)
    end = match.end() if match else 0
    key, at = line[:end], end
    while line[at : at + 1] == b" ":
        at += 1
    if at == len(line):
        raise BadLine("missing fields")
    fields, strings = [], 0
    while True:
        name = _FIELD_NAME.match(line, at)
        if name is None:
            raise BadLine("invalid field format")
        at = name.end()
        if line[at : at + 1] == b'"':
            string = STRING.match(line, at)
            if string is None:
                raise OpenString(at)
            at = string.end()
            strings += 1
        else:
            bare = _BARE.match(line, at)
            assert bare is not None
            fields.append((name[1], parse_value(bare[0])))
            at = bare.end()
        if line[at : at + 1] != b",":
            break
        at += 1
    if at < len(line) and line[at] != ord(" "):
        raise BadLine("invalid field format")
    return Line(key, tuple(fields), parse_time(line[at:].strip(b" ")), strings)


def parse_value(text: bytes) -> float:
    """Return the value of a field that is no string; raises `BadLine`."""
    if _FLOAT.match(text):
        value = float(text)
        good = not math.isinf(value)
    elif _INTEGER.match(text):
        number = int(text[:-1])
        good = -TIME_MAX - 1 <= number <= TIME_MAX
        value = float(number)
    elif _UNSIGNED.match(text):
        number = int(text[:-1])
        good = number < 1 << 64
        value = float(number)
    elif (found := BOOLEANS.get(text)) is not None:
        return found
    else:
        raise BadLine("invalid boolean" if text[:1].isalpha() else "invalid number" if text else "missing field value")
    if not good:
        raise BadLine("number out of range")
    return value


def parse_key(key: bytes) -> Key:
    """Return measurement and tags; raises `BadLine`."""
    measurement, *tags = _split(key, b",")
    pairs = []
    for tag in tags:
        name, *value = _split(tag, b"=", 1)
        if not value:
            raise BadLine("missing tag value")
        if name and value[0]:
            pairs.append((unescaped(name), unescaped(value[0])))
    return Key(unescaped(measurement), tuple(pairs))


def unescaped(text: bytes) -> str:
    """Return the text of a name or tag; raises `BadLine` where it is not UTF-8."""
    if b"\\" in text:
        text = _ESCAPE.sub(rb"\1", text)
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise BadLine("not UTF-8") from None


def parse_time(text: bytes) -> int | None:
    """Return a timestamp as it stands, None where there is none; raises `BadLine`."""
    if not text:
        return None
    if not _TIME.match(text):
        raise BadLine("bad timestamp")
    time = int(text)
    if abs(time) > TIME_MAX:
        raise BadLine("timestamp out of range")
    return time


def _split(text: bytes, separator: bytes, count: int = -1) -> list[bytes]:
    """Return the parts between separators that are not escaped."""
    if b"\\" not in text:
        return text.split(separator, count)
    parts: list[bytes] = []
    at = 0
    while True:
        match = _PIECE[separator].match(text, at)
        assert match is not None
        if match.end() == len(text):
            return [*parts, text[at:]]
        if len(parts) == count:
            return [*parts, text[at:]]
        parts.append(match[0])
        at = match.end() + 1
