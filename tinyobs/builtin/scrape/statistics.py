"""Counters of scraping, under the names that dashboards and the Prometheus mixin know."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, define, field, frozen


@define
class PoolCounters:
    """What has happened in all pools since the start; shared by every loop."""

    sample_limit: int = 0
    body_size_limit: int = 0
    label_limits: int = 0
    target_limit: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    out_of_bounds: int = 0
    skipped: int = 0
    scrapes: int = 0
    failures: int = 0
    samples: int = 0
    sync_failures: dict[str, int] = Factory(dict)


@frozen
class ScrapeStatistics:
    """How scraping fares."""

    pools: int = field(metadata={"metric": "prometheus_target_scrape_pools_total"})
    """Scrape pools created."""
    pool_targets: Mapping[str, int] = field(
        metadata={"metric": "prometheus_target_scrape_pool_targets", "label": "scrape_job"}
    )
    """Targets in a scrape pool."""
    sync_failures: Mapping[str, int] = field(
        metadata={"metric": "prometheus_target_sync_failed_total", "label": "scrape_job"}
    )
    """Discovered targets that could not be used."""
    sample_limit: int = field(metadata={"metric": "prometheus_target_scrapes_exceeded_sample_limit_total"})
    """Scrapes rejected because they hit the sample limit."""
    body_size_limit: int = field(metadata={"metric": "prometheus_target_scrapes_exceeded_body_size_limit_total"})
    """Scrapes rejected because they hit the body size limit."""
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
    scrapes_total: int
    """Scrapes made."""
    failures_total: int
    """Scrapes that failed."""
    skipped_total: int
    """Scrapes whose samples were not stored because the storage could not take them."""
    samples_total: int
    """Samples scraped."""
