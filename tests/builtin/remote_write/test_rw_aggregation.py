"""Stream aggregation before one destination: what is sent instead of the samples, under which labels, and when."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import trio
from rw_fakes import Receiver, batch_of, counters, run_inline, settled
from structlog.testing import capture_logs

from tinyobs.abc import ConfigSection
from tinyobs.aggregation.engine import AggregationPlan
from tinyobs.builtin.remote_write import RemoteWrite
from tinyobs.builtin.remote_write import poster as poster_module
from tinyobs.builtin.remote_write import tinyobs_config_sections as sections
from tinyobs.builtin.remote_write.aggregation import Aggregation
from tinyobs.config.loader import parse
from tinyobs.config.stream_aggregation import SECTION, StreamAggregationSettings
from tinyobs.model.exemplars import Exemplar
from tinyobs.testing.services import EPOCH_MS, FakeServices

MINUTE = 60_000
FIRST = -(-EPOCH_MS // MINUTE) * MINUTE
CONFIG = """
global: {{external_labels: {{site: s}}}}
remote_write:
- url: http://h/write
  name: far
  send_exemplars: true
  queue_config: {{batch_send_deadline: 10ms, min_shards: {shards}, max_shards: {shards}}}
  write_relabel_configs:
  - {{source_labels: [__name__], regex: secret, action: drop}}
  - {{regex: pod, action: labeldrop}}
tinyobs:
  stream_aggregation:
    destinations:
      {place}:
        flush_on_shutdown: {flush}
        {options}
        rules: [{{match: x, interval: 1m, by: [job, site], outputs: [sum_samples]}}]
"""


def config(place="far", shards=1, flush="false", options="{}"):
    """A configuration with rules for the destination."""
    text = CONFIG.format(place=place, shards=shards, flush=flush, options=options if options != "{}" else "")
    return parse(text, "test.yml", [*sections(), ConfigSection(SECTION, StreamAggregationSettings)])


class Bench:
    """A sink with one destination, on fake services."""

    def __init__(self, monkeypatch, made):
        self.receiver = Receiver()
        monkeypatch.setattr(poster_module, "Client", self.receiver.client)
        monkeypatch.setattr(trio.to_thread, "run_sync", run_inline)
        self.services = FakeServices(made)
        self.services.open_storage = lambda: SimpleNamespace(metadata=lambda: {})
        self.services.sink = RemoteWrite(self.services)

    async def start(self, nursery):
        """Begin to send."""
        await nursery.start(self.services.followers.run)
        await nursery.start(self.services.sink.run)

    def commit(self, *samples, exemplars=()):
        """Commit samples of (labels, value) of now."""
        now = self.services.clock.now_ms()
        rows = [({"__name__": name, **labels}, now, value) for name, labels, value in samples]
        batch = batch_of(self.services.registry, rows)
        marked = [Exemplar(int(batch.refs[i]), (("trace", "t"),), 1.0, now) for i in exemplars]
        self.services.commit(batch_of(self.services.registry, rows, exemplars=marked))

    def sent(self):
        """Return what was sent: (labels as text, value) -> times."""
        found = {}
        for sample in self.receiver.samples():
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found.setdefault((labels, sample.value), []).append(sample.time)
        return found


async def test_aggregates_are_sent_in_place_of_samples(monkeypatch, autojump_clock, nursery):
    """Rules see the labels that would be sent; the storage and other destinations are not touched."""
    bench = Bench(monkeypatch, config())
    await bench.start(nursery)
    x = [("x", {"job": "a", "pod": "1"}, 2.0), ("x", {"job": "a", "pod": "2"}, 3.0)]
    bench.commit(*x, ("secret", {}, 1.0), ("y", {"pod": "1"}, 4.0), exemplars=(0, 3))
    await settled(bench.services)
    await trio.sleep(121)
    assert bench.sent() == {
        ("__name__=y,site=s", 4.0): [EPOCH_MS],
        ("__name__=x:1m_by_job_site_sum_samples,job=a,site=s", 5.0): [FIRST + MINUTE],
    }
    assert [labels["__name__"] for a in bench.receiver.asked for labels, _ in a.exemplars()] == ["y"]
    assert counters(bench.services).dropped["samples", "aggregated"] == 2
    found = bench.services.sink.statistics()
    assert (found.aggregated_samples_total, found.aggregates_total) == ({"far": 2}, {"far": 1})
    nursery.cancel_scope.cancel()


async def test_encoders_hear_of_aggregates_in_the_event_loop():
    """The work is done in a thread; encoders, which are at work in the loop meanwhile, know nothing of threads."""
    services, told, worked = FakeServices(), [], []

    def announce(ref, labels, block):
        told.append((threading.get_ident(), dict(labels)))

    def result(aggregator, now_ms):
        worked.append(threading.get_ident())
        return batch_of(services.registry, [({"__name__": "sum", "job": "a"}, now_ms, 1.0)])

    external = (("site", "s"),)
    aggregation = Aggregation("far", AggregationPlan(), external, services.registry, services.clock, tuple, announce)
    aggregator = SimpleNamespace(timed=lambda work: work(None))
    for _ in range(2):
        (rows,) = await aggregation.results([aggregator], result)
    assert told == [(threading.get_ident(), {"__name__": "sum", "job": "a", "site": "s"})]
    assert threading.get_ident() not in worked
    assert aggregation.sent_labels(int(rows.refs[0])) is not None


async def test_labels_that_are_stored_too_are_not_mixed_up(monkeypatch, autojump_clock, nursery):
    """A stored series with the labels of an aggregate is sent under its own, also when the encoder has forgotten both."""
    bench = Bench(monkeypatch, config(place="'http://h/write'", shards=3))
    await bench.start(nursery)
    for _ in range(3):
        bench.commit(("x", {"job": "a"}, 2.0), ("x:1m_by_job_site_sum_samples", {"job": "a", "pod": "1"}, 1.0))
        await trio.sleep(60)
        (destination,) = bench.services.sink._running.values()
        destination._protocol._encoder.clear()
    await trio.sleep(60)
    name = "__name__=x:1m_by_job_site_sum_samples,job=a,site=s"
    sent = bench.sent()
    assert len(sent[name, 1.0]) == 3
    assert sum(value * len(times) for (labels, value), times in sent.items() if labels == name) == 3.0 + 6.0
    nursery.cancel_scope.cancel()


async def test_the_last_interval_is_sent_at_the_end_where_asked(monkeypatch, autojump_clock, nursery):
    """Before the queues are emptied for the last time."""
    bench = Bench(monkeypatch, config(flush="true"))
    await bench.start(nursery)
    bench.commit(("x", {"job": "a"}, 2.0))
    await settled(bench.services)
    bench.services.followers.drain()
    await bench.services.followers.wait_closed()
    assert bench.sent() == {("__name__=x:1m_by_job_site_sum_samples,job=a,site=s", 2.0): [FIRST + MINUTE]}
    nursery.cancel_scope.cancel()


async def test_input_may_be_sent_as_well(monkeypatch, autojump_clock, nursery):
    """With keep_input."""
    bench = Bench(monkeypatch, config(options="keep_input: true"))
    await bench.start(nursery)
    bench.commit(("x", {"job": "a"}, 2.0))
    await trio.sleep(121)
    assert len(bench.sent()) == 2
    nursery.cancel_scope.cancel()


async def test_rules_for_a_destination_that_there_is_not_are_told(monkeypatch, autojump_clock, nursery):
    """A warning, since the rest of the configuration is good."""
    bench = Bench(monkeypatch, config(place="fra"))
    with capture_logs() as logs:
        await bench.start(nursery)
    assert [entry["destination"] for entry in logs if entry["log_level"] == "warning"] == ["fra"]
    nursery.cancel_scope.cancel()
