"""`tinyobs limits`: what the limits of a running daemon refused and folded."""

from __future__ import annotations

import json
from typing import Any

import click

from ..errors import QueryError
from ..model import labels as lb
from .ask import DEFAULT_URL, ask
from .tables import echo_table

_EXAMPLES_SHOWN = 3


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="The server to ask.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Tables for people, or the data of the answer as JSON.",
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=30.0, help="Seconds to wait for the answer."
)
def limits(url: str, output: str, timeout: float) -> None:
    """Show which limits refused samples, and what was folded."""
    answer = ask(url, "status/limits", (), timeout, get=True)
    if answer.get("status") != "success":
        raise QueryError(str(answer.get("error", "the server gave no answer")))
    data = answer["data"]
    if output == "json":
        click.echo(json.dumps(data, indent=2))
        return
    click.echo(
        f"series that count: {data['series']}, new this hour: {data['newSeriesThisHour']}, today: {data['newSeriesToday']}; "
        f"folded: {data['foldedMembers']} into {data['foldedSeries']}"
    )
    _refused(data["refused"])
    _folded(data["folded"])


def _refused(entries: list[dict[str, Any]]) -> None:
    if not entries:
        click.echo("no samples were refused")
        return
    rows = [
        (e["limit"], str(e["value"]), e["of"], str(e["samples"]), lb.to_text(lb.from_mapping(e["example"])))
        for e in entries
    ]
    echo_table(("LIMIT", "VALUE", "OF", "SAMPLES REFUSED", "EXAMPLE"), rows)


def _folded(entries: list[dict[str, Any]]) -> None:
    if not entries:
        return
    rows = [
        (
            e["metric"],
            e["label"],
            str(e["keptValues"]),
            str(e["foldedValues"]),
            str(e["samples"]),
            ", ".join(e["examples"][:_EXAMPLES_SHOWN]),
        )
        for e in entries
    ]
    echo_table(("METRIC", "LABEL", "KEPT", "FOLDED", "SAMPLES FOLDED", "EXAMPLES"), rows)
