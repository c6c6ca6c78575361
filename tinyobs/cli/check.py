"""`tinyobs check`: look at files without running anything."""

from __future__ import annotations

from pathlib import Path

import click

from ..config import loader
from ..config.web_config import load_web_config
from ..errors import ConfigError, Problem
from ..plugin_manager import build_plugin_manager
from ..promql.parser import parse
from ..promql.plugin_functions import function_set
from .flags import enabled_features


@click.group()
def check() -> None:
    """Check files; exit code 0 when they are fine, 1 with every fault and its position when not."""


@check.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--plugin", "plugin_files", multiple=True, help="Load a plugin from a Python file, for its sections and functions."
)
@click.option("--enable-feature", "features", multiple=True, help="Features that the daemon is started with.")
def config(files: tuple[Path, ...], plugin_files: tuple[str, ...], features: tuple[str, ...]) -> None:
    """Check configuration files in the format of prometheus.yml."""
    host = build_plugin_manager(plugin_files)
    sections = host.collect("tinyobs_config_sections")
    kinds = host.collect("tinyobs_discoverers")
    functions = function_set(host.collect_named("tinyobs_promql_functions")).signatures
    enabled = enabled_features(features)

    def check_expression(text: str, opened: frozenset[str]) -> None:
        parse(text, features=opened, functions=functions)

    problems: list[Problem] = []
    for file in files:
        try:
            found = loader.load(file, sections, kinds, check_expression=check_expression, features=enabled)
        except ConfigError as e:
            problems += e.problems
            continue
        for warning in (*found.warnings, *found.not_yet_effective()):
            click.echo(f"WARNING {warning}", err=True)
        click.echo(f"{file}: fine, {len(found.scrape_configs)} scrape configs")
    if problems:
        raise ConfigError(problems)


@check.command("web-config")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def web_config(files: tuple[Path, ...]) -> None:
    """Check files for --web.config.file (TLS, users)."""
    for file in files:
        load_web_config(file)
        click.echo(f"{file}: fine")
