"""The number of an agent in its cluster of scrapers, given by a flag: the configuration is the same for all agents."""

from __future__ import annotations

import attrs

from ..errors import ConfigError, Problem
from .schema import Config

_PATH = ".tinyobs.scrape.cluster.member_number"


def with_member_number(config: Config, text: str, flag: str) -> Config:
    """Return the configuration with another `member_number`; raises `ConfigError` where there is no such member."""
    cluster = attrs.evolve(config.tinyobs.scrape.cluster, member_number=text)
    faults = list(cluster.faults())
    if faults:
        raise ConfigError([Problem(config.file, 0, 0, f"{flag}: {fault}", _PATH) for fault in faults])
    scrape = attrs.evolve(config.tinyobs.scrape, cluster=cluster)
    return attrs.evolve(config, tinyobs=attrs.evolve(config.tinyobs, scrape=scrape))
