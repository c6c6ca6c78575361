"""Counters of scraping, under the names that dashboards and the Prometheus mixin know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import Factory, define, field, frozen

from ...discovery.call_durations import Durations
from ...model.families import MetricFamily
from .discovery_statistics import unite


@define
class PoolCounters:
    """What has happened in all pools since the start; shared by every loop."""

    sample_limit: int = 0
    body_size_limit: int = 0
    label_limits: int = 0
    bucket_limit: int = 0
    target_limit: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    out_of_bounds: int = 0
    late_exemplars: int = 0
    skipped: int = 0
    scrapes: int = 0
    failures: int = 0
    samples: int = 0
    intervals: Durations = Factory(lambda: Durations())
    """Time between the scrapes of a target, by interval in ms."""
    syncs: Durations = Factory(lambda: Durations())
    """Time that the sync of a pool took, by job."""
    sync_failures: dict[str, int] = Factory(dict)
    """By job, as are the next."""
    updates: dict[str, int] = Factory(dict)
    refresh_failures: dict[tuple[str, str], int] = Factory(dict)
    """By (kind of discovery, job)."""
    refreshes: Durations = Factory(lambda: Durations())
    """Time that attempts of discoveries took, by (kind of discovery, job)."""
    ended: list[Any] = Factory(list)
    """Statistics of discoveries that have ended, united by class."""

    def retire(self, statistics: Iterable[Any]) -> None:
        """Keep what counts of discoveries that have ended."""
        self.ended = unite((), [*self.ended, *statistics])

    def count(self, by_job: dict[str, int], job: str, more: int = 1) -> None:
        """Count for a job."""
        by_job[job] = by_job.get(job, 0) + more


@frozen
class ScrapeStatistics:
    """How scraping fares."""

    pools: int = field(metadata={"metric": "prometheus_target_scrape_pools_total"})
    """Scrape pools created."""
    pool_targets: Mapping[str, int] = field(
        metadata={"metric": "prometheus_target_scrape_pool_targets", "label": "scrape_job"}
    )
    """Targets in a scrape pool."""
    pool_targets_elsewhere: Mapping[str, int] = field(
        metadata={"metric": "tinyobs_scrape_pool_targets_elsewhere", "label": "scrape_job"}
    )
    """Targets of a scrape pool that other members of the cluster scrape."""
    sync_failures: Mapping[str, int] = field(
        metadata={"metric": "prometheus_target_sync_failed_total", "label": "scrape_job"}
    )
    """Discovered targets that could not be used."""
    pool_syncs: Mapping[str, int] = field(
        metadata={"metric": "prometheus_target_scrape_pool_sync_total", "label": "scrape_job"}
    )
    """Times that targets from discovery were applied to a pool."""
    pool_target_limits: Mapping[str, int] = field(
        metadata={"metric": "prometheus_target_scrape_pool_target_limit", "label": "scrape_job"}
    )
    """Most targets that a pool may have, 0 for no limit."""
    metadata_entries: Mapping[str, int] = field(
        metadata={"metric": "prometheus_target_metadata_cache_entries", "label": "scrape_job"}
    )
    """Metadata entries held for targets."""
    discovered: Mapping[tuple[str, str], int] = field(
        metadata={"metric": "prometheus_sd_discovered_targets", "label": ("name", "config")}
    )
    """Targets that discovery has found, before relabelling."""
    received_updates: Mapping[tuple[str, str], int] = field(
        metadata={"metric": "prometheus_sd_received_updates_total", "label": ("name", "config")}
    )
    """Updates received from discoveries."""
    sent_updates: Mapping[str, int] = field(metadata={"metric": "prometheus_sd_updates_total", "label": "name"})
    """Times that what discoveries found was handed to pools."""
    failed_discoveries: Mapping[str, int] = field(metadata={"metric": "prometheus_sd_failed_configs", "label": "name"})
    """Entries of discovery that could not be started."""
    refresh_failures: Mapping[tuple[str, str], int] = field(
        metadata={"metric": "prometheus_sd_refresh_failures_total", "label": ("mechanism", "config")}
    )
    """Failed attempts of discoveries, crashes among them."""
    timings: Sequence[MetricFamily]
    """Intervals between scrapes, and durations of syncs."""
    discovery: Sequence[Any]
    """Statistics of the discoveries themselves."""
    failure_lines_lost_total: int
    """Failed scrapes that could not be written to the `scrape_failure_log_file`."""
    sample_limit: int = field(metadata={"metric": "prometheus_target_scrapes_exceeded_sample_limit_total"})
    """Scrapes rejected because they hit the sample limit."""
    body_size_limit: int = field(metadata={"metric": "prometheus_target_scrapes_exceeded_body_size_limit_total"})
    """Scrapes rejected because they hit the body size limit."""
    bucket_limit: int = field(
        metadata={"metric": "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total"}
    )
    """Scrapes rejected because a native histogram hit the bucket limit."""
    target_limit: int = field(metadata={"metric": "prometheus_target_scrape_pool_exceeded_target_limit_total"})
    """Times that a pool had more targets than its limit."""
    label_limits: int = field(metadata={"metric": "prometheus_target_scrape_pool_exceeded_label_limits_total"})
    """Scrapes rejected because a series hit a label limit."""
    duplicates: int = field(metadata={"metric": "prometheus_target_scrapes_sample_duplicate_timestamp_total"})
    """Samples rejected because the series has another value at that time."""
    out_of_order: int = field(metadata={"metric": "prometheus_target_scrapes_sample_out_of_order_total"})
    """Samples rejected because the series has newer ones."""
    out_of_bounds: int = field(metadata={"metric": "prometheus_target_scrapes_sample_out_of_bounds_total"})
    """Samples rejected because their time is too old or too far ahead."""
    late_exemplars: int = field(metadata={"metric": "prometheus_target_scrapes_exemplar_out_of_order_total"})
    """Exemplars rejected because the series has newer ones."""
    scrapes_total: int
    """Scrapes made."""
    failures_total: int
    """Scrapes that failed."""
    skipped_total: int
    """Scrapes whose samples were not stored because the storage could not take them."""
    samples_total: int
    """Samples scraped."""
