"""The section `tinyobs.statsd`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from attrs import frozen

from ...config.fields import Fault, FilePath, setting
from ...exposition.statsd import TagStyles
from ...model.durations import DurationMs
from ...model.labels import is_legacy_label_name
from ...receiving.mapping.mapping_file import (
    BUCKETS,
    MappingDefaults,
    MappingRule,
    bad_matches,
    faults_of_file,
)

SECTION: Final = "statsd"
_MODE: Final = re.compile(r"[0-7]{3,4}\Z")


class Observer(StrEnum):
    """What timers, histograms and distributions become."""

    NATIVE = "native"
    CLASSIC = "classic"
    SUMMARY = "summary"


@frozen(kw_only=True)
class StatsdSettings:
    """The section."""

    listen_udp: str = setting(default="")
    """Address for datagrams over UDP, `host:port` or `:port`; default "", none."""
    listen_tcp: str = setting(default="")
    """Address for lines over TCP; default "", none."""
    listen_unixgram: FilePath = setting(default=FilePath(""))
    """Path of a Unix socket for datagrams; default "", none."""
    listen_unix: FilePath = setting(default=FilePath(""))
    """Path of a Unix socket for lines; default "", none."""
    unix_socket_mode: str = setting(default="755")
    """Permissions of the Unix sockets, octal; who sends must have the right to write; default 755."""
    dogstatsd_tags: bool = setting(default=True)
    """Whether tags are read as DogStatsD has them; default true."""
    influxdb_tags: bool = setting(default=True)
    """Whether tags are read as InfluxDB has them; default true."""
    librato_tags: bool = setting(default=True)
    """Whether tags are read as Librato has them; default true."""
    signalfx_tags: bool = setting(default=True)
    """Whether tags are read as SignalFX has them; default true."""
    container_id: bool = setting(default=True)
    """Whether the container that DogStatsD names becomes the label `container_id`; default true."""
    tag_without_value: str = setting(default="")
    """The value of tags of DogStatsD that have none; default "", they are left out."""
    service_checks: bool = setting(default=False)
    """Whether service checks become gauges `statsd_service_check`; default false, they are counted only."""
    flush_interval_ms: DurationMs = setting("flush_interval", default=DurationMs(10_000), low=100, high=3_600_000)
    """How often everything is stored; default 10s."""
    ttl_ms: DurationMs = setting("ttl", default=DurationMs(0), low=0)
    """How long a series is stored that nothing is sent for; default 0s, for ever."""
    series_max: int = setting(default=100_000, low=1, high=10_000_000)
    """Names with tags that are kept; what comes for others is counted and dropped; default 100000."""
    set_values_max: int = setting(default=100_000, low=1, high=10_000_000)
    """Different values of all sets in one interval; default 100000."""
    observer_type: Observer = setting(default=Observer.NATIVE)
    """What timers, histograms and distributions become: `native` histograms, `classic` ones or `summary`; default native."""
    buckets: tuple[float, ...] = setting(default=BUCKETS)
    """Buckets of classic histograms; default those of Prometheus' client libraries."""
    quantiles: tuple[float, ...] = setting(default=(0.5, 0.9, 0.99))
    """Quantiles of summaries; default 0.5, 0.9 and 0.99."""
    native_histogram_bucket_factor: float = setting(default=1.1, low=1.001, high=65536)
    """How much a bucket of a native histogram may be wider than the one before; default 1.1."""
    native_histogram_max_buckets: int = setting(default=160, low=4, high=10_000)
    """Buckets that a native histogram may have before they become wider; default 160."""
    labels: tuple[tuple[str, str], ...] = setting(default=())
    """Labels of all series, where neither tags nor mappings say otherwise; default none."""
    mapping_file: FilePath = setting(default=FilePath(""))
    """A file of mappings as statsd_exporter has them; default "", none."""
    defaults: MappingDefaults = setting(factory=MappingDefaults)
    """What such a file has under `defaults`."""
    mappings: tuple[MappingRule, ...] = setting(default=())
    """What such a file has under `mappings`; default none."""

    def faults(self) -> Iterator[Fault]:
        """Yield what contradicts."""
        if self.mapping_file and (self.mappings or self.defaults != MappingDefaults()):
            yield Fault("mappings stand either in a file or here", "mapping_file")
        elif self.mapping_file:
            yield from faults_of_file(self.mapping_file, "mapping_file")
        for i, reason in bad_matches(self.defaults, self.mappings):
            yield Fault(reason, f"mappings[{i}].match")
        if not _MODE.match(self.unix_socket_mode):
            yield Fault("permissions are three or four octal digits, as in 755", "unix_socket_mode")
        if list(self.buckets) != sorted(set(self.buckets)):
            yield Fault("buckets must ascend", "buckets")
        if not all(0 <= q <= 1 for q in self.quantiles):
            yield Fault("a quantile is a number from 0 to 1", "quantiles")
        for name, _ in self.labels:
            if not is_legacy_label_name(name) or name.startswith("__"):
                yield Fault(f"{name!r} is no name of a label", f"labels.{name}")

    @property
    def tag_styles(self) -> TagStyles:
        """Which tags are read."""
        return TagStyles(
            dogstatsd=self.dogstatsd_tags,
            influxdb=self.influxdb_tags,
            librato=self.librato_tags,
            signalfx=self.signalfx_tags,
            container_id=self.container_id,
            without_value=self.tag_without_value,
        )
