"""The rules of the Prometheus remote-write specification 1.0 for senders, one test each.

https://prometheus.io/docs/specs/prw/remote_write_spec
"""

import struct
from itertools import pairwise

import attrs
import cramjam
import pytest
import trio
from rw_fakes import BREAK, HANG, Receiver, commit, config_of, counters, sending, settled

import tinyobs
from tinyobs.builtin.remote_write import tinyobs_config_sections
from tinyobs.builtin.remote_write.poster import Poster
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata, MetricType
from tinyobs.model.staleness import STALE_BITS, STALE_NAN
from tinyobs.testing.services import EPOCH_MS
from tinyobs.testing.targets import fake_target

QUICK = "queue_config: {batch_send_deadline: 10ms}"
H = Histogram(0, 0.0, 0, 1, 1.0, ((0, 1),), (1,), is_integer=True)
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0, 1, 1.0, ((0, 1),), (1,), custom_values=(1.0,), is_integer=True)


async def sent(monkeypatch, receiver, samples, text=QUICK, **more):
    """Send samples as one record, wait until they are dealt with, and return what was counted."""
    async with sending(receiver, text, monkeypatch, **more) as services:
        commit(services, *samples)
        await settled(services)
        return counters(services)


# -- protocol ------------------------------------------------------------------------------------------------------


async def test_headers(monkeypatch, autojump_clock):
    """`Content-Encoding`, `Content-Type` and the version are what 1.0 asks for."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    (asked,) = receiver.asked
    assert asked.headers == {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }


async def test_user_agent():
    """The name and the version of the sender go along."""
    async with fake_target() as target:
        (config,) = config_of("").remote_write
        poster = Poster(attrs.evolve(config, url=f"http://{target.address}/"), lambda: 0)
        await poster.post(b"", "application/x-protobuf", "0.1.0")
        await poster.aclose()
    assert target.requests[0]["user-agent"] == f"TinyObs/{tinyobs.__version__}"


async def test_the_body_is_a_snappy_block_of_protobuf(monkeypatch, autojump_clock):
    """Not the framed format, whose first bytes differ."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    body = receiver.asked[0].body
    assert not body.startswith(b"\xff\x06\x00\x00sNaPpY")
    assert WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body))).timeseries


async def test_own_headers_are_sent(monkeypatch, autojump_clock):
    """Those that are configured."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)], f"headers: {{X-Scope-OrgID: t}}, {QUICK}")
    assert receiver.asked[0].headers["X-Scope-OrgID"] == "t"


@pytest.mark.parametrize(
    "name", ["Content-Encoding", "content-type", "User-Agent", "X-Prometheus-Remote-Write-Version"]
)
def test_reserved_headers_cannot_be_configured(name):
    """The configuration is refused."""
    with pytest.raises(ConfigError, match="is a reserved header"):
        parse(f"remote_write: [{{url: 'http://h', headers: {{{name}: x}}}}]", "f.yml", tinyobs_config_sections())


async def test_timestamps_are_ms_and_values_floats(monkeypatch, autojump_clock):
    """As they were stored, to the bit."""
    receiver = Receiver()
    samples = [("a", EPOCH_MS, 0.1), ("b", EPOCH_MS + 1, float("-inf")), ("c", -5, 0.0)]
    await sent(monkeypatch, receiver, samples)
    found = {(s.labels["__name__"], s.time, s.value) for s in receiver.samples()}
    assert found == set(samples)


async def test_the_body_of_an_answer_means_nothing(monkeypatch, autojump_clock):
    """A success is a success whatever text comes with it."""
    receiver = Receiver(always=(200, {}, "error: everything is lost"))
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    assert (len(receiver.asked), found.sent["samples"], found.failed["samples"]) == (1, 1, 0)


# -- labels --------------------------------------------------------------------------------------------------------


async def test_labels_are_complete_sorted_unique_and_not_empty(monkeypatch, autojump_clock):
    """Also after relabelling and with external labels; `__name__` among them."""
    receiver = Receiver()
    text = f"write_relabel_configs: [{{target_label: a, replacement: x}}, {{target_label: gone, replacement: ''}}], {QUICK}"
    await sent(
        monkeypatch,
        receiver,
        [({"__name__": "m", "zone": "z", "B": "b", "gone": "g"}, EPOCH_MS, 1.0)],
        text,
        top="global: {external_labels: {cluster: eu, zone: other}}",
    )
    (series,) = receiver.asked[0].message().timeseries
    pairs = [(x.name.decode(), x.value.decode()) for x in series.labels]
    assert pairs == [("B", "b"), ("__name__", "m"), ("a", "x"), ("cluster", "eu"), ("zone", "z")]


async def test_utf8_label_values(monkeypatch, autojump_clock):
    """Any UTF-8 may be a value."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [({"__name__": "m", "city": "Zürich 🎿"}, EPOCH_MS, 1.0)])
    assert receiver.samples()[0].labels["city"] == "Zürich 🎿"


async def test_dropped_series_are_not_sent(monkeypatch, autojump_clock):
    """A rule may drop; that is counted, and the place in the log moves on."""
    receiver = Receiver()
    text = f"write_relabel_configs: [{{source_labels: [__name__], regex: b, action: drop}}], {QUICK}"
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0), ("b", EPOCH_MS, 1.0)], text)
    assert [s.labels["__name__"] for s in receiver.samples()] == ["a"]
    assert found.dropped == {("samples", "dropped_series"): 1}


# -- batches and order ---------------------------------------------------------------------------------------------


async def test_requests_have_no_more_than_max_samples_per_send(monkeypatch, autojump_clock):
    """Whatever the size of records."""
    receiver = Receiver()
    samples = [(f"n{i}", EPOCH_MS, float(i)) for i in range(25)]
    await sent(monkeypatch, receiver, samples, "queue_config: {max_samples_per_send: 10, batch_send_deadline: 10ms}")
    assert [len(a.samples()) for a in receiver.asked] == [10, 10, 5]


async def test_samples_wait_no_longer_than_batch_send_deadline(monkeypatch, autojump_clock):
    """A request that does not fill up is sent when its oldest sample has waited so long."""
    receiver = Receiver()
    async with sending(receiver, "queue_config: {batch_send_deadline: 7s}", monkeypatch) as services:
        began = trio.current_time()
        commit(services, ("a", EPOCH_MS, 1.0))
        await trio.sleep(4)
        commit(services, ("a", EPOCH_MS + 1, 1.0))
        await settled(services)
    assert [len(a.samples()) for a in receiver.asked] == [2]
    assert 7 <= receiver.asked[0].at - began <= 8.2


async def test_samples_of_a_series_are_sent_in_order(monkeypatch, autojump_clock):
    """Over many requests, several shards and refusals in between."""
    receiver = Receiver(answer=lambda asked: 503 if len(receiver.asked) % 3 == 0 else 204, seconds=0.01)
    text = "queue_config: {min_shards: 4, max_samples_per_send: 7, batch_send_deadline: 10ms}"
    async with sending(receiver, text, monkeypatch) as services:
        for i in range(30):
            commit(services, *[(f"n{n}", EPOCH_MS + i, float(i)) for n in range(10)])
        await settled(services)
    newest = {}
    for sample in receiver.samples():
        assert sample.value <= newest.get(sample.labels["__name__"], -1) + 1  # repeated perhaps, never skipped
        newest[sample.labels["__name__"]] = sample.value
    assert newest == {f"n{n}": 29 for n in range(10)}
    assert receiver.most_under_way > 1


async def test_a_shard_has_one_request_under_way(monkeypatch, autojump_clock):
    """With one shard nothing is sent while an answer is missing."""
    receiver = Receiver(seconds=1.0)
    async with sending(receiver, "queue_config: {max_samples_per_send: 1, max_shards: 1}", monkeypatch) as services:
        commit(services, *[("a", EPOCH_MS + i, 1.0) for i in range(5)])
        await settled(services)
    assert (receiver.most_under_way, len(receiver.asked)) == (1, 5)


async def test_staleness_markers_are_sent(monkeypatch, autojump_clock):
    """As the NaN that they are."""
    receiver = Receiver()
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, STALE_NAN)])
    assert struct.unpack("<Q", struct.pack("<d", receiver.samples()[0].value)) == (STALE_BITS,)


# -- retries and back-off ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
async def test_5xx_is_tried_again(monkeypatch, autojump_clock, status):
    """Until it works, with the same samples."""
    receiver = Receiver([status] * 3)
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    assert len(receiver.asked) == 4
    assert len({a.body for a in receiver.asked}) == 1
    assert [a.headers.get("Retry-Attempt") for a in receiver.asked] == [None, "1", "2", "3"]
    assert (found.sent["samples"], found.retried["samples"], found.failed["samples"]) == (1, 3, 0)


@pytest.mark.parametrize("trouble", [BREAK, HANG])
async def test_no_answer_is_tried_again(monkeypatch, autojump_clock, trouble):
    """A connection that breaks, or an answer that does not come within `remote_timeout`."""
    receiver = Receiver([trouble])
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)], f"remote_timeout: 3s, {QUICK}")
    first, second = receiver.asked
    assert (second.at - first.at >= 3) == (trouble is HANG)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 415, 422])
async def test_4xx_is_not_tried_again(monkeypatch, autojump_clock, status):
    """The samples are given up and counted, and the next ones are sent."""
    receiver = Receiver([(status, {}, "no")])
    async with sending(receiver, QUICK, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0), ("b", EPOCH_MS, 1.0))
        await settled(services)
        commit(services, ("a", EPOCH_MS + 1, 1.0))
        await settled(services)
        assert (counters(services).failed["samples"], counters(services).sent["samples"]) == (2, 1)
    assert len(receiver.asked) == 2


async def test_2xx_is_not_tried_again(monkeypatch, autojump_clock):
    """Any of them."""
    for status in (200, 202, 204, 299):
        receiver = Receiver(always=status)
        await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
        assert len(receiver.asked) == 1


async def test_429_is_given_up_by_default(monkeypatch, autojump_clock):
    """Without `retry_on_http_429`."""
    receiver = Receiver([429])
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)])
    assert (len(receiver.asked), found.failed["samples"]) == (1, 1)


async def test_429_is_tried_again_when_asked(monkeypatch, autojump_clock):
    """With `retry_on_http_429`."""
    receiver = Receiver([429, 429])
    text = "queue_config: {retry_on_http_429: true, batch_send_deadline: 10ms}"
    found = await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)], text)
    assert (len(receiver.asked), found.sent["samples"], found.failed["samples"]) == (3, 1, 0)


async def test_back_off_grows_to_its_limit(monkeypatch, autojump_clock):
    """From `min_backoff`, doubling, up to `max_backoff`, with chance in it."""
    receiver = Receiver([503] * 12)
    text = "queue_config: {min_backoff: 100ms, max_backoff: 5s, batch_send_deadline: 10ms}"
    await sent(monkeypatch, receiver, [("a", EPOCH_MS, 1.0)], text)
    times = [a.at for a in receiver.asked]
    pauses = [b - a for a, b in pairwise(times)]
    for i, pause in enumerate(pauses):
        step = min(0.1 * 2**i, 5.0)
        assert 0.75 * step <= pause <= min(1.5 * step, 5.0) + 1e-6
    assert pauses[0] >= 0.1
    assert len({round(p, 6) for p in pauses[6:]}) > 1


@pytest.mark.parametrize("status", [503, 429])
async def test_retry_after_is_kept(monkeypatch, autojump_clock, status):
    """The receiver says when, in seconds or as a date."""
    receiver = Receiver(
        [(status, {"Retry-After": "17"}, ""), (status, {"Retry-After": "Tue, 14 Nov 2023 22:15:00 GMT"}, "")]
    )
    text = "queue_config: {retry_on_http_429: true, batch_send_deadline: 10ms}"
    async with sending(receiver, text, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0))
        await settled(services)
        first, second, third = receiver.asked
        assert 17 <= second.at - first.at <= 17.6
        # 100 seconds after the beginning of the clock, which shows 22:13:20
        assert services.clock.now_ms() >= EPOCH_MS + 100_000
        assert third.at > second.at + 60


async def test_an_outage_loses_nothing(monkeypatch, autojump_clock):
    """Hours without a receiver: all is delivered when it is back, and memory was bounded meanwhile."""
    receiver = Receiver(always=503)
    async with sending(receiver, "queue_config: {capacity: 50, max_samples_per_send: 20}", monkeypatch) as services:
        for i in range(200):
            commit(services, *[(f"n{n}", EPOCH_MS + i, float(i)) for n in range(5)])
            await trio.sleep(60)
        assert services.sink._running["far"]._shards.queued <= 60
        receiver.always = 204
        before = len(receiver.asked)
        await settled(services)
        assert counters(services).failed["samples"] == 0
    delivered = {(s.labels["__name__"], s.value) for a in receiver.asked[before:] for s in a.samples()}
    assert len(delivered) == 1000


async def test_sample_age_limit(monkeypatch, autojump_clock):
    """What grows too old while it is tried again is dropped and counted; what is young is sent."""
    receiver = Receiver([503])
    text = "queue_config: {sample_age_limit: 1m, min_backoff: 40s, max_backoff: 40s, batch_send_deadline: 10ms}"
    async with sending(receiver, text, monkeypatch) as services:
        now = services.clock.now_ms()
        commit(services, ("old", now - 90_000, 1.0), ("ages", now - 30_000, 1.0), ("young", now, H))
        commit(services, ("young", now + 1, 1.0))
        await settled(services)
        assert counters(services).dropped[("samples", "too_old")] == 2
    assert [len(a.samples()) for a in receiver.asked] == [2, 1]


# -- histograms, exemplars, metadata -------------------------------------------------------------------------------


async def test_histograms_are_sent_when_asked(monkeypatch, autojump_clock):
    """With `send_native_histograms`; without it they are counted as dropped."""
    receiver = Receiver()
    samples = [("a", EPOCH_MS, H), ("b", EPOCH_MS, 1.0)]
    found = await sent(monkeypatch, receiver, samples, f"send_native_histograms: true, {QUICK}")
    assert (found.sent["histograms"], found.sent["samples"]) == (1, 1)
    assert [len(s.histograms) for s in receiver.asked[0].message().timeseries] == [1, 0]
    found = await sent(monkeypatch, receiver, samples)
    assert found.dropped == {("histograms", "switched_off"): 1}
    assert len(receiver.asked[-1].samples()) == 1


async def test_many_histograms(monkeypatch, autojump_clock):
    """More than are encoded in the event loop."""
    receiver = Receiver()
    samples = [(f"n{i}", EPOCH_MS, H) for i in range(300)]
    found = await sent(monkeypatch, receiver, samples, f"send_native_histograms: true, {QUICK}")
    assert (found.sent["histograms"], len(receiver.samples())) == (300, 300)


async def test_custom_buckets_have_no_place_in_1_0(monkeypatch, autojump_clock):
    """Such histograms are dropped and counted, as in Prometheus; the others of the request are sent."""
    receiver = Receiver()
    found = await sent(
        monkeypatch, receiver, [("a", EPOCH_MS, CUSTOM), ("b", EPOCH_MS, H)], f"send_native_histograms: true, {QUICK}"
    )
    assert found.dropped == {("histograms", "nhcb_in_rw1_not_supported"): 1}
    assert [s.labels["__name__"] for s in receiver.samples()] == ["b"]


async def test_exemplars_are_sent_when_asked(monkeypatch, autojump_clock):
    """With `send_exemplars`, beside a sample of their series."""
    receiver = Receiver()
    for text, count in ((f"send_exemplars: true, {QUICK}", 1), (QUICK, 0)):
        async with sending(receiver, text, monkeypatch) as services:
            ref = services.registry.intern(from_mapping({"__name__": "a"}))
            e = Exemplar(ref, from_mapping({"trace_id": "t"}), 0.5, EPOCH_MS)
            commit(services, ("a", EPOCH_MS, 1.0))
            commit(services, exemplars=[e])
            await settled(services)
            assert counters(services).sent["exemplars"] == count
    assert [a.exemplars() for a in receiver.asked] == [[({"__name__": "a"}, 0.5)], []]


async def test_metadata_is_sent_each_interval(monkeypatch, autojump_clock):
    """In requests of their own, each of a limited size."""
    receiver = Receiver()
    text = f"metadata_config: {{send_interval: 30s, max_samples_per_send: 2}}, {QUICK}"
    async with sending(receiver, text, monkeypatch) as services:
        services.metadata = {f"m{i}": MetricMetadata(MetricType.COUNTER, "help", "unit") for i in range(3)}
        await trio.sleep(65)
        assert counters(services).sent["metadata"] == 6
    requests = [[m.metric_family_name.decode() for m in a.message().metadata] for a in receiver.asked]
    assert requests == [["m0", "m1"], ["m2"]] * 2
    one = receiver.asked[0].message().metadata[0]
    assert (one.type, one.help, one.unit) == (1, b"help", b"unit")


async def test_metadata_follows_the_rules_of_retries(monkeypatch, autojump_clock):
    """5xx is tried again, 4xx is not."""
    receiver = Receiver([500, 204, 400])
    async with sending(receiver, "metadata_config: {send_interval: 30s}", monkeypatch) as services:
        services.metadata = {"m": MetricMetadata()}
        await trio.sleep(65)
        found = counters(services)
        assert (found.sent["metadata"], found.retried["metadata"], found.failed["metadata"]) == (1, 1, 1)


async def test_metadata_can_be_switched_off(monkeypatch, autojump_clock):
    """`metadata_config: {send: false}`."""
    receiver = Receiver()
    async with sending(receiver, "metadata_config: {send: false, send_interval: 1s}", monkeypatch) as services:
        services.metadata = {"m": MetricMetadata()}
        await trio.sleep(10)
    assert receiver.asked == []
