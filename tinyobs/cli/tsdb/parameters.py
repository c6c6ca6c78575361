"""Options that several commands have, and the times and selectors in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from ...errors import QueryParseError, UsageError
from ...model.durations import parse_duration
from ...model.matchers import Matcher
from ...model.sizes import parse_size
from ...promql.parser import parse_selector

TIME_MIN: Final = -(1 << 63)
TIME_MAX: Final = (1 << 63) - 1

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?\Z")

Command = Callable[..., None]


def path_option(command: Command) -> Command:
    """Add `--storage.tsdb.path`."""
    text = "The data directory, or a snapshot of one."
    return click.option(
        "--storage.tsdb.path",
        "path",
        type=click.Path(path_type=Path, readable=False),
        default="data",
        show_default=True,
        help=text,
    )(command)


def config_option(command: Command) -> Command:
    """Add `--config.file` and, for the sections of plugins in it, `--plugin`."""
    text = "Configuration file of the daemon: its tiers, retention (by selector as well) and other settings of storage hold."
    plugins = "Load a plugin from a Python file, for its sections; repeatable."
    path = click.Path(path_type=Path)
    with_plugins = click.option("--plugin", "plugin_files", multiple=True, help=plugins)(command)
    return click.option("--config.file", "config_file", type=path, help=text)(with_plugins)


def url_option(command: Command) -> Command:
    """Add `--url`."""
    text = "Ask the daemon that runs there (it needs --web.enable-admin-api) instead of opening the directory."
    return click.option("--url", default="", help=text)(command)


def json_option(command: Command) -> Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


class Time(click.ParamType[int]):
    """A time: RFC 3339, or a number of seconds (of milliseconds where `unit_ms` is 1)."""

    name = "time"

    def __init__(self, unit_ms: int = 1000) -> None:
        self._unit_ms = unit_ms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds since 1970."""
        if isinstance(value, int):
            return value
        if _NUMBER.match(value):
            return (
                min(max(round(float(value) * self._unit_ms), TIME_MIN), TIME_MAX)
                if "." in value
                else _whole(int(value) * self._unit_ms)
            )
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write 2026-01-31T12:00:00Z or a Unix time", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone: end it with Z or +01:00", param, ctx)
        return round(moment.timestamp() * 1000)


def _whole(time_ms: int) -> int:
    return min(max(time_ms, TIME_MIN), TIME_MAX)


class Duration(click.ParamType[int]):
    """A duration, written like `90d`, in milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return milliseconds."""
        if isinstance(value, int):
            return value
        try:
            return int(parse_duration(str(value)))
        except ValueError as e:
            self.fail(str(e), param, ctx)


class Size(click.ParamType[int]):
    """Bytes, or bytes a second, written like `50MB`; 0 is no bound."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        try:
            return int(parse_size(str(value))) if value != "0" else 0
        except ValueError as e:
            self.fail(str(e), param, ctx)


rate_option = click.option(
    "--rate",
    type=Size(),
    default="0",
    show_default=True,
    help="Bytes a second to read at most, e.g. 50MB; 0: no bound.",
)


def selectors(texts: Sequence[str]) -> list[tuple[Matcher, ...]]:
    """Return the matchers of each `--match`; raises `UsageError`."""
    try:
        return [parse_selector(text) for text in texts]
    except QueryParseError as e:
        raise UsageError(f"--match: {e}") from e
