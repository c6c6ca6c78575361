"""`tinyobs query`: ask a running daemon, or any server with the Prometheus HTTP API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from ..errors import QueryError
from ..model import labels as lb
from .ask import DEFAULT_URL, ask
from .explain import explained
from .tables import echo_table

Pairs = list[tuple[str, str]]


def _common(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--timeout",
            type=click.FloatRange(0, min_open=True),
            default=120.0,
            show_default=True,
            help="Seconds to wait for the answer.",
        ),
        click.option(
            "-o",
            "--output",
            type=click.Choice(["table", "json"]),
            default="table",
            show_default=True,
            help="A table for people, or the data of the answer as JSON.",
        ),
        click.option("--url", default=DEFAULT_URL, show_default=True, help="The server to ask."),
    ):
        command = option(command)
    return command


_explain = click.option("--explain", is_flag=True, help="Show the plan of the query, and what each part of it took.")
_resolution = click.option(
    "--resolution", help='Downsampling tier to read: "raw", 5m, 1h.  [default: the server chooses by the step]'
)


@click.group()
def query() -> None:
    """Ask a running daemon: PromQL, series, labels."""


@query.command()
@click.argument("expression")
@click.option("--time", "at", help="Evaluation time, RFC 3339 or Unix seconds.  [default: now]")
@_resolution
@_explain
@_common
def instant(
    expression: str, at: str | None, resolution: str | None, explain: bool, url: str, output: str, timeout: float
) -> None:
    """Evaluate a PromQL expression at one time."""
    parameters = [("query", expression), *_given(time=at, resolution=resolution, explain="true" if explain else None)]
    _show(ask(url, "query", parameters, timeout), output, _result_rows)


@query.command("range")
@click.argument("expression")
@click.option("--start", required=True, help="First time, RFC 3339 or Unix seconds.")
@click.option("--end", required=True, help="Last time.")
@click.option("--step", required=True, help="Distance of the steps: 15, 15s, 5m.")
@_resolution
@_explain
@_common
def range_(
    expression: str,
    start: str,
    end: str,
    step: str,
    resolution: str | None,
    explain: bool,
    url: str,
    output: str,
    timeout: float,
) -> None:
    """Evaluate a PromQL expression at many times."""
    parameters = [("query", expression), ("start", start), ("end", end), ("step", step)]
    parameters += _given(resolution=resolution, explain="true" if explain else None)
    _show(ask(url, "query_range", parameters, timeout), output, _result_rows)


@query.command()
@click.argument("selectors", nargs=-1, required=True)
@click.option("--start", help="First time, RFC 3339 or Unix seconds.")
@click.option("--end", help="Last time.")
@_common
def series(
    selectors: tuple[str, ...], start: str | None, end: str | None, url: str, output: str, timeout: float
) -> None:
    """List the series that any of the selectors matches."""
    parameters = [("match[]", s) for s in selectors] + _times(start, end)
    _show(ask(url, "series", parameters, timeout), output, _series_rows)


@query.command()
@click.argument("name", required=False)
@click.option("--match", "selectors", multiple=True, help="Only of series that this selector matches; repeatable.")
@click.option("--start", help="First time, RFC 3339 or Unix seconds.")
@click.option("--end", help="Last time.")
@_common
def labels(
    name: str | None,
    selectors: tuple[str, ...],
    start: str | None,
    end: str | None,
    url: str,
    output: str,
    timeout: float,
) -> None:
    """List label names, or the values of the label NAME."""
    parameters = [("match[]", s) for s in selectors] + _times(start, end)
    path = f"label/{quote(name, safe='')}/values" if name else "labels"
    _show(
        ask(url, path, parameters, timeout, get=bool(name)),
        output,
        lambda data: ((name or "NAME",), [(v,) for v in data]),
    )


def _times(start: str | None, end: str | None) -> Pairs:
    return _given(start=start, end=end)


def _given(**values: str | None) -> Pairs:
    return [(name, value) for name, value in values.items() if value]


def _show(envelope: Mapping[str, Any], output: str, rows: Callable[[Any], tuple[Sequence[str], list[Any]]]) -> None:
    if envelope.get("status") != "success":
        raise QueryError(f"{envelope.get('errorType')}: {envelope.get('error')}")
    for kind in ("warnings", "infos"):
        for text in envelope.get(kind, ()):
            click.echo(f"{kind[:-1]}: {text}", err=True)
    if output == "json":
        click.echo(json.dumps(envelope["data"], indent=2, ensure_ascii=False))
    else:
        echo_table(*rows(envelope["data"]))
        _echo_plan(envelope["data"])


def _echo_plan(data: Any) -> None:
    """Print the plan of a query where the answer has it."""
    if isinstance(data, dict) and "explain" in data:
        click.echo()
        for line in explained(data["explain"]):
            click.echo(line)


def _result_rows(data: Mapping[str, Any]) -> tuple[Sequence[str], list[Any]]:
    kind, result = data["resultType"], data["result"]
    head = ("SERIES", "TIME", "VALUE")
    if kind in ("scalar", "string"):
        return head, [(kind, str(result[0]), result[1])]
    rows = []
    for one in result:
        name = lb.to_text(lb.from_mapping(one["metric"]))
        for at, value in one.get("values", [one["value"]] if "value" in one else []):
            rows.append((name, str(at), value))
    return head, rows


def _series_rows(data: Any) -> tuple[Sequence[str], list[Any]]:
    return ("SERIES",), [(lb.to_text(lb.from_mapping(s)),) for s in data]
