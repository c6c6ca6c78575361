"""The way of pushed samples into storage: rates by source, and counts by protocol and reason.

Requests and bytes are limited before anything is read or decoded, samples before they are stored; what is refused costs
next to nothing and may come again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

import numpy as np
import trio
from attrs import define, field, frozen

from ..abc import Then
from ..config.limit_settings import LimitSettings, RateRule, RateSettings
from ..errors import LimitExceeded, RateLimited, StorageError, Unavailable
from ..model.batch import AppendResult, Batch
from ..model.gate import SOURCE
from ..model.networks import Networks, address_of
from ..model.rates import SOURCES_MAX, RateLimit

REQUEST_LIMIT: Final = "request_limit"
"""The reason of samples of requests that have more of them, or of series, than one may have."""
RATE_LIMITED: Final = "rate_limit"
"""The reason that requests and samples beyond a rate are counted under."""
UNAVAILABLE: Final = "unavailable"
"""The reason of samples that the storage could not take, and was not asked to take later."""


UNITS: Final = ("requests", "samples", "bytes")
"""What rates count."""


class Appends(Protocol):
    """The part of `abc.Services` that is needed here."""

    @property
    def config(self) -> Any:
        """The running configuration."""

    async def append(self, batch: Batch, *, may_wait: bool = False, then: Then | None = None) -> AppendResult:
        """Store a batch."""

    async def append_from(self, make: Callable[[], Batch], samples: int) -> AppendResult:
        """Store what `make` returns."""


@frozen
class ReceptionStatistics:
    """What was pushed, by protocol."""

    requests_total: Mapping[str, int] = field(metadata={"label": "protocol"})
    """Requests, datagrams and pieces of streams that were admitted."""
    received_bytes_total: Mapping[str, int] = field(metadata={"label": "protocol"})
    """Bytes of them as sent."""
    samples_total: Mapping[str, int] = field(metadata={"label": "protocol"})
    """Samples that were stored."""
    refused_total: Mapping[tuple[str, str], int] = field(metadata={"label": ("protocol", "reason")})
    """What was not taken: samples, or lines or requests where it is not known how many samples they held."""


@define
class _Counts:
    requests: int = 0
    size_bytes: int = 0
    samples: int = 0
    refused: dict[str, int] = field(factory=dict)


class Receptions:
    """All receptions of an agent; the limits on rates are shared by the protocols."""

    def __init__(self, services: Appends) -> None:
        self.services = services
        self._counts: dict[str, _Counts] = {}
        self._settings: RateSettings | None = None
        self._rates = _Rates(RateSettings())

    def of(self, protocol: str) -> OneReception:
        """Return the reception of a protocol."""
        return OneReception(protocol, self, self._counts.setdefault(protocol, _Counts()))

    def take(self, source: str, **units: int) -> None:
        """Let a source have so many `requests`, `samples`, `bytes`, or raise `RateLimited`."""
        settings: RateSettings = self.services.config.tinyobs.limits.rates
        if settings is not self._settings and settings != self._settings:
            self._rates = _Rates(settings)
        self._settings = settings
        if self._rates.limits:
            self._rates.take(source, units, trio.current_time())

    def correct(self, source: str, samples: int) -> None:
        """Let a source owe so many samples more, or fewer: it was let in by an estimate."""
        if samples and self._rates.limits:
            self._rates.charge(source, {"samples": samples}, trio.current_time())

    def check_size(self, batch: Batch) -> None:
        """Raise `LimitExceeded` where a batch has more samples or series than one request may have."""
        limits: LimitSettings = self.services.config.tinyobs.limits
        samples_max, series_max = limits.samples_per_request_max, limits.series_per_request_max
        if samples_max and len(batch) > samples_max:
            told = f"{len(batch)} samples in one request (samples_per_request_max {samples_max})"
            raise LimitExceeded("samples_per_request_max", told)
        if series_max and len(batch) > series_max and (series := len(np.unique(batch.refs))) > series_max:
            told = f"{series} series in one request (series_per_request_max {series_max})"
            raise LimitExceeded("series_per_request_max", told)

    def statistics(self) -> ReceptionStatistics:
        """Return the counters."""
        found = sorted(self._counts.items())
        return ReceptionStatistics(
            {name: c.requests for name, c in found},
            {name: c.size_bytes for name, c in found},
            {name: c.samples for name, c in found},
            {(name, reason): n for name, c in found for reason, n in sorted(c.refused.items())},
        )


class OneReception:
    """`abc.Reception` of one protocol."""

    def __init__(self, protocol: str, receptions: Receptions, counts: _Counts) -> None:
        self.protocol = protocol
        self._receptions, self._counts = receptions, counts

    def admit(self, source: str, size_bytes: int = 0, requests: int = 1) -> None:
        """Count work and let it pass, or raise `RateLimited`; see `abc.Reception`."""
        SOURCE.set(source)  # for what this task decodes, here or in a thread
        try:
            self._receptions.take(source, requests=requests, bytes=size_bytes)
        except RateLimited:
            self.refuse(RATE_LIMITED, max(requests, 1))
            raise
        self._counts.requests += requests
        self._counts.size_bytes += size_bytes

    async def store(self, batch: Batch, source: str, *, then: Then | None = None) -> AppendResult:
        """Store a batch; see `abc.Reception`."""

        async def append() -> AppendResult:
            self._receptions.check_size(batch)
            return await self._receptions.services.append(batch.of_source(source), then=then)

        return await self._store(append, len(batch), source)

    async def store_from(self, make: Callable[[], Batch], samples: int, source: str) -> AppendResult:
        """Store what `make` returns; see `abc.Reception`."""

        counted = samples

        def made() -> Batch:
            nonlocal counted
            token = SOURCE.set(source)
            try:
                batch = make()
            finally:
                SOURCE.reset(token)
            counted = len(batch)
            self._receptions.check_size(batch)
            return batch.of_source(source)

        result = await self._store(partial(self._receptions.services.append_from, made, samples), samples, source)
        self._receptions.correct(source, counted - samples)
        return result

    async def _store(self, append: Callable[[], Awaitable[AppendResult]], samples: int, source: str) -> AppendResult:
        try:
            self._receptions.take(source, samples=samples)
        except RateLimited:
            self.refuse(RATE_LIMITED, samples)
            raise
        try:
            result = await append()
        except LimitExceeded:
            self.refuse(REQUEST_LIMIT, samples)
            raise
        except (Unavailable, StorageError):
            self.refuse(UNAVAILABLE, samples)
            raise
        self._counts.samples += result.stored
        if result.refused:
            self.refuse_all({str(reason): count for reason, count in result.refused.items()})
        return result

    def refuse(self, reason: str, count: int = 1) -> None:
        """Count what could not be taken."""
        self._counts.refused[reason] = self._counts.refused.get(reason, 0) + count

    def refuse_all(self, reasons: Mapping[str, int]) -> None:
        """Count what could not be taken, by reason."""
        for reason, count in reasons.items():
            if count:
                self.refuse(reason, count)


class _Rates:
    """The limits of one configuration, with what each source was given."""

    def __init__(self, settings: RateSettings) -> None:
        self._rules: list[tuple[frozenset[str], Networks, RateRule]] = []
        for rule in settings.overrides:
            addresses = [s for s in rule.sources if "/" in s or address_of(s) is not None]
            self._rules.append((frozenset(rule.sources), Networks(addresses), rule))
        self._general = {unit: float(getattr(settings, f"{unit}_per_second")) for unit in UNITS}
        self._of_source: dict[str, dict[str, float]] = {}
        tolerance = settings.burst_ms / 1000
        rates = [self._general, *(self._rates(rule) for _, _, rule in self._rules)]
        self.limits = {unit: RateLimit(1.0, tolerance) for unit in UNITS if any(r[unit] for r in rates)}
        """By what they count; the rates themselves are those of the source."""

    def take(self, source: str, units: Mapping[str, int], now: float) -> None:
        """Let a source have all of these, or raise `RateLimited` and let it have none."""
        rates = self._of(source)
        for unit, count in units.items():
            limit = self.limits.get(unit)
            wait = limit.wait_seconds(source, count, now, rates[unit]) if limit and count and rates[unit] else 0.0
            if wait > 0:
                told = f"{source or 'this source'} pushes too many {unit}: see tinyobs.limits.rates.{unit}_per_second"
                raise RateLimited(told, wait)
        self.charge(source, units, now)

    def charge(self, source: str, units: Mapping[str, int], now: float) -> None:
        """Note that a source was given these; fewer than none: that it was given less than was noted."""
        rates = self._of(source)
        for unit, count in units.items():
            if count and unit in self.limits and rates[unit]:
                self.limits[unit].take(source, count, now, rates[unit])

    def _of(self, source: str) -> dict[str, float]:
        """Return the rates of a source, by unit."""
        if not self._rules:
            return self._general
        found = self._of_source.get(source)
        if found is None:
            rule = next((r for names, networks, r in self._rules if source in names or source in networks), None)
            if len(self._of_source) >= SOURCES_MAX:
                self._of_source.clear()
            found = self._of_source[source] = self._rates(rule) if rule is not None else self._general
        return found

    def _rates(self, rule: RateRule) -> dict[str, float]:
        given = {unit: getattr(rule, f"{unit}_per_second") for unit in UNITS}
        return {unit: self._general[unit] if rate is None else float(rate) for unit, rate in given.items()}
