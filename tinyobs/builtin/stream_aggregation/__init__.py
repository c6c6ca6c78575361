"""Stream aggregation before storage: rules that make fewer series and samples of those that come in.

A processor gives every batch to the rules; a source puts out what they have made when an interval is over.  Both work on
one engine, under a lock, since processors run in the writer's threads.  What is put out is not aggregated again.  Rules for
single destinations of remote write are the business of `builtin/remote_write`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Processor, Services, Source
from ...config.stream_aggregation import SECTION, StreamAggregationSettings
from ...hookspecs import hookimpl
from .component import StreamAggregation
from .processor import Aggregating
from .shared import shared


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `stream_aggregation`."""
    return [ConfigSection(SECTION, StreamAggregationSettings)]


@hookimpl
def tinyobs_processors(services: Services) -> Sequence[Processor]:
    """Return the processor that feeds the rules."""
    return [Aggregating(services, shared(services))]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return the source that puts out what they make."""
    return [StreamAggregation(services, shared(services))]
