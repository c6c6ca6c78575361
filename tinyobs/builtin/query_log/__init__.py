"""What is noted of queries: the query log (`global.query_log_file`), slow ones in the daemon's log, and those that were
under way when the daemon was killed."""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import Component, Services
from ...hookspecs import hookimpl
from .component import QueryLog


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Component]:
    """Return the component that writes the logs."""
    return [QueryLog(services)]
