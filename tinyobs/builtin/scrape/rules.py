"""How a pool scrapes its targets."""

from __future__ import annotations

from attrs import frozen

from ...exposition.formats import Format
from ...model.histogram_resolution import SCHEMA_MAX
from .series import SeriesRules


@frozen
class LoopRules:
    """How a pool scrapes its targets; a limit of 0 is none."""

    series: SeriesRules
    headers: tuple[tuple[str, str], ...]
    """Request headers, but `Accept` and the timeout's."""
    accept: str = "*/*"
    """The `Accept` header for targets whose native histograms are not scraped."""
    accept_native: str = "*/*"
    """The one for targets whose native histograms are scraped."""
    fallback: Format | None = None
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    sample_limit: int = 0
    body_size_limit: int = 0
    extra_metrics: bool = False
    bucket_limit: int = 0
    """Buckets that a native histogram may have; finer ones are made coarser."""
    schema_max: int = SCHEMA_MAX
    """The finest schema of native histograms; finer ones are made coarser."""
    created: bool = False
    """Whether `_created` series of OpenMetrics are start times instead of series."""
    zeros: bool = False
    """Whether a start time stores a sample of 0."""
