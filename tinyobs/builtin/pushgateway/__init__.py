"""A Pushgateway within the daemon (section `tinyobs.pushgateway`): groups of metrics that jobs push, kept until deleted.

    /metrics/job/<JOB>{/<LABEL>/<VALUE>}      PUT, POST and DELETE, as prometheus/pushgateway answers them
    /pushgateway/metrics                      all groups, for servers that scrape a Pushgateway
    /api/v1/metrics, /pushgateway/api/v1/...  its query API; /api/v1/admin/wipe with --web.enable-admin-api

What is pushed is stored at once, and its last value again at every interval until the group is deleted.

    handlers.py   the HTTP side             groups.py    what each group holds
    gateway.py    commits, in order         families.py  which types are where
    changes.py    what waits for a commit   owners.py    which series belong to whom
    source.py     what runs by the clock    exposing.py  what is shown

The wire formats are `exposition/grouping_key.py` and `group_body.py`, the file is `storage/push_journal.py`.  Page:
docs/receivers/pushgateway.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Route, Services, Source
from ...hookspecs import hookimpl
from .handlers import Handlers
from .settings import SECTION, PushgatewaySettings
from .source import Pushgateway


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `pushgateway`."""
    return [ConfigSection(SECTION, PushgatewaySettings)]


@hookimpl
def tinyobs_sources(services: Services) -> Sequence[Source]:
    """Return what keeps the groups alive."""
    return [Pushgateway(services)]


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes."""
    return Handlers(services).routes()
