"""A configuration file -> a `Config`, or a `ConfigError` with every problem of that file and the files it names.

`parse` works on text alone; `load` also reads the files of `scrape_config_files` and `rule_files`.  Nothing is
started or contacted.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from ..abc import ConfigSection, DiscovererKind
from ..errors import ConfigError, PluginError, Problem
from .cross_checks import JobNames, finish_scrape_configs, finish_sections
from .decoder import BROKEN, Decoder, in_order
from .discovery import discovery_group
from .effect import without_effect
from .environment import expand_label
from .feature_flags import conflict
from .fields import Fault, known_keys
from .rule_file import CheckExpression, RuleFile, parse_rules, unreadable
from .schema import Config
from .scraping import GlobalConfig, ScrapeConfig, ScrapeConfigFile, ValidationScheme
from .settings import Settings
from .yaml_tree import MappingNode, Node, Scalar, parse_tree, read_file

FILES_MAX: Final = 10_000
"""Most files that the globs of a configuration may name."""

_GLOB: Final = re.compile(r"[^*]*(?:\*[^/]*)?\Z")
CheckExpressionWith: TypeAlias = Callable[[str, frozenset[str]], object]
"""Checks an expression, given the features that are switched on."""
Discoverers: TypeAlias = Mapping[str, DiscovererKind] | Iterable[DiscovererKind] | None
"""Kinds of discovery, listed or by key."""


def parse(
    text: str | bytes,
    filename: str = "tinyobs.yml",
    sections: Sequence[ConfigSection] = (),
    discoverers: Discoverers = None,
    environment: Mapping[str, str] | None = None,
    features: frozenset[str] = frozenset(),
) -> Config:
    """Return the configuration in a text; raises `ConfigError` with all its problems.

    sections: those of plugins.  discoverers: the kinds of discovery that there are; None means those that are built
    in.  environment: variables, by default those of the process.  features: what is switched on besides.
    """
    reading = _Reading(filename, sections, discoverers, os.environ if environment is None else environment, features)
    config = reading.main(text)
    if config is None or reading.problems:
        raise ConfigError(in_order(reading.problems))
    return config


def load(
    path: str | os.PathLike[str],
    sections: Sequence[ConfigSection] = (),
    discoverers: Discoverers = None,
    environment: Mapping[str, str] | None = None,
    check_expression: CheckExpressionWith | None = None,
    features: frozenset[str] = frozenset(),
) -> Config:
    """Return the configuration in a file and in the files that it names; raises `ConfigError`.

    check_expression: called with each expression of the rule files, and with the features that the configuration
    switches on; raises `QueryParseError` for a bad one.
    """
    filename = os.fspath(path)
    try:
        text = read_file(filename)
    except OSError as e:
        raise ConfigError([unreadable(filename, e)]) from None
    reading = _Reading(filename, sections, discoverers, os.environ if environment is None else environment, features)
    config = reading.main(text)
    if config is not None:
        config = attrs.evolve(config, tinyobs=reading.with_files(config.tinyobs))
    included = reading.included_scrape_configs()
    opened = features if config is None else config.features
    rules = reading.rule_files(None if check_expression is None else lambda text: check_expression(text, opened))
    if config is None or reading.problems:
        raise ConfigError(in_order(reading.problems))
    return attrs.evolve(config, included_scrape_configs=included, rules=rules, warnings=tuple(reading.warnings))


class _Reading:
    """One run over a configuration: the problems and what later steps need of earlier ones."""

    def __init__(
        self,
        filename: str,
        sections: Sequence[ConfigSection],
        discoverers: Discoverers,
        environment: Mapping[str, str],
        features: frozenset[str],
    ) -> None:
        self.filename = filename
        self.folder = os.path.dirname(filename)
        self.environment = environment
        self.features = features
        self.sections = {s.name: s.schema for s in sections}
        taken = set(known_keys(Settings, {})) & set(self.sections)
        if taken or len(self.sections) < len(sections):
            raise PluginError(f"configuration section registered twice: {', '.join(sorted(taken or self.sections))}")
        kinds = None if discoverers is None else _schemas(discoverers)
        self.groups = {"discovery": discovery_group(kinds), "sections": dict[str, Any](self.sections)}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.expands = False
        self.context: dict[str, Any] = {}
        self._globals = GlobalConfig().normalized()
        self._jobs: JobNames = {}
        self._patterns: dict[str, tuple[str, ...]] = {}

    # -- the main file -------------------------------------------------------------------------------------------

    def main(self, text: str | bytes) -> Config | None:
        """Return the configuration of the main file, None when there are problems in it."""
        root, problems = parse_tree(text, self.filename)
        self.problems += problems
        if root is None and problems:
            return None
        root = root or MappingNode(1, 1)
        self.expands = _says_true(root, "tinyobs", "expand_env")
        self.context = {"extended": _says_true(root, "tinyobs", "relabel", "extended")}
        decoder = self._decoder(self.filename, self.folder)
        values = decoder.fields(root, Config, "")
        if values["global_config"] is not BROKEN:
            self._globals = values["global_config"] = self._with_environment(values["global_config"], decoder)
        for key, what in (("rule_files", "rule"), ("scrape_config_files", "scrape config")):
            self._patterns[key] = _checked_patterns(values[key], key, what, decoder)
        values["scrape_configs"] = finish_scrape_configs(
            values["scrape_configs"], root, decoder, self._globals, self._jobs, "main config file"
        )
        finish_sections(values, decoder, self._globals)
        settings: Any = values["tinyobs"]
        features = self.features | frozenset(settings.features if settings is not BROKEN else ())
        if reason := conflict(features):
            decoder.report(reason, ".tinyobs.features")
        self.problems += decoder.problems
        if self.problems:
            return None
        given = dict(settings.sections)
        complete = tuple((name, given[name] if name in given else schema()) for name, schema in self.sections.items())
        values["tinyobs"] = attrs.evolve(settings, sections=complete)
        own = ".tinyobs" in decoder.positions
        config = Config(
            **values, file=self.filename, features=features, warnings=tuple(self.warnings), shows_own_section=own
        )
        return attrs.evolve(config, ineffective=tuple(without_effect(config, decoder.positions)))

    def _decoder(self, file: str, folder: str) -> Decoder:
        return Decoder(file, folder, self.groups, self.environment if self.expands else None, self.context)

    def _with_environment(self, config: GlobalConfig, decoder: Decoder) -> GlobalConfig:
        """Return the global section with the environment variables in its external labels replaced."""
        labels = []
        for name, text in config.external_labels:
            value, missing = expand_label(text, self.environment)
            labels.append((name, value))
            for variable in missing:
                path = f".global.external_labels.{name}"
                message = f"the environment variable '{variable}' is empty"
                self.warnings.append(Problem(decoder.file, *decoder.position(path), message, path))
        return attrs.evolve(config, external_labels=tuple(labels))

    # -- the files that it names ---------------------------------------------------------------------------------

    def included_scrape_configs(self) -> tuple[ScrapeConfig, ...]:
        """Return the scrape configs of all files of `scrape_config_files`."""
        out: list[ScrapeConfig] = []
        for file, text in self._files("scrape_config_files"):
            root, problems = parse_tree(text, file)
            self.problems += problems
            if root is None:
                continue
            decoder = self._decoder(file, os.path.dirname(file))
            values = decoder.fields(root, ScrapeConfigFile, "")
            found = finish_scrape_configs(
                values["scrape_configs"], root, decoder, self._globals, self._jobs, f'"{os.path.abspath(file)}"'
            )
            self.problems += decoder.problems
            if found is not BROKEN:
                out.extend(found)
        return tuple(out)

    def with_files(self, settings: Settings) -> Settings:
        """Return the settings with what sections of plugins keep in files of their own."""
        sections = tuple(
            (name, value.including(self._included) if hasattr(value, "including") else value)
            for name, value in settings.sections
        )
        return attrs.evolve(settings, sections=sections)

    def _included(self, file: str, type_: Any, check: Callable[[Any], Iterable[Fault]]) -> Any:
        """Return the value in a file; see `fields.Included`."""
        try:
            text = read_file(file)
        except OSError as e:
            self.problems.append(unreadable(file, e))
            return None
        root, problems = parse_tree(text, file)
        self.problems += problems
        if root is None:
            return None
        decoder = self._decoder(file, os.path.dirname(file))
        value = decoder.decode(root, type_, "")
        if not decoder.problems:
            for fault in check(value):
                decoder.report(str(fault), fault.key)
        self.problems += decoder.problems
        return None if problems or decoder.problems else value

    def rule_files(self, check_expression: CheckExpression | None) -> tuple[RuleFile, ...]:
        """Return all rule files."""
        legacy = self._globals.metric_name_validation_scheme is ValidationScheme.LEGACY
        out = []
        for file, text in self._files("rule_files"):
            try:
                out.append(parse_rules(text, file, check_expression, legacy_names=legacy))
            except ConfigError as e:
                self.problems += e.problems
        return tuple(out)

    def _files(self, key: str) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the files that a key's globs match, in order of the globs, each once."""
        names: dict[str, None] = {}
        for pattern in self._patterns.get(key, ()):
            found = sorted(glob.glob(pattern, include_hidden=True))
            if not found and not glob.has_magic(pattern) and key == "rule_files":
                self.warnings.append(Problem(self.filename, 0, 0, f"no file matches '{pattern}'", f".{key}"))
            names.update(dict.fromkeys(found))
        if len(names) > FILES_MAX:
            self.problems.append(Problem(self.filename, 0, 0, f"{key} names more than {FILES_MAX} files", f".{key}"))
            return
        for name in names:
            try:
                yield name, read_file(name)
            except OSError as e:
                self.problems.append(unreadable(name, e))


def _schemas(discoverers: Mapping[str, DiscovererKind] | Iterable[DiscovererKind]) -> dict[str, type]:
    kinds = discoverers.values() if isinstance(discoverers, Mapping) else discoverers
    return {kind.key: kind.schema for kind in kinds}


def _says_true(root: Node, *keys: str) -> bool:
    """Tell whether a file says true below these keys: how the rest of it is read depends on it."""
    node: Node | None = root
    for key in keys:
        node = node.pairs.get(key) if isinstance(node, MappingNode) else None
    return isinstance(node, Scalar) and node.plain and node.text.lower() in ("true", "yes", "on", "y")


def _checked_patterns(found: Any, key: str, what: str, decoder: Decoder) -> tuple[str, ...]:
    if found is BROKEN:
        return ()
    good = []
    for i, pattern in enumerate(found):
        if isinstance(pattern, str) and _GLOB.match(pattern):
            good.append(pattern)
        elif isinstance(pattern, str):
            decoder.report(f'invalid {what} file path "{pattern}"', f".{key}[{i}]")
    return tuple(good)
