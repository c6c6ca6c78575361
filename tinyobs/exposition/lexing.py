"""Reading the parts of an exposition line: series, sample, exemplar, metadata.  One reader per dialect, no state.

Two dialects: the Prometheus text format (blanks nearly everywhere, commas between labels optional, a label value may
run over line ends) and OpenMetrics (exactly one space, nothing optional).  What is accepted follows Prometheus'
lexers (model/textparse promlex.l, openmetricslex.l), not the stricter prose of the formats.  Not here: whole bodies,
line numbers and the memory of known series (`scrape_parser.py`).
"""

from __future__ import annotations

import math
import re
from typing import Final

from attrs import frozen

from ..model.labels import NAME, Labels, from_mapping
from ..model.metadata import MetricType
from .floats import format_openmetrics_float, parse_float, printable

LABELS_MAX: Final = 1024
"""Labels that one series or exemplar may have, counted before empty ones are dropped."""


class Malformed(Exception):
    """Input is malformed at byte `at` of the data that was read; becomes an `ExpositionError` with a line."""

    def __init__(self, reason: str, at: int) -> None:
        self.reason, self.at = reason, at
        super().__init__(reason)


@frozen
class Dialect:
    """The patterns in which the two formats differ."""

    blank: re.Pattern[bytes]
    quoted: re.Pattern[bytes]
    commas_required: bool


TEXT: Final = Dialect(re.compile(rb"[ \t]*"), re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"'), False)
OPENMETRICS: Final = Dialect(re.compile(rb""), re.compile(rb'"([^"\\\n]*(?:\\.[^"\\\n]*)*)"'), True)

TYPES: Final = {t.value.encode(): t for t in MetricType}
TEXT_TYPES: Final = {
    b"counter": MetricType.COUNTER,
    b"gauge": MetricType.GAUGE,
    b"histogram": MetricType.HISTOGRAM,
    b"summary": MetricType.SUMMARY,
    b"untyped": MetricType.UNKNOWN,
}

BOUND_LABEL: Final = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}
"""The label whose value is a number, by family type: it is brought to one spelling, as Prometheus 3 does."""

_METRIC_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(rb"[a-zA-Z_][a-zA-Z0-9_]*")
_USUAL_SERIES = re.compile(
    rb"([a-zA-Z_:][a-zA-Z0-9_:]*)"
    rb'(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\n]*"(?:,(?=[a-zA-Z_])|(?=\})))*)\})?(?= [^ \t{])'
)
"""A series as nearly all exporters write it: no blanks, quoted names or escapes; both dialects read it alike."""
_USUAL_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"]*)"')
_ESCAPE = re.compile(rb'\\([\\"n])')
_HELP_ESCAPE = re.compile(rb"\\([\\n])")
_TEXT_TAIL = re.compile(rb"([^{ \t\n]+)[ \t]*(?:([0-9]+)[ \t]*)?")
_OPENMETRICS_TAIL = re.compile(rb"([^ \n]+)(?: (?!# \{)([^ \n]+))?( # \{)?")
_EXEMPLAR_TAIL = re.compile(rb" ([^ \n]+)(?: ([^ \n]+))?")
_MILLISECONDS_MAX: Final = 1 << 63


def read_series(data: bytes, at: int, dialect: Dialect) -> tuple[list[tuple[str, str]], int]:
    """Return the (name, value) pairs of the series at `at`, the metric name first, and the position behind it."""
    usual = _USUAL_SERIES.match(data, at)
    if usual is not None:
        found = _read_usual_labels(usual)
        if found is not None:
            return found, usual.end()
    at = _skip(dialect, data, at)
    match = _METRIC_NAME.match(data, at)
    if match is None and data[at : at + 1] != b"{":
        raise Malformed(f"expected a valid start token, got {_got(data, at)}", at)
    name = None if match is None else match[0].decode()
    end = at if match is None else match.end()
    brace = _skip(dialect, data, end)
    pairs: list[tuple[str, str]] = []
    if data[brace : brace + 1] == b"{":
        name, pairs, end = _read_labels(data, brace + 1, dialect, name)
    if name is None:
        raise Malformed("metric name not set", at)
    if not name:
        raise Malformed("invalid metric name", at)
    pairs.insert(0, (NAME, name))
    return pairs, end


def to_labels(pairs: list[tuple[str, str]], type_: MetricType, at: int) -> Labels:
    """Return the label set of pairs as read within a family of `type_`.

    An empty value drops its label, also one given beside it, as it does in Prometheus.
    """
    labels = dict(pairs)
    if len(labels) < len(pairs) or not all(labels.values()):
        empty = {name for name, value in pairs if not value}
        pairs = [pair for pair in pairs if pair[0] not in empty]
        labels = dict(pairs)
    if NAME not in labels:
        raise Malformed("missing metric name", at)
    if len(labels) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise Malformed(f'label name "{twice}" is not unique', at)
    bound = BOUND_LABEL.get(type_)
    if bound in labels:
        labels[bound] = canonical_bound(labels[bound])
    return tuple(sorted(labels.items()))


def canonical_bound(value: str) -> str:
    """Return the value of an `le` or `quantile` label in its one spelling: `1` becomes `1.0`, `-0` becomes `0.0`."""
    try:
        return format_openmetrics_float(parse_float(value.encode()) + 0.0)
    except ValueError:
        return value


def read_text_tail(tail: bytes) -> tuple[float, int | None]:
    """Return (value, timestamp in ms or None) of what stands behind a series in the text format."""
    match = _TEXT_TAIL.match(tail)
    if match is None:
        raise Malformed(f"expected value after metric, got {_got(tail, 0)}", 0)
    value = _number(match[1], 0)
    if match.end() != len(tail):
        wanted = "timestamp or new record" if match[2] is None else "next entry after timestamp"
        raise Malformed(f"expected {wanted}, got {_got(tail, match.end())}", match.end())
    if match[2] is None:
        return value, None
    digits = match[2].lstrip(b"0") or b"0"
    if len(digits) > 19 or (time := int(digits)) >= _MILLISECONDS_MAX:
        raise Malformed(f"timestamp out of range: {printable(match[2])}", match.start(2))
    return value, time


ExemplarText = tuple[Labels, float, int | None]
"""Labels, value and timestamp in ms of an exemplar."""


def read_openmetrics_tail(tail: bytes) -> tuple[float, int | None, ExemplarText | None]:
    """Return (value, timestamp in ms or None, exemplar or None) of what stands behind a series and its space."""
    match = _OPENMETRICS_TAIL.match(tail)
    if match is None:
        raise Malformed(f"expected value after metric, got {_got(tail, 0)}", 0)
    value = _number(match[1], 0)
    time = None if match[2] is None else _seconds(match[2], match.start(2), "timestamp")
    exemplar = None
    end = match.end()
    if match[3] is not None:
        exemplar, end = _read_exemplar(tail, end)
    if end != len(tail):
        raise Malformed(f"expected next entry after {_last(match)}, got {_got(tail, end)}", end)
    return value, time, exemplar


def read_metadata(line: bytes, at: int, dialect: Dialect) -> tuple[str, bytes | None]:
    """Return (family, text behind its name) of a HELP, TYPE or UNIT line whose name starts at `at`.

    The text is None where the line ends with the name.
    """
    match = dialect.quoted.match(line, at)
    if match is not None:
        name = _decode(_unescape(match[1]), "metric name", at)
    else:
        match = _METRIC_NAME.match(line, at)
        if match is None:
            raise Malformed(f"expected metric name after {line[2:6].decode()}, got {_got(line, at)}", at)
        name = match[0].decode()
    rest = line[match.end() :]
    if rest and dialect.commas_required and rest[:1] != b" ":
        raise Malformed(f"expected text after metric name, got {_got(line, match.end())}", match.end())
    return name, rest[1:] if rest else None


def read_help(text: bytes, dialect: Dialect) -> str:
    """Return the help text with its escapes resolved."""
    pattern = _ESCAPE if dialect.commas_required else _HELP_ESCAPE
    return _decode(pattern.sub(_resolve, text) if b"\\" in text else text, "help text", 0)


def _read_usual_labels(usual: re.Match[bytes]) -> list[tuple[str, str]] | None:
    """Return the pairs of a series of usual form, None where they are too many or not UTF-8."""
    name = usual[1].decode()
    if not usual[2]:
        return [(NAME, name)]
    try:
        pairs = _USUAL_LABEL.findall(usual[2].decode())
    except UnicodeDecodeError:
        return None
    return [(NAME, name), *pairs] if len(pairs) <= LABELS_MAX else None


def _read_labels(
    data: bytes, at: int, dialect: Dialect, name: str | None, exemplar: bool = False
) -> tuple[str | None, list[tuple[str, str]], int]:
    """Read from behind the opening brace; return (metric name, pairs, position behind the closing brace)."""
    pairs: list[tuple[str, str]] = []
    while True:
        at = _skip(dialect, data, at)
        if data[at : at + 1] == b"}":
            return name, pairs, at + 1
        if len(pairs) == LABELS_MAX:
            raise Malformed(f"more than {LABELS_MAX} labels", at)
        match = _LABEL_NAME.match(data, at)
        quoted = None if match is not None else dialect.quoted.match(data, at)
        if match is not None:
            label, end = match[0].decode(), match.end()
        elif quoted is not None:
            label, end = _decode(_unescape(quoted[1]), "label name", at), quoted.end()
        else:
            raise Malformed(f"expected label name, got {_got(data, at)}", at)
        end = _skip(dialect, data, end)
        if quoted is not None and not exemplar and data[end : end + 1] in (b",", b"}"):
            if name is not None:
                raise Malformed("metric name already set", at)
            name = label
            at = end + (data[end : end + 1] == b",")
            continue
        if not label:
            raise Malformed("invalid label name", at)
        value, at = _read_value(data, end, dialect)
        pairs.append((label, value))


def _read_value(data: bytes, at: int, dialect: Dialect) -> tuple[str, int]:
    """Read `="value"` and the comma behind it; return (value, position of what follows)."""
    if data[at : at + 1] != b"=":
        raise Malformed(f"expected equal, got {_got(data, at)}", at)
    at = _skip(dialect, data, at + 1)
    match = dialect.quoted.match(data, at)
    if match is None:
        raise Malformed(f"expected label value, got {_got(data, at)}", at)
    value = _decode(_unescape(match[1]), "label value", at)
    at = _skip(dialect, data, match.end())
    if data[at : at + 1] == b",":
        return value, at + 1
    if dialect.commas_required and data[at : at + 1] != b"}":
        raise Malformed(f"expected comma or brace close, got {_got(data, at)}", at)
    return value, at


def _read_exemplar(tail: bytes, at: int) -> tuple[ExemplarText, int]:
    _, pairs, at = _read_labels(tail, at, OPENMETRICS, None, exemplar=True)
    match = _EXEMPLAR_TAIL.match(tail, at)
    if match is None:
        raise Malformed(f"expected value after exemplar labels, got {_got(tail, at)}", at)
    value = _number(match[1], match.start(1))
    time = None if match[2] is None else _seconds(match[2], match.start(2), "exemplar timestamp")
    # A name twice does not fail the scrape, as it would in a series: the last value stands.
    return (from_mapping(dict(pairs)), value, time), match.end()


def _seconds(token: bytes, at: int, what: str) -> int:
    """Return milliseconds, cut towards zero as Prometheus does."""
    seconds = _number(token, at)
    if not math.isfinite(seconds) or abs(seconds * 1000) >= _MILLISECONDS_MAX:
        raise Malformed(f"invalid {what} {printable(token)}", at)
    return int(seconds * 1000)


def _number(token: bytes, at: int) -> float:
    try:
        return parse_float(token)
    except ValueError as e:
        raise Malformed(str(e), at) from None


def _decode(text: bytes, what: str, at: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Malformed(f"invalid UTF-8 {what}: {printable(text)}", at) from None


def _unescape(text: bytes) -> bytes:
    return _ESCAPE.sub(_resolve, text) if b"\\" in text else text


def _resolve(match: re.Match[bytes]) -> bytes:
    return b"\n" if match[1] == b"n" else match[1]


def _skip(dialect: Dialect, data: bytes, at: int) -> int:
    match = dialect.blank.match(data, at)
    return at if match is None else match.end()


def _got(data: bytes, at: int) -> str:
    if at >= len(data):
        return "the end"
    character = data[at : at + 4].decode("utf-8", "ignore")[:1].encode()
    return printable(character if data.startswith(character, at) and character else data[at : at + 1])


def _last(match: re.Match[bytes]) -> str:
    return "exemplar" if match[3] is not None else "timestamp" if match[2] is not None else "value"
