"""What the columns of a table mean: which one is the time, which ones are values, and that the rest are labels.

Rules, in this order (docs/interchange.md has them for users):

*time* - as named; else the first column called timestamp_ms, timestamp, time, ts, date or datetime, whatever the case.
Its form: as named; else ms for `timestamp_ms`; else as the first value looks: RFC 3339 where it has a `-` behind the
first character or a `:`, by the number of digits before the point otherwise (up to 11 s, 14 ms, 17 us, more ns).

*values* - as named; else `value`; else every column whose first value is a number.

*metric name* - `--name`; else the label `__name__` or `metric`; else the name of the value column.  With several value
columns the name of the column follows the name given, joined by `_`.

A column `label:X` is the label X whatever X is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from attrs import frozen

from ..errors import UsageError
from ..exposition.floats import parse_float
from ..model.labels import NAME
from .go_layouts import GoLayout

TIME_NAMES: Final = ("timestamp_ms", "timestamp", "time", "ts", "date", "datetime")
VALUE_NAME: Final = "value"
LABEL_PREFIX: Final = "label:"
"""What a column begins with that is a label whatever follows."""
_RESERVED: Final = frozenset({*TIME_NAMES, VALUE_NAME, "metric", "histogram"})


class TimeForm(StrEnum):
    """How times are written."""

    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    RFC3339 = "rfc3339"


@frozen
class ColumnChoice:
    """What the user says of the columns; empty means: find out.

    names: the columns, for a table without a header.  time, values: names of columns.  metric: the metric name.
    """

    names: tuple[str, ...] = ()
    time: str = ""
    time_form: TimeForm | None = None
    values: tuple[str, ...] = ()
    metric: str = ""


@frozen
class ColumnMap:
    """What each column of a table is, by position.

    width: fields of a row.  is_open: rows may have more, which are passed over.  values: (position, metric name or "" where a
    label has it).  labels: (position, label name).  time: -1 where no column has it; then all rows are of `now_ms`.
    """

    width: int
    time: int
    time_form: TimeForm | GoLayout
    values: tuple[tuple[int, str], ...]
    labels: tuple[tuple[int, str], ...]
    now_ms: int = 0
    is_open: bool = False


def column_of_label(name: str) -> str:
    """Return the name of the column that holds a label."""
    taken = name.lower() in _RESERVED or name.startswith(LABEL_PREFIX)
    return LABEL_PREFIX + name if taken else name


def label_of_column(column: str) -> str:
    """Return the label that a column holds which is neither time nor value."""
    return NAME if column == "metric" else column.removeprefix(LABEL_PREFIX)


def map_columns(header: Sequence[str], first: Sequence[str], choice: ColumnChoice) -> ColumnMap:
    """Return what the columns are, given the first record (may be empty); raises `UsageError` where that is unclear."""
    if len(set(header)) < len(header):
        raise UsageError(f"a column stands twice in the header: {', '.join(header)}")
    time = _time_column(header, choice)
    form = choice.time_form or _time_form(header[time], first[time] if first else "0")
    values = _value_columns(header, first, choice, time)
    labels = tuple((i, label_of_column(c)) for i, c in enumerate(header) if i != time and i not in values)
    names = [n for _, n in labels]
    if len(set(names)) < len(names) or "" in names:
        raise UsageError(f"a label stands twice in the header, or has no name: {', '.join(header)}")
    metrics = [_metric(header[i], choice, len(values), NAME in names) for i in values]
    if choice.metric:
        labels = tuple((i, n) for i, n in labels if n != NAME)
    return ColumnMap(len(header), time, form, tuple(zip(values, metrics, strict=True)), labels)


def _time_column(header: Sequence[str], choice: ColumnChoice) -> int:
    if choice.time:
        return _position(header, choice.time)
    lower = [c.lower() for c in header]
    for name in TIME_NAMES:
        if name in lower:
            return lower.index(name)
    raise UsageError(f"no column is the time; name it (--time-column): {', '.join(header)}")


def _time_form(column: str, text: str) -> TimeForm:
    if column.lower() == "timestamp_ms":
        return TimeForm.MS
    if "-" in text[1:] or ":" in text:
        return TimeForm.RFC3339
    digits = len(text.lstrip("+-").partition(".")[0])
    for most, form in ((11, TimeForm.S), (14, TimeForm.MS), (17, TimeForm.US)):
        if digits <= most:
            return form
    return TimeForm.NS


def _value_columns(header: Sequence[str], first: Sequence[str], choice: ColumnChoice, time: int) -> list[int]:
    if choice.values:
        return [_position(header, c) for c in choice.values]
    lower = [c.lower() for c in header]
    if VALUE_NAME in lower:
        return [lower.index(VALUE_NAME)]
    found = [i for i, text in enumerate(first) if i != time and _is_number(text)]
    found = [i for i in found if not header[i].startswith(LABEL_PREFIX) and header[i] not in (NAME, "metric")]
    if not found:
        raise UsageError(f"no column has values; name it (--value-column): {', '.join(header)}")
    return found


def _metric(column: str, choice: ColumnChoice, count: int, has_name: bool) -> str:
    if choice.metric:
        return f"{choice.metric}_{column}" if count > 1 else choice.metric
    if has_name and count == 1:
        return ""
    if has_name:
        raise UsageError("several columns of values, but a label has the metric name; give it (--name)")
    if column.lower() == VALUE_NAME:
        raise UsageError("nothing says what the metric is called: neither a column __name__ nor --name")
    return column


def _position(header: Sequence[str], column: str) -> int:
    if column not in header:
        raise UsageError(f"there is no column {column}; there are {', '.join(header)}")
    return list(header).index(column)


def _is_number(text: str) -> bool:
    try:
        parse_float(text.encode())
    except ValueError:
        return False
    return True
