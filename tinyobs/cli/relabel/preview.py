"""`tinyobs relabel preview`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

from ...config.encoder import to_yaml
from ...config.relabel_rules import rule_to_plain
from ...errors import TinyObsError
from ...model.labels import from_mapping, to_text
from ...relabel import Rule
from ...relabel import preview as preview_of
from ...web.api_v1.relabelling import preview_json
from ..ask import DEFAULT_URL, ask
from ..tsdb.directories import read_engine
from ..tsdb.parameters import TIME_MAX, TIME_MIN, Time, json_option, selectors
from .rules import chosen_rules, rule_options


@click.command()
@rule_options
@click.option("--url", default=DEFAULT_URL, show_default=True, help="The daemon whose series are looked at.")
@click.option(
    "--storage.tsdb.path",
    "path",
    type=click.Path(path_type=Path),
    help="A data directory, or a snapshot, to look at instead.",
)
@click.option("--match", "matches", multiple=True, help="Only series that fit this selector; repeatable.")
@click.option(
    "--start", type=Time(), default=TIME_MIN, show_default=False, help="Series with samples from this time on."
)
@click.option("--end", type=Time(), default=TIME_MAX, show_default=False, help="Series with samples up to this time.")
@click.option("--limit", type=click.IntRange(0, 1000), default=10, show_default=True, help="Examples of each kind.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=300.0, show_default=True, help="Seconds to wait."
)
@json_option
def preview(
    url: str,
    path: Path | None,
    matches: tuple[str, ...],
    start: int,
    end: int,
    limit: int,
    timeout: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Tell what rules would keep, drop, rename and join among the stored series.

    Asks a running daemon, or reads a data directory that no daemon has open.  Nothing is changed.
    """
    rules = chosen_rules(**options)
    if path is not None:
        data, warnings = _of_directory(path, rules, matches, start, end, limit)
    else:
        data, warnings = _of_daemon(url, rules, matches, start, end, limit, timeout)
    for warning in warnings:
        click.echo(f"WARNING {warning}", err=True)
    click.echo(json.dumps(data, indent=2, ensure_ascii=False) if as_json else "\n".join(_as_text(data)))


def _of_directory(
    path: Path, rules: Sequence[Rule], matches: Sequence[str], start: int, end: int, limit: int
) -> tuple[dict[str, Any], list[str]]:
    chosen = selectors(matches) or [()]
    with read_engine(path) as engine, engine.querier(start, end) as querier:
        parts = [querier.series(matchers) for matchers in chosen]
        found = parts[0] if len(parts) == 1 else dict.fromkeys(chain(*parts))
        return preview_json(preview_of(found, rules, limit), rule_to_plain), []


def _of_daemon(
    url: str, rules: Sequence[Rule], matches: Sequence[str], start: int, end: int, limit: int, timeout: float
) -> tuple[dict[str, Any], list[str]]:
    form = [("rules", to_yaml({"relabel_configs": [rule_to_plain(r) for r in rules]})), ("limit", str(limit))]
    form += [("match[]", text) for text in matches]
    form += [("start", repr(start / 1000))] if start != TIME_MIN else []
    form += [("end", repr(end / 1000))] if end != TIME_MAX else []
    form += [("extended", "true")] if any(r.extended for r in rules) else []
    answer = ask(url, "relabel/preview", form, timeout)
    if answer["status"] != "success":
        raise TinyObsError(str(answer.get("error")))
    return answer["data"], list(answer.get("warnings", []))


def _as_text(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"series     {data['series']}"
    yield f"kept       {data['kept']}"
    yield f"dropped    {data['dropped']}"
    yield f"changed    {data['changed']}"
    yield f"collided   {data['collided']}" + (f" (they become {data['collisions']})" if data["collided"] else "")
    if data.get("saved") and data["dropped"]:
        yield f"saved      about {data['saved']['samples']} samples, {data['saved']['bytes']} bytes of what is stored"
    for i, effect in enumerate(data["rules"]):
        yield f"rule {i + 1}: {effect['rule']['action']}: dropped {effect['dropped']}, changed {effect['changed']}"
    for name, effect in data["labels"].items():
        told = ", ".join(f"{what} {effect[what]}" for what in ("added", "removed", "changed") if effect[what])
        yield f"label {name}: {told}"
    for metric in data["droppedByMetric"]:
        yield f"metric {metric['name']}: dropped {metric['value']}"
    for metric in data["renamedMetrics"]:
        yield f"metric {metric['from']}: becomes {metric['to']} ({metric['value']})"
    yield from _examples(data["examples"])


def _examples(examples: Mapping[str, Any]) -> Iterator[str]:
    for example in examples["dropped"]:
        yield f"DROPPED  {_text(example['labels'])}  by rule {example['rule'] + 1}, {example['reason']}"
    for example in examples["changed"]:
        yield f"CHANGED  {_text(example['from'])} -> {_text(example['to'])}"
    for example in examples["collided"]:
        yield f"COLLIDED {_text(example['to'])} would be {example['count']} series:"
        yield from (f"         {_text(labels)}" for labels in example["from"])


def _text(labels: Mapping[str, str]) -> str:
    return to_text(from_mapping(labels))
