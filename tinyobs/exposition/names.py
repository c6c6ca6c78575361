"""Metric and label names on the wire: quoted where a format can carry any name, escaped where it cannot.

Escaping schemes are those of Prometheus (common/model `EscapeName`): every character that a legacy name may not have
is replaced.  Only `values` can be undone.  Label *values* are never escaped this way.
"""

from __future__ import annotations

from enum import StrEnum

from ..model.labels import Labels, is_legacy_label_name, is_legacy_metric_name, quote


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


def series(name: str, labels: Labels, escaping: Escaping) -> str:
    """Return name and labels as they stand before a value."""
    name = metric_name(name, escaping)
    plain = is_legacy_metric_name(name)
    inside = [] if plain else [quote(name)]
    for label, value in labels:
        label = label_name(label, escaping)
        inside.append(f"{label if is_legacy_label_name(label) else quote(label)}={quote(value)}")
    head = name if plain else ""
    return head + "{" + ",".join(inside) + "}" if inside else head


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
