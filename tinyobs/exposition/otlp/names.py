"""Names of OpenTelemetry -> names of Prometheus: metrics with their units and suffixes, labels, units.

Source: prometheus/otlptranslator (`MetricNamer`, `LabelNamer`, `UnitNamer`), without namespaces.  Names that come out empty
or of underscores alone raise `ValueError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

COUNTER: Final = "counter"
"""Kind of metric that gets `_total`: a monotonic sum."""
GAUGE: Final = "gauge"
"""Kind that gets `_ratio` where its unit is 1."""

_UNITS: Final[Mapping[str, str]] = {
    **{"d": "days", "h": "hours", "min": "minutes", "s": "seconds"},
    **{"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"},
    **{"By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tibibytes"},
    **{"KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes"},
    **{"m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams"},
    **{"Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent"},
}
"""Units of UCUM -> words."""
_PER_UNITS: Final[Mapping[str, str]] = {
    **{"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"},
}
_NOT_IN_TOKEN: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9:_]+")
_NOT_IN_LABEL: Final = re.compile(r"[^a-zA-Z0-9]")
_RUN: Final = re.compile(r"[^a-zA-Z0-9]+")


def metric_name(name: str, unit: str, kind: str, *, escape: bool, suffixes: bool) -> str:
    """Return the name of a metric family.

    escape: characters that the old naming rules do not know become underscores.  suffixes: unit and type are added.
    """
    if not escape:
        if not name:
            raise ValueError("a metric without a name")
        return _with_suffixes(name, unit, kind) if suffixes else name
    tokens = _tokens(name, unit, kind) if suffixes else [t for t in _NOT_IN_NAME.split(name) if t]
    made = "_".join(tokens)
    if made[:1].isdigit():
        made = "_" + made
    if not made or (made != name and not made.strip("_")):
        raise ValueError(f'the name of metric "{name}" comes out as "{made}"')
    return made


def label_name(name: str, *, escape: bool, key_prefix: bool, keep_runs: bool) -> str:
    """Return the name of a label.

    key_prefix: `key` before a name that begins with one underscore.  keep_runs: each character that is not allowed becomes
    an underscore of its own; else several that follow one another become one.
    """
    made = _escaped_label(name, keep_runs) if escape else name
    if not made.strip("_"):
        raise ValueError(f'the label name "{name}" comes out as "{made}"')
    if escape and made[0].isdigit():
        return "key_" + made
    if escape and key_prefix and made.startswith("_") and not made.startswith("__"):
        return "key" + made
    return made


def unit_name(unit: str, *, escape: bool) -> str:
    """Return a unit in words: `bytes_per_second` for `By/s`."""
    main, per = _unit_words(unit)
    if escape:
        main, per = _clean_unit(main), _clean_unit(per)
    return "_".join(x for x in (main, per) if x).removeprefix("_").removesuffix("_")


def _tokens(name: str, unit: str, kind: str) -> list[str]:
    tokens = [t for t in _NOT_IN_TOKEN.split(name) if t]
    main, per = map(_clean_unit, _unit_words(unit))
    if main in tokens:
        main = ""
    per = "" if per == "per_" else per.removesuffix("_")
    if per in tokens:
        per = ""
    if per:
        main = main.removesuffix("_")
    tokens += [x for x in (main, per) if x]
    if kind == COUNTER:
        tokens = [t for t in tokens if t != "total"] + ["total"]
    if unit == "1" and kind == GAUGE:
        tokens = [t for t in tokens if t != "ratio"] + ["ratio"]
    return tokens


def _with_suffixes(name: str, unit: str, kind: str) -> str:
    """Return a name that keeps all its characters, with the suffixes that it does not end with already."""
    ends: list[str] = []
    main, per = _unit_words(unit)
    for suffix, wanted in (("ratio", unit == "1" and kind == GAUGE), ("total", kind == COUNTER), (per, bool(per))):
        if wanted:
            if name.endswith(suffix) and len(name) > len(suffix) + 1:
                name = name[: -len(suffix) - 1]
            ends.insert(0, suffix)
    if main and not name.endswith(main):
        name = f"{name}_{main}"
    return "_".join([name, *ends])


def _unit_words(unit: str) -> tuple[str, str]:
    """Return (word of the unit, `per_` and the word of what it is divided by); what is in braces is none."""
    main, _, per = (part.strip() for part in unit.partition("/"))
    main = "" if "{" in main or "}" in main else _UNITS.get(main, main)
    per = "" if "{" in per or "}" in per else _PER_UNITS.get(per, per)
    return main, f"per_{per}" if per else ""


def _clean_unit(word: str) -> str:
    return re.sub("__+", "_", re.sub("[^a-zA-Z0-9:]", "_", word)).removeprefix("_")


def _escaped_label(name: str, keep_runs: bool) -> str:
    if keep_runs:
        return _NOT_IN_LABEL.sub("_", name)
    if len(name) >= 4 and name.startswith("__") and name.endswith("__"):
        return f"__{_RUN.sub('_', name[2:-2])}__"
    return _RUN.sub("_", name)
