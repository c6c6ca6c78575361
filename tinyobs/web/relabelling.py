"""What the HTTP handlers need to tell what relabelling does; filled by the agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from ..relabel import Rule


def _no_rules(stage: str, name: str) -> Sequence[Rule]:
    raise LookupError("there is no configuration")


def _no_pool(name: str) -> str:
    raise LookupError(f'scrape pool "{name}" not found')


def _no_parser(text: str, extended: bool | None) -> Sequence[Rule]:
    raise ValueError("rules cannot be read here")


@frozen
class RelabelServices:
    """Rules of the running configuration, and a reader for other ones.

    rules: (stage, name of the pool or remote write, "" for the only one) -> its rules; raises `LookupError`.
    pool_yaml: name -> the scrape config as YAML, without secrets; raises `LookupError`.  parse: (text in YAML or JSON,
    whether extended rules are allowed, None: as the configuration says) -> rules; raises `ConfigError`.  show: a rule
    as a mapping for JSON, with the names of the configuration.
    """

    rules: Callable[[str, str], Sequence[Rule]] = _no_rules
    pool_yaml: Callable[[str], str] = _no_pool
    parse: Callable[[str, bool | None], Sequence[Rule]] = _no_parser
    show: Callable[[Rule], dict[str, object]] = lambda rule: {}
