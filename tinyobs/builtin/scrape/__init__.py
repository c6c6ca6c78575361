"""Scraping of targets over HTTP: `targets` (who), `pool` (all of a job), `loop` (one target), `fetch`, `series`."""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import Services, Source
from ...hookspecs import hookimpl
from .manager import ScrapeManager

__all__ = ["ScrapeManager"]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return the scrape manager."""
    return [ScrapeManager(services)]
