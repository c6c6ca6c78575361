"""Where the commands get their rules from: a file of rules, or a stage of a configuration file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ...config import loader
from ...config.relabel_rules import parse_relabel_rules
from ...config.schema import Config
from ...config.yaml_tree import read_file
from ...errors import TinyObsError, UsageError
from ...plugin_manager import build_plugin_manager
from ...relabel import Rule
from ...runtime.relabel_services import STAGES, rules_of

Command = Callable[..., Any]


def rule_options(command: Command) -> Command:
    """Add the options that say which rules are meant."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--plugin", "plugin_files", multiple=True, help="Load a plugin from a Python file, for its sections."),
        click.option("--extended", is_flag=True, help="Allow rules of --rules what VictoriaMetrics has besides."),
        click.option("--remote-write", "remote", default="", help="Of stage write: its name, or its position from 0."),
        click.option("--pool", default="", help="Of stages target and metric: the job name of the scrape config."),
        click.option(
            "--stage", type=click.Choice(STAGES), default="target", show_default=True, help="Which rules of the configuration."
        ),
        click.option("--config.file", "config_file", type=path, help="Take the rules of a configuration file."),
        click.option("--rules", "rules_file", type=path, help="Take the rules of a file that holds nothing else."),
    ):  # fmt: skip
        command = option(command)
    return command


def chosen_rules(
    rules_file: Path | None,
    config_file: Path | None,
    stage: str,
    pool: str,
    remote: str,
    extended: bool,
    plugin_files: tuple[str, ...],
) -> Sequence[Rule]:
    """Return the rules that the options name; raises `UsageError` and `ConfigError`."""
    if (rules_file is None) is (config_file is None):
        raise UsageError("give either --rules or --config.file")
    if rules_file is not None:
        try:
            return parse_relabel_rules(read_file(str(rules_file)), str(rules_file), extended=extended)
        except OSError as e:
            raise TinyObsError(f"{rules_file}: {e.strerror or e}") from e
    config = _load(str(config_file), plugin_files)
    if not pool and stage in ("target", "metric"):
        pool = _only_pool(config)
    try:
        return rules_of(config, stage, remote if stage == "write" else pool)
    except LookupError as e:
        raise UsageError(f"{config_file}: {e.args[0]}") from None


def _load(file: str, plugin_files: tuple[str, ...]) -> Config:
    host = build_plugin_manager(plugin_files)
    return loader.load(file, host.collect("tinyobs_config_sections"), host.collect("tinyobs_discoverers"))


def _only_pool(config: Config) -> str:
    names = [c.job_name for c in config.all_scrape_configs]
    if len(names) != 1:
        raise UsageError(f"name the scrape config with --pool: {', '.join(names) or 'there is none'}")
    return names[0]
