"""Metric and label names on the wire: quoted where a format can carry any name, escaped where it cannot.

Escaping schemes are those of Prometheus (common/model `EscapeName`): every character that a legacy name may not have
is replaced.  Only `values` can be undone.  Label *values* are never escaped this way.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from ..model.labels import Labels, is_legacy_label_name, is_legacy_metric_name, quote

_NOT_IN_METRICS: Final = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABELS: Final = re.compile(r"[^a-zA-Z0-9_]")


class Escaping(StrEnum):
    """The `escaping` parameter of a content type."""

    ALLOW_UTF8 = "allow-utf-8"
    UNDERSCORES = "underscores"
    DOTS = "dots"
    VALUES = "values"

    def __str__(self) -> str:
        return self.value


def metric_name(name: str, escaping: Escaping) -> str:
    """Return a metric name as it is written, without quotes."""
    if escaping is Escaping.ALLOW_UTF8 or (is_legacy_metric_name(name) and escaping is not Escaping.DOTS):
        return name
    return _escape(name, escaping, ":")


def label_name(name: str, escaping: Escaping) -> str:
    """Return a label name as it is written, without quotes."""
    if escaping is Escaping.ALLOW_UTF8 or (is_legacy_label_name(name) and escaping is not Escaping.DOTS):
        return name
    return _escape(name, escaping, "")


def quoted_metric_name(name: str) -> str:
    """Return a metric name for a HELP or TYPE line, in quotes where it needs them."""
    return name if is_legacy_metric_name(name) else quote(name)


def plain_metric_name(text: str) -> str:
    """Return a name of another system as one that needs no quotes: `_` for every character that it cannot have.

    A digit at the beginning stays, behind a `_`.  Source: graphite_exporter, statsd_exporter (`EscapeMetricName`).
    """
    return _plain(text, _NOT_IN_METRICS)


def plain_label_name(text: str) -> str:
    """Return the name of a label likewise."""
    return _plain(text, _NOT_IN_LABELS)


def _plain(text: str, other: re.Pattern[str]) -> str:
    found = other.sub("_", text)
    return "_" + found if found[:1].isdigit() else found


class SeriesText:
    """Writes series in one escaping scheme; remembers the names it has seen, so it should live for one body."""

    def __init__(self, escaping: Escaping) -> None:
        self._escaping = escaping
        self._names: dict[str, tuple[str, str]] = {}
        self._labels: dict[str, str] = {}

    def write(self, name: str, labels: Labels) -> str:
        """Return name and labels as they stand before a value."""
        found = self._names.get(name)
        if found is None:
            written = metric_name(name, self._escaping)
            plain = is_legacy_metric_name(written)
            found = self._names[name] = (written, "") if plain else ("", quote(written))
        head, quoted = found
        if not labels:
            return head or f"{{{quoted}}}"
        known = self._labels
        inside = [quoted] if quoted else []
        for label, value in labels:
            left = known.get(label)
            if left is None:
                left = known[label] = self._left_side(label)
            inside.append(left + quote(value))
        return f"{head}{{{','.join(inside)}}}"

    def _left_side(self, label: str) -> str:
        written = label_name(label, self._escaping)
        return (written if is_legacy_label_name(written) else quote(written)) + "="


def _escape(name: str, escaping: Escaping, also: str) -> str:
    out = ["U__"] if escaping is Escaping.VALUES else []
    for i, c in enumerate(name):
        if c == "_" and escaping is not Escaping.UNDERSCORES:
            out.append("__")
        elif c.isascii() and (c.isalpha() or c == "_" or c in also or (c.isdigit() and i > 0)):
            out.append(c)
        elif escaping is Escaping.UNDERSCORES:
            out.append("_")
        elif escaping is Escaping.DOTS:
            out.append("_dot_" if c == "." else "__")
        else:
            out.append(f"_{ord(c):x}_")
    return "".join(out)
