"""`/federate`: which samples, in which format, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import trio
from web_fakes import NOW_MS, FakeClock, FakeQuerier

from tinyobs.errors import StorageError, Unavailable
from tinyobs.memory_storage.storage import MemoryStorage
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of, stale_histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN
from tinyobs.web.api_statistics import ApiStatistics

HISTOGRAM = Histogram(0, 0.0, 0.0, 3.0, 4.0, ((0, 1),), (3.0,))


class Broken:
    """A store that cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def querier(self, mint_ms: int, maxt_ms: int) -> Any:
        """Fail."""
        raise self.error


def store(*samples: tuple[dict[str, str], int, float | Histogram]) -> MemoryStorage:
    """Return a storage of samples: labels, age in ms, value."""
    registry = SeriesRegistry()
    storage = MemoryStorage(registry, lambda: NOW_MS)
    for labels, age_ms, value in samples:
        native = isinstance(value, Histogram)
        batch = Batch(
            registry.intern_many([from_mapping(labels)]),
            np.array([NOW_MS - age_ms]),
            handles(0, 1) if native else np.array([value]),
            "test",
            histograms=histograms_of([value]) if native else None,
        )
        assert storage.append([batch])[0].stored == 1
    return storage


async def test_only_the_newest_sample_within_the_lookback_counts(make_client: Any) -> None:
    """A series that is too old or ended is left out; each series stands once however many selectors fit it."""
    queryable = store(
        ({"__name__": "b", "x": "1"}, 2000, 1.0),
        ({"__name__": "b", "x": "1"}, 1000, 2.0),
        ({"__name__": "a"}, 0, 3.0),
        ({"__name__": "old"}, 300_001, 4.0),
        ({"__name__": "gone"}, 2000, 5.0),
        ({"__name__": "gone"}, 1000, STALE_NAN),
    )
    client = make_client(queryable=queryable, external_labels=lambda: (("dc", "x"),))
    answer = await client.get("/federate?match[]=b&match[]={__name__=~'.%2B'}")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert answer.text == (
        f'# TYPE a untyped\na{{dc="x",instance=""}} 3 {NOW_MS}\n'
        f'# TYPE b untyped\nb{{x="1",dc="x",instance=""}} 2 {NOW_MS - 1000}\n'
    )
    assert (await client.get("/federate")).text == ""
    assert (await client.get("/federate?match[]={}")).text == ""


async def test_the_format_is_negotiated(make_client: Any) -> None:
    """OpenMetrics for those who prefer it, protobuf with native histograms for those who can read it."""
    queryable = store(({"__name__": "h"}, 0, HISTOGRAM), ({"__name__": "gone"}, 0, stale_histogram()))
    client = make_client(queryable=queryable)
    path = "/federate?match[]={__name__=~'h|gone'}"
    assert (await client.get(path)).text == ""
    openmetrics = await client.get(path, headers={"accept": "application/openmetrics-text;version=1.0.0"})
    assert openmetrics.text == "# EOF\n"
    accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    binary = await client.get(path, headers={"accept": accept})
    assert binary.headers["content-type"].startswith("application/vnd.google.protobuf; proto=")
    assert binary.content[1:4] == b"\x0a\x01h"
    assert b"gone" not in binary.content


async def test_what_is_wrong_is_told_in_plain_text(make_client: Any) -> None:
    """A selector that cannot be read is 400, a storage that fails 500 and is counted, one that is not open 503."""
    client = make_client()
    bad = await client.get("/federate?match[]=sum(")
    assert (bad.status_code, bad.text) == (400, '1:4: parse error: unexpected "("\n')
    assert bad.headers["x-content-type-options"] == "nosniff"
    many = await client.get("/federate?" + "&".join(["match[]=a"] * 1001))
    assert many.status_code == 400
    for error, status in ((StorageError("broken"), 500), (Unavailable("opening"), 503)):
        answer = await make_client(queryable=Broken(error), clock=FakeClock()).get("/federate?match[]=up")
        assert (answer.status_code, answer.text) == (status, f"{error}\n")


async def test_failures_are_counted(make_client: Any) -> None:
    """The counter has the name that dashboards know."""
    statistics = ApiStatistics()
    client = make_client(queryable=Broken(StorageError("broken")), statistics=statistics)
    await client.get("/federate?match[]=up")
    values = {f.name: f.points[0].value for f in statistics.families()}
    assert values["prometheus_web_federation_errors_total"] == 1.0
    assert values["prometheus_web_federation_warnings_total"] == 0.0


async def test_work_ends_when_the_client_is_gone(make_client: Any) -> None:
    """Reading stops at the next block of series, and the view is closed."""
    begun = trio.Event()
    closed_by: list[Any] = []

    class View(FakeQuerier):
        def select(self, matchers: Any, mint_ms: int, maxt_ms: int, check: Any = None, hints: Any = None) -> Any:
            trio.from_thread.run_sync(begun.set)
            while True:  # until the check raises
                check()

        def close(self) -> None:
            super().close()
            closed_by.append(self)

    class Waits:
        def querier(self, mint_ms: int, maxt_ms: int) -> Any:
            return View(mint_ms, maxt_ms, [])

    client = make_client(queryable=Waits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/federate?match[]=up")
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert len(closed_by) == 1
