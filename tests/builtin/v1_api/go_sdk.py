"""What the Go SDK of the first TinyObs sends, in Python: counters by increment, histograms by flush, batches of 1000."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

BOUNDS = ("0.001", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10")
BATCH = 1000
ZERO = "0001-01-01T00:00:00Z"


class GoSdk:
    """One process with the SDK; `send` posts a body, `now` gives a time as text."""

    def __init__(self, service: str, now: Callable[[], str]) -> None:
        self.service, self.now = service, now
        self.pending: list[dict] = []
        self.counters: dict[tuple, float] = {}
        self.histograms: dict[tuple, list[float]] = {}

    def _add(self, name: str, type_: str, value: float, labels: dict[str, str], at: str) -> None:
        named = {**labels, "service": self.service}
        metric = {"name": name, "type": type_, "value": value, "labels": dict(sorted(named.items())), "timestamp": at}
        self.pending.append(metric)

    def inc(self, name: str, by: float = 1.0, **labels: str) -> None:
        """Add to a counter: the new sum is sent for each increment."""
        key = (name, *labels.items())
        self.counters[key] = self.counters.get(key, 0.0) + by
        self._add(name, "counter", self.counters[key], labels, self.now())

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._add(name, "gauge", value, labels, self.now())

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Note an observation; it is sent with the next flush."""
        self.histograms.setdefault((name, *labels.items()), []).append(value)

    async def flush(self, send: Callable[[bytes], Awaitable[None]]) -> int:
        """Send all that waits; return in how many batches."""
        for (name, *labels), seen in self.histograms.items():
            own = dict(labels)
            for bound in BOUNDS:
                le = "+Inf" if bound == "10" else bound
                count = sum(v <= float(bound) for v in seen)
                self._add(f"{name}_bucket", "histogram", count, {**own, "le": le}, ZERO)
            self._add(f"{name}_sum", "histogram", sum(seen), own, ZERO)
            self._add(f"{name}_count", "histogram", len(seen), own, ZERO)
        self.histograms.clear()
        batches = [self.pending[i : i + BATCH] for i in range(0, len(self.pending), BATCH)]
        self.pending = []
        for batch in batches:
            await send(json.dumps({"metrics": batch}).encode())
        return len(batches)
