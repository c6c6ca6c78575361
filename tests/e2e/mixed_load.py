"""Load of every kind for a daemon that is killed: what a request holds follows from its lane and number.

A *lane* is one sender with series of its own.  Request `n` has a sample of each of its series at slot `n` of time, so
whoever reads a sample knows which request it came from and what it must be.  `late` comes out of order: its sample of
request `n` lies at slot `n ^ 7`.  What a lane remembers are numbers only: which requests were sent, which were
acknowledged, and what was deleted.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
from urllib.parse import urlencode

from attrs import Factory, define, field, frozen

from tinyobs.exposition.remote_write_encoder import encode
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import Histogram, ResetHint
from tinyobs.model.labels import Labels, from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType

STEP_MS = 5000
"""From one slot to the next."""
PLAIN_COUNT = 12
"""Series of plain floats in a lane; deletes take some of them."""
LATE_WITHIN = 8
"""Slots within which `late` is out of order."""
METADATA_EVERY = 16

Value = float | Histogram


def integer_histogram(n: int) -> Histogram:
    """Exponential buckets, whole counts; it grows, and begins anew every 500 requests."""
    k = n % 500
    spans, hint = ((0, 2), (3, 1)), ResetHint.UNKNOWN if k else ResetHint.YES
    return Histogram(
        3, 1e-128, 1 + k, 5 + 4 * k, 2.5 * n, spans, (2 + k, 1 + k, 1 + k), reset_hint=hint, is_integer=True
    )


def float_histogram(n: int) -> Histogram:
    """Exponential buckets on both sides, counts that are no whole numbers."""
    positive, negative = (2.5 + n / 8,), (1.0, n / 4)
    count = 0.5 + sum(positive) + sum(negative)
    return Histogram(0, 0.001, 0.5, count, -n / 2, ((1, 1),), positive, ((-2, 2),), negative)


def custom_histogram(n: int) -> Histogram:
    """Bounds of its own, as whole counts or not; the bounds change now and then."""
    bounds = (0.1, 2.0) if n % 100 < 50 else (0.1, 2.5)
    buckets = (1 + n, 2, n % 7)
    if n % 2:
        return Histogram(-53, 0.0, 0, sum(buckets), n / 4, ((0, 3),), buckets, custom_values=bounds, is_integer=True)
    floats = tuple(b + 0.25 for b in buckets)
    return Histogram(-53, 0.0, 0.0, sum(floats), n / 4, ((0, 3),), floats, custom_values=bounds)


def value_of(name: str, i: int, n: int) -> Value:
    """Return what request `n` says of a series."""
    match name:
        case "load":
            return n + i / 64
        case "late":
            return n + 0.5
        case "keep" | "short":
            return 3.0 * n
        case "h_int":
            return integer_histogram(n)
        case "h_float":
            return float_histogram(n)
        case "h_custom":
            return custom_histogram(n)
        case "mixed":
            return integer_histogram(n) if n % 3 == 0 else n / 16
    raise AssertionError(name)


SERIES = [("load", i) for i in range(PLAIN_COUNT)]
SERIES += [(name, 0) for name in ("late", "keep", "short", "h_int", "h_float", "h_custom", "mixed")]


@frozen
class Removal:
    """A delete of one lane: the series of `load` with a number below `below`, or `mixed`, in slots `first` to `last`."""

    name: str
    below: int
    first: int
    last: int

    def takes(self, name: str, i: int) -> bool:
        return name == self.name and i < self.below


@define
class Lane:
    """What one sender knows."""

    number: int
    base_ms: int
    next: int = 0
    acknowledged: set[int] = Factory(set)
    doubtful: set[int] = Factory(set)
    """Sent, and cut off before an answer came."""
    removals: list[Removal] = Factory(list)
    doubtful_removals: list[Removal] = Factory(list)
    labels: dict[tuple[str, int], Labels] = field(init=False)

    def __attrs_post_init__(self) -> None:
        lane = str(self.number)
        self.labels = {(m, i): from_mapping({"__name__": m, "i": f"{i:02d}", "lane": lane}) for m, i in SERIES}

    def time_ms(self, slot: int) -> int:
        return self.base_ms + slot * STEP_MS + self.number

    def slot(self, time_ms: int) -> int:
        return (time_ms - self.base_ms) // STEP_MS

    def exemplar(self, n: int) -> Exemplar:
        return Exemplar(0, (("trace", f"{self.number}-{n}"),), n / 2, self.time_ms(n))

    def family(self, n: int) -> tuple[str, MetricMetadata]:
        return f"family_{self.number}_{n}", MetricMetadata(MetricType.GAUGE, f"Request {n}.", "bytes")

    def body(self, n: int) -> bytes:
        """Return request `n`."""
        series = [
            (self.labels[name, i], [self.time_ms(n ^ 7 if name == "late" else n)], [value_of(name, i, n)])
            for name, i in SERIES
        ]
        metadata = dict([self.family(n)]) if n % METADATA_EVERY == 0 else {}
        return encode(series, metadata, [(self.labels["h_int", 0], [self.exemplar(n)])])

    def send_until_cut(self, port: int) -> None:
        """Push requests until the connection breaks."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        try:
            while True:
                n = self.next
                body = self.body(n)
                self.next += 1
                self.doubtful.add(n)
                connection.request("POST", "/api/v1/write", body, headers)
                answer = connection.getresponse()
                text = answer.read()
                assert answer.status == 204, (answer.status, text)
                self.acknowledged.add(n)
                self.doubtful.discard(n)
        except (http.client.HTTPException, OSError):
            pass
        finally:
            connection.close()


@define
class Operator:
    """Deletes, cleans and makes snapshots, one after the other, until the connection breaks."""

    lanes: list[Lane]
    random: random.Random
    snapshots: list[tuple[str, list[int]]] = Factory(list)
    """Acknowledged ones, each with how many requests every lane had behind it when it was asked for."""
    errors: list[str] = Factory(list)

    def work_until_cut(self, port: int, stop: threading.Event) -> None:
        """Do something every few moments."""
        try:
            while not stop.wait(self.random.uniform(0.01, 0.25)):
                chance = self.random.random()
                if chance < 0.5:
                    self._delete(port)
                elif chance < 0.8:
                    post(port, "clean_tombstones")
                else:
                    settled = [lane.next - 1 for lane in self.lanes]
                    name = json.loads(post(port, "snapshot"))["data"]["name"]
                    self.snapshots.append((name, settled))
        except (http.client.HTTPException, OSError):
            pass
        except Refused as e:
            self.errors.append(str(e))

    def _delete(self, port: int) -> None:
        """Delete a stretch that nothing is being sent to any more."""
        lane = self.random.choice(self.lanes)
        settled = (lane.next - 2) // LATE_WITHIN * LATE_WITHIN
        if settled < 20:
            return
        first = self.random.randrange(max(0, settled - 400), settled - 4)
        last = min(settled - 1, first + self.random.randrange(1, 30))
        name = self.random.choice(["load", "load", "mixed"])
        removal = Removal(name, self.random.randrange(1, PLAIN_COUNT), first, last)
        series = "|".join(f"{i:02d}" for i in range(removal.below))
        selector = f'{name}{{lane="{lane.number}",i=~"{series}"}}'
        start, end = lane.time_ms(first), lane.time_ms(last)
        lane.doubtful_removals.append(removal)
        post(port, "delete_series", {"match[]": selector, "start": start / 1000, "end": end / 1000})
        lane.doubtful_removals.remove(removal)
        lane.removals.append(removal)


class Refused(Exception):
    """The daemon answered, and not that it was done."""


def post(port: int, what: str, form: dict[str, object] | None = None) -> bytes:
    """Ask the admin API for something."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", f"/api/v1/admin/tsdb/{what}?{urlencode(form or {})}")
        answer = connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 204):
            raise Refused(f"{what}: {answer.status} {text!r}")
        return text
    finally:
        connection.close()
