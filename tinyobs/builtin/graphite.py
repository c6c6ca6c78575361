"""Accepts Graphite's plaintext and pickle protocols over TCP and UDP (section `tinyobs.graphite`); off until an address is given.

    tinyobs:
      graphite: {listen_tcp: ["127.0.0.1:2003"], listen_udp: "127.0.0.1:2003"}

Formats: `tinyobs.exposition.graphite`, `graphite_pickle`.  Page: docs/receivers/graphite.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import structlog
from attrs import frozen

from ..abc import Component, ConfigSection, Services, Source
from ..config.fields import Fault, FilePath, setting
from ..exposition.graphite import GraphiteParser, MapPath
from ..exposition.names import plain_metric_name
from ..exposition.pushed import Pushed
from ..hookspecs import hookimpl
from ..model.labels import NAME as LABEL_NAME
from ..model.labels import Labels, from_mapping
from ..receiving.line_source import LineSource, Listening
from ..receiving.mapping.mapping_file import (
    Action,
    MappingDefaults,
    MappingRule,
    bad_matches,
    faults_of_file,
    load_mapping_file,
)
from ..receiving.mapping.matching import RuleMatcher
from ..receiving.names import Names
from ..receiving.outcome import store_decoded
from ..receiving.streams import Frames

NAME: Final = "graphite"
PICKLE: Final = Frames("big", holds_lines=False, bytes_max=1 << 20)
"""Messages of the pickle protocol; the bound is Carbon's."""
SAMPLES_PER_MESSAGE: Final = 500
"""What is assumed of a message; so many Carbon's relays send at one time."""

log = structlog.get_logger(NAME)


@frozen(kw_only=True)
class GraphiteSettings:
    """Where to listen, and what names become."""

    listen_udp: str = setting(default="")
    """Address for datagrams, `host:port`; default none."""
    listen_tcp: tuple[str, ...] = setting(default=())
    """Addresses for connections, `host:port` or `unix:/path`; default none."""
    listen_pickle: tuple[str, ...] = setting(default=())
    """Addresses for connections with Carbon's pickle protocol, `host:port` or `unix:/path`; default none."""
    names: Names = setting(default=Names.UNDERSCORES)
    """Dots and other characters of names become `_` (`underscores`), or stay (`keep`); default underscores."""
    mapping_file: FilePath = setting(default=FilePath(""))
    """A file of mappings as graphite_exporter has them; default "", none."""
    mappings: tuple[MappingRule, ...] = setting(default=())
    """What such a file has under `mappings`; default none."""
    strict_match: bool = setting(default=False)
    """Store only what a mapping fits; default false."""

    def faults(self) -> Iterator[Fault]:
        """Yield what contradicts."""
        if self.mapping_file and self.mappings:
            yield Fault("mappings stand either in a file or here", "mapping_file")
        elif self.mapping_file:
            yield from faults_of_file(self.mapping_file, "mapping_file")
        for i, reason in bad_matches(MappingDefaults(), self.mappings):
            yield Fault(reason, f"mappings[{i}].match")


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `graphite`."""
    return [ConfigSection(NAME, GraphiteSettings)]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return what listens; it sleeps while no address is configured."""
    return [GraphiteSource(services)]


class Graphite:
    """Reads lines and stores what they say."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception = services.reception(NAME)
        self._parser: GraphiteParser | None = None

    async def take(self, lines: bytes, source: str) -> bytes:
        """Store lines; returns when they are durable.  Raises what `Reception.store_from` raises."""
        return await self._store(self._current_parser().parse, lines, lines.count(b"\n"), source)

    async def take_pickle(self, message: bytes, source: str) -> bytes:
        """Store a message of the pickle protocol likewise."""
        return await self._store(self._current_parser().parse_pickle, message, SAMPLES_PER_MESSAGE, source)

    async def _store(self, parse: Callable[[bytes, int], Pushed], body: bytes, samples: int, source: str) -> bytes:
        now = self._services.clock.now_ms()
        outcome = await store_decoded(
            lambda: parse(body, now), samples, source, self._reception, self._services.registry
        )
        if outcome.problems:
            log.debug("samples were refused", source=source, count=outcome.refused, first=outcome.problems[0])
        return b""

    def use(self, config: Any) -> None:
        """Take over names and mappings; raises `ConfigError` when the mapping file cannot be read."""
        section: GraphiteSettings = config.tinyobs.section(NAME)
        self._parser = GraphiteParser(
            self._services.registry, keep_names=section.names is Names.KEEP, map_path=_mapping(section)
        )

    def _current_parser(self) -> GraphiteParser:
        if self._parser is None:
            self.use(self._services.config)
        assert self._parser is not None
        return self._parser


class GraphiteSource(LineSource):
    """Listens, and reads the mapping file again with each configuration."""

    def __init__(self, services: Services) -> None:
        self._graphite = Graphite(services)
        super().__init__(NAME, services, _listening, self._graphite.take, messages=(self._graphite.take_pickle, PICKLE))

    def restart(self) -> Component:
        """Return a source that listens afresh."""
        return GraphiteSource(self._services)

    async def reconfigure(self, config: Any) -> None:
        """Take over a configuration; raises `ConfigError` or `UsageError`, and the mappings before stay."""
        self._graphite.use(config)
        await super().reconfigure(config)


def _mapping(section: GraphiteSettings) -> MapPath | None:
    """Return what maps paths, None where there are no rules."""
    defaults, rules = MappingDefaults(), section.mappings
    if section.mapping_file:
        content = load_mapping_file(section.mapping_file)
        defaults, rules = content.defaults, content.mappings
    if not rules and not section.strict_match:
        return None
    matcher = RuleMatcher(defaults, rules)

    def map_path(path: str) -> Labels | None:
        found = matcher.find(path)
        if found is None:
            return () if section.strict_match else None
        if found.rule.action is Action.DROP:
            return ()
        labels = {label: found.fill(template) for label, template in found.rule.labels}
        name = plain_metric_name(found.fill(found.rule.name))
        if not name:
            raise ValueError(f"the mapping of {found.rule.match} makes no name of a metric of this path")
        return from_mapping({**labels, LABEL_NAME: name})

    return map_path


def _listening(config: Any) -> Listening:
    section = config.tinyobs.section(NAME)
    return Listening(section.listen_udp, section.listen_tcp, messages=section.listen_pickle)
