"""`tinyobs target test`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from ...builtin.scrape.manager import loop_rules, pool_defaults
from ...builtin.scrape.targets import Target, make_targets
from ...builtin.scrape.trial import TrialPool, choose, run_trial, target_at
from ...config import loader
from ...config.discovery import STATIC
from ...config.relabel_rules import rule_to_plain
from ...errors import TinyObsError, UsageError
from ...http_client import Client, Shared
from ...model.label_text import read_labels
from ...model.labels import from_mapping, to_text
from ...plugin_manager import build_plugin_manager
from ...runtime.clock import SystemClock
from ...web.api_v1.target_trial import target_test_json
from ...web.target_trial import SERIES_SHOWN_DEFAULT, SERIES_SHOWN_MAX, TargetQuestion, TargetTest
from ..ask import DEFAULT_URL, ask
from ..tsdb.parameters import json_option


@click.command("test")
@click.argument("name", required=False, default="")
@click.option("--pool", required=True, help="The job name of the scrape config.")
@click.option("--address", default="", help="A target that need not be there, scraped as the pool would.")
@click.option("--labels", default="", help='More labels that its discovery would tell, like {__meta_zone="eu"}.')
@click.option("--url", default=DEFAULT_URL, show_default=True, help="The daemon that scrapes.")
@click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    help="Scrape from here, as this configuration says; without --address one of its static targets.",
)
@click.option("--plugin", "plugin_files", multiple=True, help="Load a plugin from a Python file, for its sections.")
@click.option(
    "--limit",
    type=click.IntRange(1, SERIES_SHOWN_MAX),
    default=SERIES_SHOWN_DEFAULT,
    show_default=True,
    help="Entries of each list.",
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=120.0, show_default=True, help="Seconds to wait."
)
@json_option
def test_target(
    name: str,
    pool: str,
    address: str,
    labels: str,
    url: str,
    config_file: Path | None,
    plugin_files: tuple[str, ...],
    limit: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Scrape a target at once, without storing, and show what a scrape would store.

    NAME is the URL, `instance` or address of a target of the pool; it may be left out where there is only one.  The
    daemon needs --web.enable-admin-api for --address and --labels.
    """
    try:
        question = TargetQuestion(pool, name, address, read_labels(labels) if labels else (), limit)
    except ValueError as e:
        raise UsageError(f"--labels: {e}") from None
    if name and (address or labels):
        raise UsageError("give either a NAME, or --address and --labels")
    data = _here(config_file, plugin_files, question) if config_file else _by_daemon(url, question, timeout)
    click.echo(json.dumps(data, indent=2, ensure_ascii=False) if as_json else "\n".join(_as_text(data)))
    if data["dropped"] or data["error"]:
        click.get_current_context().exit(1)


def _by_daemon(url: str, question: TargetQuestion, timeout: float) -> dict[str, Any]:
    form = [("scrapePool", question.pool), ("limit", str(question.series_max))]
    form += [("target", question.target)] if question.target else []
    form += [("address", question.address)] if question.address else []
    form += [("labels", json.dumps(dict(question.labels)))] if question.labels else []
    answer = ask(url, "targets/test", form, timeout)
    if answer["status"] != "success":
        raise TinyObsError(str(answer.get("error")))
    found: dict[str, Any] = answer["data"]
    return found


def _here(file: Path, plugin_files: tuple[str, ...], question: TargetQuestion) -> dict[str, Any]:
    host = build_plugin_manager(plugin_files)
    config = loader.load(file, host.collect("tinyobs_config_sections"), host.collect("tinyobs_discoverers"))
    scrape = next((c for c in config.all_scrape_configs if c.job_name == question.pool), None)
    if scrape is None:
        raise UsageError(f'{file}: scrape pool "{question.pool}" not found')
    pool = TrialPool(pool_defaults(scrape), loop_rules(scrape, config.features), partial(_client, Shared(scrape.http)))
    try:
        found = target_at(pool, question) if question.address or question.labels else _static(scrape, pool, question)
    except LookupError as e:
        raise UsageError(str(e.args[0])) from None
    if isinstance(found, Target):
        found = trio.run(run_trial, pool, found, SystemClock(), question.series_max)
    return target_test_json(found, rule_to_plain)


def _client(shared: Shared, target: Target) -> Client:
    return Client(shared=shared, unix_socket=target.unix_socket)


def _static(scrape: Any, pool: TrialPool, question: TargetQuestion) -> Target | TargetTest:
    """Return one of the targets that are written into the configuration."""
    entries = dict(scrape.discovery).get(STATIC, ())
    groups = [([{"__address__": address} for address in e.targets], dict(e.labels)) for e in entries]
    return choose(make_targets(groups, pool.defaults).targets, question.target, question.pool)


def _as_text(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"target      {_text(data['labels'] or data['discoveredLabels'])}"
    yield from _relabelling(data)
    if data["dropped"]:
        yield "DROPPED     relabelling drops this target: it is not scraped"
        return
    yield f"url         {data['scrapeUrl']}"
    yield f"schedule    every {data['scrapeInterval']}, at most {data['scrapeTimeout']}" + (
        "" if data["active"] else "; not scraped at present"
    )
    if data["status"]:
        packed = f" ({data['contentEncoding']}, {data['expositionBytes']} unpacked)" if data["contentEncoding"] else ""
        yield f"answer      {data['status']}, {data['contentType'] or 'no content type'}, {data['bodyBytes']} bytes{packed}"
    yield f"duration    {data['durationSeconds']:.3f} s"
    if data["error"]:
        yield f"FAILED      {data['error']}" + (f" (limit: {data['limit']})" if data["limit"] else "")
    yield f"samples     {data['samples']} scraped, {data['samplesKept']} to be stored"
    told = data["metricRelabelling"]
    if told and told["rules"]:
        yield f"relabelling drops {told['dropped']} of {told['series']} series, changes {told['changed']}, joins {told['collided']}"
        yield from (f"  dropped   {_text(e['labels'])}  {e['reason']}" for e in told["examples"]["dropped"])
        yield from (f"  joined    {_text(e['to'])} would be {e['count']} series" for e in told["examples"]["collided"])
    yield from (f"  {_text(s['labels'])} {s['value']}" for s in data["series"])
    if len(data["series"]) < data["samplesKept"]:
        yield f"  ... {data['samplesKept'] - len(data['series'])} more"
    yield from (f"report      {name} {value:g}" for name, value in data["reports"].items())
    yield f"metadata    {data['metadataCount']} families"
    if data["staleCount"]:
        yield f"stale       {data['staleCount']} series of the last scrape would end"
        yield from (f"  {_text(labels)}" for labels in data["stale"])


def _relabelling(data: Mapping[str, Any]) -> Iterator[str]:
    for i, step in enumerate(data["relabelSteps"]):
        if step["keep"]:
            yield f"  rule {i + 1}    {step['rule']['action']}: {_text(step['output'])}"
        elif step["reason"]:
            yield f"  rule {i + 1}    DROPPED {step['reason']}"


def _text(labels: Mapping[str, str]) -> str:
    return to_text(from_mapping(labels))
