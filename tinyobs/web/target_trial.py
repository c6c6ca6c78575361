"""What "test this target now" is asked and answers: a scrape whose samples are shown instead of stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from attrs import Factory, frozen

from ..model.labels import Labels
from ..model.metadata import MetricMetadata
from ..relabel import Preview, Step

SERIES_SHOWN_DEFAULT = 20
SERIES_SHOWN_MAX = 10_000


@frozen
class TargetQuestion:
    """Which target.

    target: of a pool's present targets, its URL, `instance` or address; "" for the only one.  address: of a target
    that need not be there, scraped as the pool would; labels are more that its discovery would tell.
    """

    pool: str
    target: str = ""
    address: str = ""
    labels: Labels = ()
    series_max: int = SERIES_SHOWN_DEFAULT
    """Series, and other entries, that each list of the answer has."""


@frozen
class TrialSample:
    """A sample that would be stored.  value: as text, a native histogram as its count and sum."""

    labels: Labels
    value: str
    timestamp_ms: int


@frozen
class TargetTest:
    """What a scrape would do.  Lists are cut at `series_max`; the figures are of all."""

    pool: str
    discovered: Labels
    labels: Labels | None
    """Of the target, after relabelling; None: relabelling drops it, and nothing is asked."""
    relabelling: Sequence[Step]
    """Of the target."""
    url: str = ""
    error: str = ""
    """Why the scrape fails, "" when it does not."""
    limit: str = ""
    """The setting whose limit is exceeded."""
    status: int = 0
    """Of the HTTP answer, 0 where there was none."""
    content_type: str = ""
    content_encoding: str = ""
    body_bytes: int = 0
    """As sent."""
    exposition_bytes: int = 0
    """Unpacked."""
    duration_seconds: float = 0.0
    interval: str = ""
    timeout: str = ""
    samples: int = 0
    samples_kept: int = 0
    series: Sequence[TrialSample] = ()
    reports: Mapping[str, float] = Factory(dict)
    """The synthetic series that would be stored (`up`, ...)."""
    metric_relabelling: Preview | None = None
    """What it does to the series; None where nothing was read."""
    metadata: Mapping[str, MetricMetadata] = Factory(dict)
    metadata_count: int = 0
    is_active: bool = False
    """Whether the target is scraped at present."""
    stale: Sequence[Labels] = ()
    """Series of its last scrape that would get a staleness marker."""
    stale_count: int = 0
    warnings: Sequence[str] = ()


TargetTester: TypeAlias = Callable[[TargetQuestion], Awaitable[TargetTest]]
"""Scrapes without storing; raises `LookupError` where there is no such pool or target."""
