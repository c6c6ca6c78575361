"""The contracts between the agent and its parts.  The docstrings are the specification.

Each contract has an executable checker in `tinyobs.testing`.  Synchronous contracts (`Storage`, `Querier`,
`Processor`, `LogCursor`) never see trio; asynchronous ones (`Component` and its kinds) run under the supervisor, which
owns every nursery.  A part gets everything it may use from the `Services` of its agent.
"""

from ..model.changes import Changes
from ..model.notices import Notice
from .discovery import Discoverer, DiscovererContext, DiscovererKind, TargetGroup
from .log import CursorStart, LogCursor, Logged, LogLoss, LogPosition
from .reading import Querier, Queryable, Selection
from .receiving import Reception, Then
from .running import Component, Exporter, Sink, Source
from .services import Clock, ConfigSection, Dialect, LogFollower, Route, Services
from .storing import Processor, Storage

__all__ = [
    "Changes",
    "Clock",
    "Component",
    "ConfigSection",
    "CursorStart",
    "Dialect",
    "Discoverer",
    "DiscovererContext",
    "DiscovererKind",
    "Exporter",
    "LogCursor",
    "LogFollower",
    "LogLoss",
    "LogPosition",
    "Logged",
    "Notice",
    "Processor",
    "Querier",
    "Queryable",
    "Reception",
    "Route",
    "Selection",
    "Services",
    "Sink",
    "Source",
    "Storage",
    "TargetGroup",
    "Then",
]
