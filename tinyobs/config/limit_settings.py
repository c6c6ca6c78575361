"""The section `tinyobs.limits`: what may be stored, and how fast it may come.  docs/limits.md explains it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from ..errors import QueryParseError
from ..model.durations import DurationMs
from ..model.sizes import SizeBytes
from ..promql.parser import parse_selector
from .fields import Fault, setting

_SECOND: Final = 1000
_DAY: Final = 86_400 * _SECOND
_MIB: Final = 1 << 20
_SERIES_MAX: Final = 1 << 31


def _duration(default_ms: int, *, name: str, low: int = 0, high: int = _DAY) -> Any:
    return setting(name, default=DurationMs(default_ms), low=low, high=high)


def _size(default: int, *, name: str) -> Any:
    return setting(name, default=SizeBytes(default), low=0, high=65_536 * _MIB)


def _count(high: int = _SERIES_MAX) -> Any:
    return setting(default=0, low=0, high=high)


def _own(high: int = _SERIES_MAX) -> Any:
    return setting(default=None, low=0, high=high)


@frozen(kw_only=True)
class RateRule:
    """Other rates for some sources; what is not given is as for all."""

    sources: tuple[str, ...] = setting()
    """Users, addresses, or networks as `10.0.0.0/8`."""
    requests_per_second: float | None = setting(default=None, low=0)
    """Requests a second; 0: no limit."""
    samples_per_second: float | None = setting(default=None, low=0)
    """Samples a second."""
    bytes_per_second: float | None = setting(default=None, low=0)
    """Bytes a second."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the networks."""
        yield from _network_faults([s for s in self.sources if "/" in s], "sources")


@frozen(kw_only=True)
class RateSettings:
    """How fast each source may push, whichever protocol it speaks.  A source is a user, else an address.  0: no limit."""

    requests_per_second: float = setting(default=0.0, low=0)
    """Requests, datagrams and pieces of streams a second; default 0."""
    samples_per_second: float = setting(default=0.0, low=0)
    """Samples a second; default 0."""
    bytes_per_second: float = setting(default=0.0, low=0)
    """Bytes a second as sent; default 0."""
    burst_ms: DurationMs = _duration(10 * _SECOND, name="burst")
    """How much may come at once: as much as the rate allows in this time; default 10s."""
    overrides: tuple[RateRule, ...] = setting(default=())
    """Other rates for some sources; the first that names a source holds."""
    trusted_proxies: tuple[str, ...] = setting(default=())
    """Addresses and networks of proxies whose `X-Forwarded-For` is believed; default none."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the networks."""
        yield from _network_faults(self.trusted_proxies, "trusted_proxies")


class LimitMode(StrEnum):
    """What becomes of series with values beyond `values_max`."""

    FOLD = "fold"
    REFUSE = "refuse"


class ValuesPer(StrEnum):
    """What the first values are counted for."""

    METRIC = "metric"
    SERIES = "series"


@frozen(kw_only=True)
class LimitRule:
    """Limits for series that match.  What is not given is as for all; 0 is no limit."""

    match: str = setting()
    """A series selector; the first rule that matches a series holds."""
    series_max: int | None = _own()
    """Series that match, together."""
    series_per_metric_max: int | None = _own()
    """Series of one metric name."""
    series_per_job_max: int | None = _own()
    """Series of one `job`."""
    series_per_source_max: int | None = _own()
    """Series of one source."""
    new_series_per_hour_max: int | None = _own()
    """New series that match, in one hour of the clock."""
    new_series_per_day_max: int | None = _own()
    """The same in one day, UTC."""
    labels: tuple[str, ...] = setting(default=())
    """Labels whose number of values is bounded by `values_max`."""
    values_max: int = setting(default=0, low=0, high=1_000_000)
    """Values of each of these labels that are kept, the first ones."""
    values_per: ValuesPer = setting(default=ValuesPer.METRIC)
    """Whether that many for each metric, or for each combination of the other labels (`series`)."""
    mode: LimitMode = setting(default=LimitMode.FOLD)
    """Whether series with other values are folded into one with the value `__other__`, or refused."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the selector and the labels."""
        try:
            parse_selector(self.match)
        except QueryParseError as e:
            yield Fault(f"{self.match!r} is not a series selector: {e}", "match")
        for label in self.labels:
            if label in ("__name__", "le", "quantile"):
                yield Fault(f"the values of {label} cannot be bounded", "labels")
        if bool(self.labels) != bool(self.values_max):
            yield Fault("labels and values_max belong together", "labels")


@frozen(kw_only=True)
class LimitSettings:
    """Limits on what may be stored, whichever way it comes in.  0 means no limit."""

    labels_per_series_max: int = setting(default=64, low=0, high=100_000)
    """Labels of one series, with the metric name."""
    metric_name_bytes_max: int = setting(default=0, low=0, high=_MIB)
    """Longest metric name, in bytes, where that is less than for other values."""
    label_name_bytes_max: int = setting(default=1024, low=0, high=_MIB)
    """Longest label name, in bytes."""
    label_value_bytes_max: int = setting(default=4096, low=0, high=_MIB)
    """Longest label value, in bytes."""
    samples_per_request_max: int = _count(1_000_000_000)
    """Samples of one request, datagram or piece of a stream."""
    series_per_request_max: int = _count(1_000_000_000)
    """Series of one request, datagram or piece of a stream."""
    series_max: int = _count()
    """Series with recent samples."""
    series_per_metric_max: int = _count()
    """Series of one metric name."""
    series_per_job_max: int = _count()
    """Series of one value of the label `job`."""
    series_per_source_max: int = _count()
    """Series of one source; those without a source count for their `job`."""
    new_series_per_hour_max: int = _count()
    """New series in one hour of the clock."""
    new_series_per_day_max: int = _count()
    """New series in one day, UTC."""
    forget_after_ms: DurationMs = _duration(_DAY, name="forget_after", low=3_600_000, high=31 * _DAY)
    """How long a series without samples counts."""
    folded_members_max: int = setting(default=100_000, low=0, high=10_000_000)
    """Series whose last values are remembered because they are folded; more are refused."""
    folded_histograms_size_max_bytes: SizeBytes = _size(64 * _MIB, name="folded_histograms_size_max")
    """Native histograms that are remembered because they are folded; more are refused; default 64MiB."""
    rules: tuple[LimitRule, ...] = setting(default=())
    """Other limits for some series, and bounds for the values of labels."""
    refused_status: int = setting(default=429)
    """What a push over HTTP is answered when all that is refused of it is beyond limits on numbers of series: 429, or 400."""
    rates: RateSettings = setting(factory=RateSettings)

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the status."""
        if self.refused_status not in (400, 429):
            yield Fault("refused_status is 400 or 429", "refused_status")


def _network_faults(networks: tuple[str, ...] | list[str], key: str) -> Iterator[Fault]:
    for text in networks:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield Fault(f"{text!r} is not an address or a network", key)
