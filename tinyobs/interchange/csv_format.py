"""What columns mean where a text says so: `2:metric:temperature,3:label:place,1:time:unix_s`.

Each part is `<column>:<kind>:<what>`, columns from 1.  Kinds: `metric` with a metric name, `label` with a label name, `time`
with the form of times, which may be a layout of Go behind `custom:`.  Columns that no part names are passed over.  Without
a `time` all rows have the same time.
Source: docs.victoriametrics.com, "How to import CSV data".
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ..errors import UsageError
from ..model.labels import NAME
from .csv_columns import ColumnMap, TimeForm
from .go_layouts import GoLayout, read_layout

PARTS_MAX: Final = 1024
COLUMN_MAX: Final = 1024
CUSTOM: Final = "custom:"

_FORMS: Final = {
    "unix_s": TimeForm.S,
    "unix_ms": TimeForm.MS,
    "unix_us": TimeForm.US,
    "unix_ns": TimeForm.NS,
    "rfc3339": TimeForm.RFC3339,
}


@frozen
class CsvFormat:
    """Columns by position from 0; time -1 where there is none."""

    values: tuple[tuple[int, str], ...]
    labels: tuple[tuple[int, str], ...] = ()
    time: int = -1
    time_form: TimeForm | GoLayout = TimeForm.MS

    def columns(self, now_ms: int) -> ColumnMap:
        """Return the columns of a table, whose rows may have more of them."""
        last = max([self.time, *(i for i, _ in self.values), *(i for i, _ in self.labels)])
        return ColumnMap(last + 1, self.time, self.time_form, self.values, self.labels, now_ms, is_open=True)


def parse_format(text: str) -> CsvFormat:
    """Return the columns that a text names; raises `UsageError`."""
    parts = text.split(",")
    if len(parts) > PARTS_MAX:
        raise UsageError(f"a format has at most {PARTS_MAX} parts")
    values: list[tuple[int, str]] = []
    labels: list[tuple[int, str]] = []
    times: list[tuple[int, TimeForm | GoLayout]] = []
    for part in parts:
        number, _, rest = part.strip().partition(":")
        kind, _, what = rest.partition(":")
        if not (number.isascii() and number.isdigit() and 1 <= int(number) <= COLUMN_MAX) or not what:
            raise UsageError(f"a part of the format is <column>:<metric, label or time>:<what>, not {part[:100]!r}")
        column = int(number) - 1
        if kind == "metric":
            values.append((column, what))
        elif kind == "label":
            labels.append((column, what))
        elif kind == "time":
            times.append((column, _form(what)))
        else:
            raise UsageError(f"a column is metric, label or time, not {kind[:100]!r}")
    return _checked(values, labels, times)


def _form(what: str) -> TimeForm | GoLayout:
    if what.startswith(CUSTOM):
        return read_layout(what.removeprefix(CUSTOM))
    form = _FORMS.get(what)
    if form is None:
        raise UsageError(
            f"the form of times is one of {', '.join(_FORMS)} and custom:<layout of Go>, not {what[:100]!r}"
        )
    return form


def _checked(
    values: list[tuple[int, str]], labels: list[tuple[int, str]], times: list[tuple[int, TimeForm | GoLayout]]
) -> CsvFormat:
    if not values:
        raise UsageError("the format names no metric")
    if len(times) > 1:
        raise UsageError("the format names two times")
    names = [name for _, name in labels]
    if len(set(names)) < len(names) or NAME in names:
        raise UsageError("the format names a label twice, or __name__ as a label")
    time, form = times[0] if times else (-1, TimeForm.MS)
    return CsvFormat(tuple(values), tuple(labels), time, form)
