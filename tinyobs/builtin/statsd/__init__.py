"""StatsD with the tags of DogStatsD, over UDP, TCP and Unix sockets (section `tinyobs.statsd`).

    settings.py       the section
    mapping_file.py   mappings as statsd_exporter has them
    mapper.py         which metric a name becomes
    bunches.py        lines -> what they add to which series
    series.py         the series and their numbers
    buckets.py        observations by bucket
    state.py          what was sent so far
    snapshot.py       the samples of one moment
    source.py         what runs

Lines: `tinyobs/exposition/statsd.py`.  Page: docs/receivers/statsd.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Services, Source
from ...hookspecs import hookimpl
from .settings import SECTION, StatsdSettings
from .source import StatsdSource


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `statsd`."""
    return [ConfigSection(SECTION, StatsdSettings)]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return what listens; it sleeps while no address is configured."""
    return [StatsdSource(services)]
