"""The Kafka sink: messages, keys and deliveries, with the cluster that the client library brings for tests.

That cluster is part of librdkafka and speaks the protocol over loopback; it is no real broker.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import trio
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from tinyobs.abc import Logged, LogPosition
from tinyobs.config.decoder import decode_text
from tinyobs.config.encoder import to_plain
from tinyobs.errors import ConfigError
from tinyobs.exposition.remote_write import decode
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of, stale_histogram
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN
from tinyobs.sinks.group import Counts, TryAgain
from tinyobs.testing.services import FakeServices

from tinyobs_kafka_sink import KafkaOutlet
from tinyobs_kafka_sink.messages import Messages
from tinyobs_kafka_sink.settings import KafkaSinkSettings

T0 = 1_764_374_340_123


class Cluster:
    """Brokers of the client library, while `holder` lives."""

    def __init__(self):
        self.holder = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "none"})
        brokers = self.holder.list_topics(timeout=60).brokers.values()
        self.servers = ",".join(f"{b.host}:{b.port}" for b in brokers)

    def read(self, topic, count):
        """Return so many messages of a topic, in the order of each partition."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "test", "enable.auto.commit": False})
        partitions = self.holder.list_topics(topic, timeout=60).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        found = []
        try:
            while len(found) < count:
                message = consumer.poll(10)
                assert message is not None, f"{len(found)} of {count} messages"
                assert message.error() is None, message.error()
                found.append(message)
        finally:
            consumer.close()
        return found


@pytest.fixture(scope="module")
def cluster():
    """Start one for all tests; each has a topic of its own."""
    return Cluster()


def settings(servers, topic, text=""):
    return decode_text(
        KafkaSinkSettings, f"{{name: a, bootstrap_servers: ['{servers}'], topic: {topic}, {text}}}", "f.yml"
    )


class Scene:
    """An outlet and what it counts."""

    def __init__(self, servers, topic, text=""):
        self.services = FakeServices()
        self.counts = Counts()
        self.outlet = KafkaOutlet(self.services, settings(servers, topic, text), self.counts)

    async def take(self, samples):
        """Take samples: [(labels, ms, value), ...]."""
        assert await self.outlet.take([Logged(batch_of(self.services.registry, samples), LogPosition(1, 1))])


def batch_of(registry, samples):
    refs = registry.intern_many([from_mapping(labels) for labels, _, _ in samples])
    natives = [v for _, _, v in samples if isinstance(v, Histogram)]
    values = np.array([0.0 if isinstance(v, Histogram) else v for _, _, v in samples])
    at = [i for i, (_, _, v) in enumerate(samples) if isinstance(v, Histogram)]
    values.view(np.uint64)[at] = handles(0, len(natives)).view(np.uint64)
    times = np.array([t for _, t, _ in samples], np.int64)
    return Batch(refs, times, values, histograms=histograms_of(natives) if natives else None)


def series(name="x", **labels):
    return {"__name__": name, **labels}


async def test_samples_are_messages_of_json(cluster):
    """One each, with the key of its series and its time; selectors choose."""
    s = Scene(cluster.servers, "json", "match: ['x'], compression: zstd")
    await s.take([(series(a="ü"), T0, 1.5), (series("y"), T0, 9.0), (series(a="ü"), T0 + 1, 1e6)])
    await s.outlet.flush()
    await s.outlet.aclose()
    found = cluster.read("json", 2)
    assert [json.loads(m.value()) for m in found] == [
        {"labels": series(a="ü"), "name": "x", "timestamp": "2025-11-28T23:59:00.123Z", "value": "1.5"},
        {"labels": series(a="ü"), "name": "x", "timestamp": "2025-11-28T23:59:00.124Z", "value": "1e+06"},
    ]
    assert {m.key() for m in found} == {'x{a="ü"}'.encode()}
    assert found[0].timestamp()[1] == T0
    assert (s.counts.samples, s.counts.sends, s.counts.bytes) == (2, 2, sum(len(m.value()) for m in found))


async def test_samples_are_requests_of_remote_write(cluster):
    """As a receiver takes them."""
    s = Scene(cluster.servers, "remote", "format: remote_write, key: metric, max_samples_per_message: 2")
    await s.take([(series(n=str(n)), T0 + n, float(n)) for n in range(3)] + [(series("y"), T0, STALE_NAN)])
    await s.outlet.flush()
    await s.outlet.aclose()
    found = {}
    for message in cluster.read("remote", 3):
        registry = SeriesRegistry()
        batch = decode(message.value(), registry).batch
        rows = zip(
            batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.view(np.uint64).tolist(), strict=True
        )
        found.setdefault(message.key(), []).extend((dict(registry.labels(r)), t, v) for r, t, v in rows)
        assert dict(message.headers())["Content-Encoding"] == b"snappy"
    bits = np.array([0.0, 1.0, 2.0, STALE_NAN]).view(np.uint64).tolist()
    assert found[b"x"] == [(series(n=str(n)), T0 + n, bits[n]) for n in range(3)]
    assert found[b"y"] == [(series("y"), T0, bits[3])]
    assert s.counts.sends == 3


async def test_the_order_of_a_key_is_kept_over_many_takes(cluster):
    """Each in one partition."""
    s = Scene(cluster.servers, "order")
    for n in range(20):
        await s.take([(series(n=str(k)), T0 + n, float(n)) for k in range(5)])
        await s.outlet.flush()
    await s.outlet.aclose()
    found = {}
    for message in cluster.read("order", 100):
        found.setdefault((message.key(), message.partition()), []).append(float(json.loads(message.value())["value"]))
    assert list(found.values()) == [[float(n) for n in range(20)]] * 5


async def test_what_is_not_delivered_is_produced_again():
    """When no broker answers; each message that came through is not."""
    s = Scene("127.0.0.1:1", "nowhere", "timeout: 300ms")
    await s.take([(series(), T0, 1.0), (series(), T0 + 1, 2.0)])
    for _ in range(2):
        with pytest.raises(TryAgain, match=r"2 messages were not delivered: .*timed out"):
            await s.outlet.flush()
    await s.outlet.aclose()
    assert (s.counts.samples, s.counts.refused) == (0, 0)


async def test_a_message_that_is_too_long_is_refused(cluster):
    """It is counted, and does not hold up the others."""
    s = Scene(cluster.servers, "long", "options: {message.max.bytes: '1000'}")
    await s.take([(series(), T0, 1.0), (series(a="x" * 5000), T0, 2.0), (series(), T0 + 1, 3.0)])
    await s.outlet.flush()
    await s.outlet.aclose()
    assert (s.counts.samples, s.counts.refused) == (2, 1)
    assert [json.loads(m.value())["value"] for m in cluster.read("long", 2)] == ["1", "3"]


async def test_a_full_queue_of_the_client_is_waited_for(cluster):
    """It has room again after deliveries."""
    s = Scene(cluster.servers, "full", "options: {queue.buffering.max.messages: '10'}")
    await s.take([(series(n=str(n)), T0, float(n)) for n in range(50)])
    await s.outlet.flush()
    await s.outlet.aclose()
    assert s.counts.samples == 50


async def test_a_client_that_is_lost_is_made_anew(cluster, monkeypatch):
    """After a fatal error."""
    s = Scene(cluster.servers, "fatal")
    await s.take([(series(), T0, 1.0)])
    plain, fatal = KafkaOutlet._hand_over, [True]

    def hand_over(self, number, message, headers):
        if fatal:
            self._failed.append((number, KafkaError(KafkaError._FATAL, "test", True)))
        else:
            plain(self, number, message, headers)

    monkeypatch.setattr(KafkaOutlet, "_hand_over", hand_over)
    with pytest.raises(TryAgain, match="1 messages were not delivered: test"):
        await s.outlet.flush()
    assert s.outlet._producer is None
    fatal.clear()
    await s.outlet.flush()
    await s.outlet.aclose()
    assert s.counts.samples == 1


async def test_an_option_that_there_is_not_is_told(cluster):
    """When the client is made; the values of options are not shown."""
    s = Scene(cluster.servers, "option", "secret_options: {sasl.pass: s3cret}")
    await s.take([(series(), T0, 1.0)])
    with pytest.raises(TryAgain, match=r'the client cannot work: .*"sasl\.pass"') as e:
        await s.outlet.flush()
    assert "s3cret" not in str(e.value)
    assert "s3cret" not in str(to_plain(s.outlet._settings))


async def test_a_flush_that_is_cancelled_ends_soon():
    """The client is given up with what it has."""
    s = Scene("127.0.0.1:1", "cancelled")
    await s.take([(series(), T0, 1.0)])
    with trio.move_on_after(0.05) as scope, trio.fail_after(60):
        await s.outlet.flush()
    assert scope.cancelled_caught
    await s.outlet.aclose()


NATIVE = Histogram(0, 0.001, 1, 7, 12.5, ((0, 2),), (4, 2), is_integer=True)


def test_special_values_in_json():
    """Histograms as objects; infinities and NaN as Prometheus writes them; the end of a series says so."""
    registry = SeriesRegistry()
    messages = Messages(registry, settings("b:1", "t", "key: none"))
    values = [NATIVE, float("inf"), float("nan"), STALE_NAN, stale_histogram()]
    found = list(messages.of(batch_of(registry, [(series(), T0, v) for v in values])))
    assert {m.key for m in found} == {None}
    first, *rest = [json.loads(m.value) for m in found]
    assert first["histogram"]["count"] == 7
    assert "value" not in first
    assert [(r["value"], r.get("stale", False)) for r in rest] == [
        ("+Inf", False),
        ("NaN", False),
        ("NaN", True),
        ("NaN", True),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: a, topic: t}", "missing key 'bootstrap_servers'"),
        ("{name: a, topic: t, bootstrap_servers: []}", "at least one broker is needed"),
        ("{name: a, topic: '', bootstrap_servers: ['b:1']}", "a topic is needed"),
        ("{name: a, topic: t, bootstrap_servers: ['b:1'], format: avro}", "expected one of json, remote_write"),
        ("{name: a, topic: t, bootstrap_servers: ['b:1'], options: {acks: '0'}}", "acks follows from other settings"),
    ],
)
def test_faults_have_a_message(text, message):
    """Each names what is wrong."""
    with pytest.raises(ConfigError) as e:
        decode_text(KafkaSinkSettings, text, "f.yml")
    assert message in str(e.value)
