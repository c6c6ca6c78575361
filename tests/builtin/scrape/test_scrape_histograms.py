"""Histograms, exemplars, start times and sockets in real scrapes, by the settings about them."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from protobuf_bodies import body_of
from test_scrape_settings import Scrapes

from tinyobs.builtin.scrape.manager import ScrapeManager, loop_rules
from tinyobs.builtin.scrape.pool import ScrapePool
from tinyobs.builtin.scrape.targets import TargetError, make_target
from tinyobs.config.loader import parse
from tinyobs.exposition.client_schema import COUNTER, HISTOGRAM
from tinyobs.http_client import Client
from tinyobs.model.histograms import CUSTOM_SCHEMA, numbers_of
from tinyobs.model.staleness import is_stale_value
from tinyobs.testing.services import FakeServices
from tinyobs.testing.targets import OPENMETRICS, FakeTarget, fake_target

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
NATIVE = {
    "sample_count": 10,
    "sample_sum": 5.5,
    "schema": 3,
    "zero_threshold": 0.001,
    "positive_span": [{"offset": 0, "length": 4}],
    "positive_delta": [1, 1, 1, 1],
    "bucket": [{"upper_bound": 1, "cumulative_count": 4}],
    "created_timestamp": {"seconds": 1},
}
HISTOGRAMS = body_of(("h", HISTOGRAM, [{"histogram": NATIVE}]))
CLASSIC = b'# TYPE h histogram\nh_bucket{le="1"} 4\nh_bucket{le="+Inf"} 10\nh_sum 5.5\nh_count 10\n'


@asynccontextmanager
async def scraping(options="", top="", **target):
    """Serve a target, of protobuf by default, and make what scrapes it."""
    async with fake_target(FakeTarget(**{"body": HISTOGRAMS, "content_type": PROTOBUF, **target})) as served:
        scrapes = Scrapes(served, options, top)
        try:
            yield scrapes
        finally:
            await scrapes.client.aclose()


def stored(scrapes):
    """Return what was appended last: [(name, value or histogram)], without the synthetic series."""
    batch, found = scrapes.services.batches[-1], []
    for ref, value in zip(batch.refs.tolist(), batch.values, strict=True):
        name = dict(scrapes.services.registry.labels(ref))["__name__"]
        number = int(numbers_of(value.reshape(1))[0])
        if name != "up" and not name.startswith("scrape_"):
            found.append((name, float(value) if number < 0 else batch.histograms.one(number)))
    return found


async def test_native_histograms_are_scraped_where_it_is_configured():
    """Protobuf is asked for first, and the native form is stored, with its start."""
    async with scraping("scrape_native_histograms: true") as s:
        assert await s.scrape() == ""
        ((name, histogram),) = stored(s)
        assert s.request["accept"].startswith("application/vnd.google.protobuf;proto=")
        assert s.services.batches[-1].starts_ms.tolist() == [1000, 0, 0, 0, 0, 0]
        assert s.samples("scrape_samples_scraped") == {"scrape_samples_scraped{T}": [(1000, 1.0)]}
    assert (name, histogram.schema, histogram.count) == ("h", 3, 10)


async def test_by_default_the_classic_form_is_scraped():
    """Native parts are left out, and protobuf is not asked for."""
    async with scraping() as s:
        assert await s.scrape() == ""
        assert [name for name, _ in stored(s)] == ["h_count", "h_sum", "h_bucket", "h_bucket"]
        assert "protobuf" not in s.request["accept"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("scrape_native_histograms: true\nalways_scrape_classic_histograms: true", ["h", "h_bucket", "h_bucket", "h_count", "h_sum"]),
        ("convert_classic_histograms_to_nhcb: true", ["h"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["job", "global"])
async def test_forms_of_histograms(options, names, where):
    """The settings of a job, or of all jobs, choose among the forms."""
    top = "global: {" + options.replace("\n", ", ") + "}" if where == "global" else ""
    async with scraping("" if top else options, top) as s:
        assert await s.scrape() == ""
        assert sorted(name for name, _ in stored(s)) == names


@pytest.mark.parametrize("content_type", ["text/plain; version=0.0.4", OPENMETRICS])
async def test_classic_histograms_of_text_become_native(content_type):
    """Every format can be converted; nothing else is asked for."""
    body = CLASSIC + (b"# EOF\n" if content_type == OPENMETRICS else b"")
    async with scraping("convert_classic_histograms_to_nhcb: true", body=body, content_type=content_type) as s:
        for _ in range(2):
            assert await s.scrape() == ""
        ((name, histogram),) = stored(s)
        assert (name, histogram.schema, histogram.custom_values) == ("h", CUSTOM_SCHEMA, (1.0,))
        assert "protobuf" not in s.request["accept"]


async def test_labels_choose_forms_for_single_targets():
    """Relabelling overrides the job: what the labels say stands, also what is asked for."""
    options = """scrape_native_histograms: false
relabel_configs:
- {target_label: __scrape_native_histograms__, replacement: "true"}
- {target_label: __always_scrape_classic_histograms__, replacement: T}"""
    async with scraping(options) as s:
        assert await s.scrape() == ""
        assert len(stored(s)) == 5
        assert s.request["accept"].startswith("application/vnd.google.protobuf")
        assert dict(s.loop.target.discovered)["__scrape_native_histograms__"] == "false"


def test_a_label_that_says_neither_yes_nor_no():
    """Such a target cannot be scraped, and the error names the label."""
    (config,) = parse("scrape_configs: [{job_name: j}]", "f.yml").all_scrape_configs
    defaults = ScrapeManager(FakeServices())._make(config, {})._defaults
    with pytest.raises(TargetError, match="error parsing __scrape_native_histograms__ label"):
        make_target({"__address__": "a:1", "__scrape_native_histograms__": "maybe"}, {}, defaults)


@pytest.mark.parametrize(
    ("option", "schema", "buckets"),
    [
        ("native_histogram_bucket_limit: 4", 3, 4),
        ("native_histogram_bucket_limit: 3", 2, 3),
        ("native_histogram_bucket_limit: 2", 1, 2),
        ("native_histogram_min_bucket_factor: 1.1", 2, 3),
        ("native_histogram_min_bucket_factor: 4", -1, 2),
        ("native_histogram_min_bucket_factor: 1.0", 3, 4),
    ],
)
async def test_histograms_are_made_coarser(option, schema, buckets):
    """Limits of buckets and of their growth are kept by merging neighbours."""
    async with scraping("scrape_native_histograms: true\n" + option) as s:
        assert await s.scrape() == ""
        ((_, histogram),) = stored(s)
    assert (histogram.schema, len(histogram.positive_buckets)) == (schema, buckets)
    assert sum(histogram.positive_buckets) == 10


async def test_too_many_buckets_fail_the_scrape():
    """What cannot be made coarser enough is not stored; relabelling it away helps."""
    options = "convert_classic_histograms_to_nhcb: true\nnative_histogram_bucket_limit: 1"
    async with scraping(options) as s:
        assert await s.scrape() == "histogram bucket limit exceeded"
        assert s.counters.bucket_limit == 1
        assert s.samples("up")["up{T}"][-1][1] == 0
    dropped = options + "\nmetric_relabel_configs: [{source_labels: [__name__], regex: h, action: drop}]"
    async with scraping(dropped) as s:
        assert await s.scrape() == ""


async def test_histograms_count_as_samples():
    """`sample_limit` counts a native histogram as one sample."""
    async with scraping("scrape_native_histograms: true\nsample_limit: 1") as s:
        assert await s.scrape() == ""
    async with scraping("sample_limit: 1") as s:
        assert await s.scrape() == "sample limit exceeded"


async def test_a_histogram_that_vanishes_ends_with_a_histogram():
    """Its marker is a histogram whose sum is the staleness marker, at a scrape and at the end of the target."""
    both = body_of(("h", HISTOGRAM, [{"histogram": NATIVE}]), ("c", COUNTER, [{"counter": {"value": 1}}]))
    async with scraping("scrape_native_histograms: true", body=both) as s:
        await s.scrape()
        s.target.body = b""
        await s.scrape()
        (_, histogram), (_, counter) = stored(s)
        assert is_stale_value(histogram.sum)
        assert is_stale_value(counter)
        s.target.body = both
        await s.scrape()
        await s.loop.finish(9000)
        found = dict(stored(s))
        assert is_stale_value(found["h"].sum)
        assert is_stale_value(found["c"])


async def test_a_malformed_protobuf_body_fails_the_scrape():
    """The error says what is wrong and where."""
    async with scraping(body=b"\x05\x0a") as s:
        assert await s.scrape() == "the body ends within a metric family at byte 1"


EXEMPLARS = b"""# TYPE c counter
c_total{a="1"} 1 # {t="x"} 1 7.5
c_total{a="2"} 1 # {t="y"} 2
# EOF
"""


async def test_exemplars_are_stored():
    """Exemplars have their own time, or that of the scrape; those of dropped series are dropped."""
    options = "metric_relabel_configs: [{source_labels: [a], regex: '3', action: drop}]"
    body = EXEMPLARS.replace(b"# EOF", b'c_total{a="3"} 1 # {t="z"} 1\n# EOF')
    async with scraping(options, body=body, content_type=OPENMETRICS) as s:
        await s.scrape()
        found = s.services.batches[-1].exemplars
    assert [(e.labels[0][1], e.value, e.timestamp_ms, e.has_time) for e in found] == [
        ("y", 2.0, 1000, False), ("x", 1.0, 7500, True),
    ]  # fmt: skip


async def test_exemplars_of_a_histogram_are_stored_once():
    """A native histogram shows its exemplars again and again: only newer ones are stored, in order."""

    def body(*seconds):
        exemplars = [{"label": [], "value": n, "timestamp": {"seconds": n}} for n in seconds]
        return body_of(("h", HISTOGRAM, [{"histogram": {**NATIVE, "exemplars": exemplars}}]))

    async with scraping("scrape_native_histograms: true", body=body(2, 1)) as s:
        times = []
        for seconds in ((2, 1), (3, 2, 1), (4, 3)):
            s.target.body = body(*seconds)
            await s.scrape()
            times.append([e.timestamp_ms for e in s.services.batches[-1].exemplars])
    assert times == [[1000, 2000], [3000], [4000]]


CREATED = b"# TYPE c counter\nc_total 5\nc_created 0.5\n# EOF\n"


def with_features(scrapes, *features):
    """Let the loop scrape with features switched on."""
    (config,) = parse("scrape_configs: [{job_name: j}]", "f.yml").all_scrape_configs
    loop = scrapes.loop
    scrapes.loop = type(loop)(
        loop.target, loop_rules(config, frozenset(features)), scrapes.client, scrapes.services, scrapes.counters, "s"
    )


async def test_created_series_are_series_by_default():
    """Without a feature nothing is made of them."""
    async with scraping(body=CREATED, content_type=OPENMETRICS) as s:
        await s.scrape()
        assert s.samples("c_created") == {"c_created{T}": [(1000, 0.5)]}
        assert s.services.batches[-1].starts_ms is None


async def test_created_series_may_be_start_times():
    """With `st-storage` they are the start of the series beside them."""
    async with scraping(body=CREATED, content_type=OPENMETRICS) as s:
        with_features(s, "st-storage")
        await s.scrape()
        assert s.samples("c_created") == {}
        assert s.services.batches[-1].starts_ms.tolist()[0] == 500
        assert s.samples("c_total") == {"c_total{T}": [(1000, 5.0)]}


async def test_start_times_may_be_zeros():
    """With the feature each new start stores a 0 before the sample, once; protobuf is asked for first."""
    async with scraping(body=CREATED, content_type=OPENMETRICS) as s:
        with_features(s, "created-timestamp-zero-ingestion")
        await s.scrape()
        await s.scrape()
        s.target.body = CREATED.replace(b"0.5", b"0.501")  # computed anew, a little different
        await s.scrape()
        s.target.body = CREATED.replace(b"0.5", b"3.25")
        await s.scrape()
        s.target.body = CREATED.replace(b"0.5", b"99")
        await s.scrape()
        assert s.samples("c_total")["c_total{T}"] == [
            (500, 0.0), (1000, 5.0), (2000, 5.0), (3000, 5.0), (3250, 0.0), (4000, 5.0), (5000, 5.0),
        ]  # fmt: skip
        assert s.request["accept"].startswith("application/vnd.google.protobuf")


async def test_zeros_of_histograms_are_histograms():
    """The zero of a native histogram is one without observations."""
    body = body_of(("h", HISTOGRAM, [{"histogram": {**NATIVE, "created_timestamp": {"nanos": 500_000_000}}}]))
    async with scraping("scrape_native_histograms: true", body=body) as s:
        with_features(s, "created-timestamp-zero-ingestion")
        s.loop.target = make_target(
            {"__address__": s.target.address, "__scrape_native_histograms__": "1"}, {}, ScrapeManager(s.services)._make(parse("scrape_configs: [{job_name: j}]", "f.yml").all_scrape_configs[0], {})._defaults
        )[1]  # fmt: skip
        await s.scrape()
        zero, batch = s.services.batches
        assert (zero.timestamps_ms.tolist(), zero.histograms.one(0).count) == ([500], 0)
        assert batch.histograms.one(0).count == 10


async def test_the_size_of_a_body_that_is_too_long():
    """`scrape_body_size_bytes` is -1 then."""
    async with scraping("body_size_limit: 3B\nextra_scrape_metrics: true") as s:
        assert await s.scrape() == "body size limit exceeded"
        assert s.samples("scrape_body_size_bytes") == {"scrape_body_size_bytes{T}": [(1000, -1.0)]}


async def test_a_target_behind_a_socket(tmp_path):
    """`__unix_socket__` says where to connect; URL and labels are those of the address."""
    path = str(tmp_path / "s")
    (config,) = parse("scrape_configs: [{job_name: j}]", "f.yml").all_scrape_configs
    services = FakeServices()
    pool: ScrapePool = ScrapeManager(services)._make(config, {})
    target = make_target({"__address__": "nowhere:1", "__unix_socket__": path}, {}, pool._defaults)[1]
    other = make_target({"__address__": "nowhere:1", "__unix_socket__": path + "2"}, {}, pool._defaults)[1]
    assert target != other
    assert (target.key, dict(target.labels)["instance"]) == (
        f'{{instance="nowhere:1", job="j"}} {target.url} {path}',
        "nowhere:1",
    )
    async with fake_target(FakeTarget(b"x 5\n"), unix_socket=path) as served:
        client = pool.client_for(target)
        assert isinstance(client, Client)
        async with client.stream("GET", target.url, {}) as answer:
            assert b"".join([piece async for piece in answer.pieces()]) == b"x 5\n"
        await client.aclose()
    assert served.requests[0]["host"] == "nowhere:1"


def test_the_example_of_the_documentation():
    """The configuration of docs/scraping.md is read, and means what is said of it."""
    text = (Path(__file__).parents[3] / "docs" / "scraping.md").read_text()
    shop, old = parse(re.search(r"```yaml\n(.*?)```", text, re.S)[1], "f.yml").all_scrape_configs
    assert shop.scrape_native_histograms is old.scrape_native_histograms is True
    assert (shop.native_histogram_bucket_limit, old.convert_classic_histograms_to_nhcb) == (160, True)
    ((_, (static,)),) = old.discovery
    assert static.labels == (("__unix_socket__", "/run/legacy.sock"),)


def test_the_documentation_has_every_key():
    """Each key of a scrape config that is no HTTP client's and no discovery's stands in docs/scraping.md."""
    from tinyobs.config.fields import plan
    from tinyobs.config.scraping import ScrapeConfig

    text = (Path(__file__).parents[3] / "docs" / "scraping.md").read_text()
    assert [p.key for p in plan(ScrapeConfig) if not (p.inline or p.group) and f"`{p.key}`" not in text] == []
