"""The rules of the Prometheus remote-write specification 2.0 for senders, one test each.

https://prometheus.io/docs/specs/prw/remote_write_spec_2_0
"""

import struct

import cramjam
import pytest
from rw_fakes import BREAK, Receiver, commit, counters, sending, settled, written_headers

from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.staleness import STALE_BITS, STALE_NAN
from tinyobs.testing.services import EPOCH_MS

V2 = "protobuf_message: io.prometheus.write.v2.Request"
QUICK = f"{V2}, send_native_histograms: true, send_exemplars: true, queue_config: {{batch_send_deadline: 10ms}}"
H = Histogram(0, 0.5, 2, 5, 1.0, ((0, 1),), (1,), ((3, 1),), (2,), (), ResetHint.GAUGE, is_integer=True)
FLOAT = Histogram(0, 0.0, 0.5, 1.5, 1.0, ((0, 1),), (1.0,))
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0, 1, 1.0, ((0, 1),), (1,), custom_values=(1.0,), is_integer=True)


async def sent(monkeypatch, receiver, samples, text=QUICK, metadata=None):
    """Send samples as one record, wait until they are dealt with, and return what was counted."""
    async with sending(receiver, text, monkeypatch) as services:
        services.metadata = metadata or {}
        commit(services, *samples)
        await settled(services)
        return counters(services)


def labels(asked):
    """Return the pairs of each series, in order."""
    message = asked.message()
    texts = [[message.symbols[i] for i in s.labels_refs] for s in message.timeseries]
    return [list(zip(t[::2], t[1::2], strict=True)) for t in texts]


# -- protocol ------------------------------------------------------------------------------------------------------


async def test_headers(monkeypatch, autojump_clock):
    """The content type names the message; the version is 2.0.0."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    (asked,) = receiver.asked
    assert asked.headers == {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    }


async def test_the_body_is_a_snappy_block_of_protobuf(monkeypatch, autojump_clock):
    """Fields 1 to 3, which 1.0 uses, do not occur."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    raw = bytes(cramjam.snappy.decompress_raw(receiver.asked[0].body))
    assert Request2.FromString(raw).timeseries
    assert raw[0] >> 3 == 4


# -- symbols and labels --------------------------------------------------------------------------------------------


async def test_symbols_begin_with_the_empty_string(monkeypatch, autojump_clock):
    """Always, whatever the request holds."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0), ("b", EPOCH_MS, H)])
    assert receiver.asked[0].message().symbols[0] == ""


async def test_symbols_are_deduplicated(monkeypatch, autojump_clock):
    """Texts of labels, exemplars and metadata share one table."""
    receiver = Receiver()
    async with sending(receiver, QUICK, monkeypatch) as services:
        services.metadata = {"same": MetricMetadata(MetricType.GAUGE, "same", "same")}
        ref = services.registry.intern(from_mapping({"__name__": "same", "same": "same"}))
        e = Exemplar(ref, from_mapping({"same": "same"}), 1.0, EPOCH_MS)
        commit(services, ({"__name__": "same", "same": "same"}, EPOCH_MS, 1.0), exemplars=[e])
        await settled(services)
    message = receiver.asked[0].message()
    assert sorted(message.symbols) == ["", "__name__", "same"]
    (series,) = message.timeseries
    assert message.symbols[series.metadata.help_ref] == message.symbols[series.exemplars[0].labels_refs[0]] == "same"


async def test_references_point_into_the_table(monkeypatch, autojump_clock):
    """Those of labels come in pairs."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [({"__name__": f"n{i}", "i": str(i)}, EPOCH_MS, 1.0) for i in range(300)])
    message = receiver.asked[0].message()
    for series in message.timeseries:
        assert len(series.labels_refs) % 2 == 0
        assert all(ref < len(message.symbols) for ref in series.labels_refs)


async def test_labels_are_complete_sorted_unique_and_not_empty(monkeypatch, autojump_clock):
    """Also after relabelling."""
    receiver = Receiver()
    text = f"write_relabel_configs: [{{target_label: Z, replacement: x}}, {{target_label: gone, replacement: ''}}], {QUICK}"
    await sent(monkeypatch, receiver, [({"__name__": "m", "zone": "z", "gone": "g"}, EPOCH_MS, 1.0)], text)
    assert labels(receiver.asked[0]) == [[("Z", "x"), ("__name__", "m"), ("zone", "z")]]


async def test_utf8_names(monkeypatch, autojump_clock):
    """Names of metrics and labels may be any UTF-8."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [({"__name__": "my.metric ü", "a/b": "c"}, EPOCH_MS, 1.0)])
    assert labels(receiver.asked[0]) == [[("__name__", "my.metric ü"), ("a/b", "c")]]


# -- samples -------------------------------------------------------------------------------------------------------


async def test_start_timestamps_are_sent(monkeypatch, autojump_clock):
    """Of samples and histograms; 0 where none is known."""
    receiver = Receiver()
    samples = [("a", EPOCH_MS, 1.0, EPOCH_MS - 5), ("b", EPOCH_MS, H, EPOCH_MS - 6), ("c", EPOCH_MS, 1.0)]
    await sent(monkeypatch, receiver, samples)
    assert [s.start for s in receiver.samples()] == [EPOCH_MS - 5, EPOCH_MS - 6, 0]


async def test_histograms_of_all_kinds(monkeypatch, autojump_clock):
    """Integer, float, and with custom buckets, which 2.0 can carry."""
    receiver = Receiver()
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, H), ("b", EPOCH_MS, FLOAT), ("c", EPOCH_MS, CUSTOM)])
    one, two, three = (s.value for s in receiver.samples())
    assert (one.count_int, one.zero_count_int, list(one.positive_deltas), one.reset_hint) == (5, 2, [1], 3)
    assert (two.count_float, two.zero_count_float, list(two.positive_counts)) == (1.5, 0.5, [1.0])
    assert (three.schema, list(three.custom_values)) == (CUSTOM_SCHEMA, [1.0])
    assert (found.sent["histograms"], found.dropped) == (3, {})


async def test_samples_and_histograms_of_a_series_are_apart(monkeypatch, autojump_clock):
    """A series that has both is sent as two."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0), ("a", EPOCH_MS + 1, H)])
    kinds = [(len(s.samples), len(s.histograms)) for s in receiver.asked[0].message().timeseries]
    assert kinds == [(1, 0), (0, 1)]


async def test_samples_of_a_series_ascend_in_time(monkeypatch, autojump_clock):
    """Within a request and from request to request."""
    receiver = Receiver()
    async with sending(receiver, f"{V2}, queue_config: {{max_samples_per_send: 4}}", monkeypatch) as services:
        for i in range(10):
            commit(services, ("a", EPOCH_MS + i, 1.0), ("b", EPOCH_MS + i, 2.0))
        await settled(services)
    for name in "ab":
        times = [s.time for s in receiver.samples() if s.labels["__name__"] == name]
        assert times == sorted(times)
        assert len(times) == 10


async def test_staleness_markers_are_sent(monkeypatch, autojump_clock):
    """As the NaN that they are; those of histograms as their sum."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, STALE_NAN), ("b", EPOCH_MS, Histogram(0, 0, 0, 0, STALE_NAN))])
    value, histogram = (s.value for s in receiver.samples())
    for found in (value, histogram.sum):
        assert struct.unpack("<Q", struct.pack("<d", found)) == (STALE_BITS,)


async def test_metadata_goes_with_the_series(monkeypatch, autojump_clock):
    """Type, help and unit of the family, also for the parts of a histogram; not in requests of its own."""
    receiver = Receiver()
    known = {
        "h": MetricMetadata(MetricType.HISTOGRAM, "about h", "seconds"),
        "c_total": MetricMetadata(MetricType.COUNTER, "about c", ""),
    }
    samples = [(n, EPOCH_MS, 1.0) for n in ("h_bucket", "c_total", "x")]
    await sent(monkeypatch, receiver, samples, metadata=known)
    (asked,) = receiver.asked
    message = asked.message()
    found = [
        (s.metadata.type, message.symbols[s.metadata.help_ref], message.symbols[s.metadata.unit_ref])
        for s in message.timeseries
    ]
    assert found == [(3, "about h", "seconds"), (1, "about c", ""), (0, "", "")]


async def test_changed_metadata_is_sent(monkeypatch, autojump_clock):
    """From the record on that says so."""
    receiver = Receiver()
    async with sending(receiver, QUICK, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0))
        await settled(services)
        services.metadata = {"a": MetricMetadata(MetricType.GAUGE)}
        commit(services, ("a", EPOCH_MS + 1, 1.0), metadata=services.metadata)
        await settled(services)
    assert [a.message().timeseries[0].metadata.type for a in receiver.asked] == [0, 2]


async def test_exemplars_have_value_time_and_labels(monkeypatch, autojump_clock):
    """Within the series of a sample: a series must have a sample or a histogram."""
    receiver = Receiver()
    async with sending(receiver, QUICK, monkeypatch) as services:
        ref = services.registry.intern(from_mapping({"__name__": "a"}))
        commit(services, ("a", EPOCH_MS, H), ("b", EPOCH_MS, 1.0))
        commit(services, exemplars=[Exemplar(ref, from_mapping({"trace_id": "t"}), 0.5, EPOCH_MS - 3)])
        await settled(services)
        assert counters(services).sent["exemplars"] == 1
    message = receiver.asked[0].message()
    assert all(s.samples or s.histograms for s in message.timeseries)
    (e,) = (e for s in message.timeseries for e in s.exemplars)
    assert ([message.symbols[i] for i in e.labels_refs], e.value, e.timestamp) == (["trace_id", "t"], 0.5, EPOCH_MS - 3)


# -- answers -------------------------------------------------------------------------------------------------------


async def test_415_falls_back_to_1_0(monkeypatch, autojump_clock):
    """The same samples, and all later ones, are sent with the older message."""
    receiver = Receiver(answer=lambda asked: 415 if asked.is_2 else 204)
    async with sending(receiver, QUICK, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0), ("b", EPOCH_MS, CUSTOM))
        await settled(services)
        commit(services, ("a", EPOCH_MS + 1, 1.0))
        await settled(services)
        found = counters(services)
    assert [a.is_2 for a in receiver.asked] == [True, False, False]
    assert receiver.asked[1].headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert (found.sent["samples"], found.failed["samples"]) == (2, 0)
    assert found.dropped == {("histograms", "nhcb_in_rw1_not_supported"): 1}


async def test_a_success_without_headers_means_1_0(monkeypatch, autojump_clock):
    """Such a receiver has read the message as an empty one of 1.0; the samples are sent again."""
    receiver = Receiver(always=(204, {"none": ""}, ""))
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    assert [a.is_2 for a in receiver.asked] == [True, False]
    assert found.sent["samples"] == 1


async def test_400_is_final(monkeypatch, autojump_clock):
    """Though a receiver of 1.0 may mean the message by it: 4xx must not be tried again."""
    receiver = Receiver([(400, {"none": ""}, "bad")])
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    assert (len(receiver.asked), found.failed["samples"]) == (1, 1)


async def test_partial_writes_are_counted(monkeypatch, autojump_clock):
    """A 400 whose headers say what was written: the rest has failed, and nothing is sent again."""
    receiver = Receiver()
    receiver.answer = lambda asked: (400, written_headers(asked, samples=1, histograms=0), "out of order")
    samples = [("a", EPOCH_MS, 1.0), ("b", EPOCH_MS, 1.0), ("c", EPOCH_MS, 1.0), ("h", EPOCH_MS, H)]
    found = await sent(monkeypatch, receiver, samples)
    assert len(receiver.asked) == 1
    assert (found.sent["samples"], found.failed["samples"], found.failed["histograms"]) == (1, 2, 1)


async def test_a_success_that_wrote_less_is_counted(monkeypatch, autojump_clock):
    """What headers do not confirm was not written."""
    receiver = Receiver()
    receiver.answer = lambda asked: (204, written_headers(asked, samples=1), "")
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0), ("b", EPOCH_MS, 1.0)])
    assert (found.sent["samples"], found.failed["samples"], len(receiver.asked)) == (1, 1, 1)


@pytest.mark.parametrize("trouble", [500, 503, BREAK])
async def test_5xx_is_tried_again(monkeypatch, autojump_clock, trouble):
    """The whole request, in the same message."""
    receiver = Receiver([trouble] * 2)
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    assert [a.is_2 for a in receiver.asked] == [True] * 3


async def test_429_is_tried_again_when_asked(monkeypatch, autojump_clock):
    """And given up without."""
    receiver = Receiver([429])
    text = f"{V2}, queue_config: {{retry_on_http_429: true, batch_send_deadline: 10ms}}"
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)], text)
    assert len(receiver.asked) == 2
    receiver.replies = [429]
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    assert (len(receiver.asked), found.failed["samples"]) == (3, 1)


async def test_metadata_is_not_sent_apart(monkeypatch, autojump_clock):
    """There are no requests of metadata alone."""
    receiver = Receiver()
    async with sending(receiver, f"{V2}, metadata_config: {{send_interval: 1s}}", monkeypatch) as services:
        import trio

        services.metadata = {"m": MetricMetadata()}
        await trio.sleep(10)
    assert receiver.asked == []
