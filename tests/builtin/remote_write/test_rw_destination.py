"""Destinations: what is in doubt, the end, reloads, restarts, shards that follow the load, loss, metrics."""

import pytest
import structlog
import trio
from rw_fakes import BREAK, HANG, Receiver, batch_of, commit, config_of, counters, run_inline, sending, settled

from tinyobs.abc import LogLoss
from tinyobs.builtin.remote_write import RemoteWrite
from tinyobs.builtin.remote_write import doubt as doubt_module
from tinyobs.builtin.remote_write import poster as poster_module
from tinyobs.builtin.remote_write import protocol as protocol_module
from tinyobs.builtin.remote_write import tinyobs_config_sections as sections
from tinyobs.builtin.remote_write.destination import AGAIN_SECONDS, SWEEP_SECONDS
from tinyobs.builtin.remote_write.queue import EXEMPLAR_WAIT_SECONDS
from tinyobs.builtin.remote_write.sink import plans_of
from tinyobs.config.loader import parse
from tinyobs.errors import StorageError
from tinyobs.http_client import HttpError
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricMetadata
from tinyobs.runtime.statistics import families
from tinyobs.testing.check_sink import check_sink
from tinyobs.testing.services import EPOCH_MS, FakeServices

QUICK = "queue_config: {batch_send_deadline: 10ms}"


class Strict:
    """A receiver that rolls back a whole request when one of its samples is not newer than the last, as Prometheus."""

    def __init__(self):
        self.newest = {}
        self.stored = []

    def __call__(self, asked):
        newest = dict(self.newest)
        samples = [(s.labels["__name__"], s.time) for s in asked.samples()]
        for name, time in samples:
            if time < newest.get(name, 0):
                return 400, {}, "out of order sample"
            newest[name] = time
        self.newest = newest
        self.stored += [s for s in samples if s not in self.stored]
        return 204


async def test_the_contract_of_sinks(monkeypatch, autojump_clock):
    """Nothing is lost, in order, over refusals, the end of the agent and restarts."""
    receiver = Receiver()
    monkeypatch.setattr(poster_module, "Client", receiver.client)
    monkeypatch.setattr(trio.to_thread, "run_sync", run_inline)
    services = FakeServices(config_of(QUICK))
    services.open_storage = lambda: type("Storage", (), {"metadata": lambda self: {}})()
    taken = []

    def answer(asked):
        if receiver.always == 503:
            return 503
        taken.extend((int(s.labels["n"]), s.value) for s in asked.samples())
        return 204

    def refuse(on):
        receiver.always = 503 if on else 204

    receiver.answer = answer
    await check_sink(RemoteWrite, lambda: taken, refuse, services)


async def test_samples_in_doubt_are_halved(monkeypatch, autojump_clock):
    """After a restart a request mixes what was delivered with what was not: nothing new is lost."""
    strict = Strict()
    receiver = Receiver(answer=strict)
    services = FakeServices()
    async with sending(receiver, QUICK, monkeypatch, services):
        for i in range(3):
            commit(services, *[(f"n{n}", EPOCH_MS + i, 1.0) for n in range(4)])
        await settled(services)
        services.log.places["remote_write-far"] = type(services.log.end())(1, 0)  # as if it had not been saved
    services.restart()
    for i in range(3, 5):
        services.log.add(batch_of(services.registry, [(f"n{n}", EPOCH_MS + i, 1.0) for n in range(4)]))
    services.log.restart()
    async with sending(receiver, QUICK, monkeypatch, services):
        commit(services, *[(f"n{n}", EPOCH_MS + 5, 1.0) for n in range(4)])
        await settled(services)
        assert counters(services).halvings > 0
    assert sorted(strict.stored) == sorted((f"n{n}", EPOCH_MS + i) for n in range(4) for i in range(6))


async def test_a_backlog_that_is_refused_for_another_reason_is_given_up(monkeypatch, autojump_clock):
    """After a while of halving without any success a 400 is final again, also for what is in doubt."""
    monkeypatch.setattr(doubt_module, "REFUSED_MAX", 20)
    monkeypatch.setattr(doubt_module.Doubt.__init__, "__defaults__", (20,))
    receiver = Receiver(always=(400, {}, "too old"))
    services = FakeServices()
    async with sending(receiver, QUICK, monkeypatch, services):
        await trio.sleep(1)
    for i in range(30):
        services.log.add(batch_of(services.registry, [(f"n{n}", EPOCH_MS + i, 1.0) for n in range(16)]))
    services.restart()
    text = "queue_config: {max_samples_per_send: 16, batch_send_deadline: 10ms}"
    async with sending(receiver, text, monkeypatch, services):
        await settled(services)
        assert counters(services).failed["samples"] == 480
    assert len(receiver.asked) < 30 + 3 * 32


async def test_a_request_without_an_answer_is_in_doubt(monkeypatch, autojump_clock):
    """The receiver may have stored it: a 400 to the next attempt does not take the rest along."""
    strict = Strict()
    answers = [lambda asked: strict(asked) and BREAK]

    def answer(asked):
        return answers.pop()(asked) if answers else strict(asked)

    receiver = Receiver(answer=answer)
    async with sending(receiver, QUICK, monkeypatch) as services:
        strict.newest["old"] = EPOCH_MS + 9
        commit(services, ("a", EPOCH_MS, 1.0), ("a", EPOCH_MS + 1, 1.0), ("b", EPOCH_MS, 1.0), ("old", EPOCH_MS, 1.0))
        await settled(services)
        assert (counters(services).failed["samples"], counters(services).sent["samples"]) == (1, 3)
    assert set(strict.stored) == {("a", EPOCH_MS), ("a", EPOCH_MS + 1), ("b", EPOCH_MS)}


async def test_without_doubt_a_400_is_final(monkeypatch, autojump_clock):
    """One attempt, as the specification says."""
    receiver = Receiver([400])
    async with sending(receiver, QUICK, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0), ("b", EPOCH_MS, 1.0))
        await settled(services)
        assert (len(receiver.asked), counters(services).halvings) == (1, 0)


async def test_at_the_end_a_hanging_destination_with_full_queues_is_given_up(monkeypatch, autojump_clock):
    """Also while there is no room for what is still in the log."""
    receiver = Receiver(always=HANG)
    async with sending(receiver, "queue_config: {capacity: 2, max_samples_per_send: 2}", monkeypatch) as services:
        for i in range(10):
            commit(services, ("a", EPOCH_MS + i, 1.0))
        await trio.sleep(10)
        began = trio.current_time()
        services.followers.drain()
        await services.followers.wait_closed()
        assert trio.current_time() - began < 7


async def test_at_the_end_all_is_sent_at_once(monkeypatch, autojump_clock):
    """Without waiting for requests to fill up; then the sink is done."""
    receiver = Receiver()
    async with sending(receiver, "queue_config: {batch_send_deadline: 1h}", monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0))
        await trio.sleep(60)
        assert not receiver.asked
        services.followers.drain()
        await services.followers.wait_closed()
        assert len(receiver.asked) == 1
    assert services.log.places["remote_write-far"] == services.log.end()


@pytest.mark.parametrize("trouble", [503, BREAK, HANG])
async def test_at_the_end_a_destination_that_does_not_answer_is_given_up(monkeypatch, autojump_clock, trouble):
    """At once, and the place in the log stays before what was not delivered."""
    receiver = Receiver(always=trouble)
    async with sending(receiver, QUICK, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0))
        await trio.sleep(60)
        began = trio.current_time()
        services.followers.drain()
        await services.followers.wait_closed()
        assert trio.current_time() - began < 7
    assert services.log.places["remote_write-far"] < services.log.end()


async def test_a_reload_leaves_unchanged_destinations_alone(monkeypatch, autojump_clock):
    """Changed ones go on at their place with the same counters, removed ones end."""
    receiver = Receiver()
    async with sending(receiver, QUICK, monkeypatch) as services:
        sink = services.sink
        commit(services, ("a", EPOCH_MS, 1.0))
        await settled(services)
        first = sink._running["far"]
        await sink.reconfigure(config_of(QUICK))
        assert sink._running["far"] is first
        await sink.reconfigure(config_of(f"headers: {{X: y}}, {QUICK}"))
        assert sink._running["far"] is not first
        assert first.ended.is_set()
        commit(services, ("a", EPOCH_MS + 1, 1.0))
        await settled(services)
        assert (counters(services).sent["samples"], receiver.asked[-1].headers["X"]) == (2, "y")
        await sink.reconfigure(parse("", "f.yml", sections()))
        assert not sink._running
        assert not services.log.open


async def test_a_reload_lets_requests_under_way_end(monkeypatch, autojump_clock):
    """So nothing is sent twice when the receiver answers within a moment; one that hangs is cut off and in doubt."""
    receiver = Receiver(seconds=2.0)
    async with sending(receiver, QUICK, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0))
        await trio.sleep(1)
        await services.sink.reconfigure(config_of(f"headers: {{X: y}}, {QUICK}"))
        await settled(services)
        assert len(receiver.asked) == 1
        receiver.replies = [HANG]
        commit(services, ("a", EPOCH_MS + 1, 1.0), ("b", EPOCH_MS + 1, 1.0))
        await trio.sleep(1)
        receiver.replies = [400]
        await services.sink.reconfigure(config_of(f"headers: {{X: z}}, {QUICK}"))
        await settled(services)
        assert counters(services).halvings == 1


async def test_many_destinations_do_not_wait_for_each_other(monkeypatch, autojump_clock):
    """One that is down holds up only itself."""
    receiver = Receiver(answer=lambda asked: 503 if "down" in asked.url else 204)
    monkeypatch.setattr(trio.to_thread, "run_sync", run_inline)
    monkeypatch.setattr(poster_module, "Client", receiver.client)
    services = FakeServices(
        parse("remote_write: [{url: 'http://down', name: d}, {url: 'http://up', name: u}]", "f", sections())
    )
    services.open_storage = lambda: type("Storage", (), {"metadata": lambda self: {}})()
    sink = RemoteWrite(services)
    async with trio.open_nursery() as nursery:
        await nursery.start(services.followers.run)
        await nursery.start(sink.run)
        commit(services, ("a", EPOCH_MS, 1.0))
        await trio.sleep(30)
        places = services.log.places
        assert places["remote_write-u"] == services.log.end()
        assert places["remote_write-d"] < services.log.end()
        found = {f.name: f for f in sink.statistics().families}
        sent = {dict(p.labels)["remote_name"]: p.value for p in found["prometheus_remote_storage_samples_total"].points}
        assert sent == {"d": 0, "u": 1}
        assert found["prometheus_remote_storage_samples_in_total"].points[0].value == 1
        nursery.cancel_scope.cancel()


async def test_shards_follow_the_load(monkeypatch, autojump_clock):
    """A slow receiver is asked by several at a time; with little to do one is enough again."""
    receiver = Receiver(seconds=0.5)
    text = "queue_config: {max_samples_per_send: 10, batch_send_deadline: 1s, capacity: 100}"
    async with sending(receiver, text, monkeypatch) as services:
        for _ in range(600):
            commit(services, *[(f"n{n}", services.clock.now_ms(), 1.0) for n in range(10)])
            await trio.sleep(0.1)
        assert 4 <= len(services.sink._running["far"]._shards) <= 50
        await settled(services)
        assert receiver.most_under_way >= 4
        newest = {}
        for sample in receiver.samples():
            assert newest.get(sample.labels["__name__"], 0) < sample.time
            newest[sample.labels["__name__"]] = sample.time
        for _ in range(300):
            commit(services, ("n0", services.clock.now_ms(), 1.0))
            await trio.sleep(1)
        assert len(services.sink._running["far"]._shards) == 1


async def test_without_a_log_it_is_tried_again(monkeypatch, autojump_clock):
    """A storage that has none, or a certificate that cannot be read: said, and tried again."""
    receiver = Receiver()
    services = FakeServices()
    follow, failures = services.follow, [StorageError("no log")]

    async def failing(name, start):
        if failures:
            raise failures.pop()
        return await follow(name, start)

    services.follow = failing
    async with sending(receiver, QUICK, monkeypatch, services):
        await trio.sleep(AGAIN_SECONDS + 1)
        commit(services, ("a", EPOCH_MS, 1.0))
        await settled(services)

    def broken(config, **_):
        raise HttpError("no certificate")

    async with sending(receiver, QUICK, monkeypatch, services):
        monkeypatch.setattr(poster_module, "Client", broken)
        await services.sink.reconfigure(config_of(f"headers: {{X: y}}, {QUICK}"))
        assert services.sink.statistics().destinations == 1


async def test_a_capacity_below_a_request_is_that_of_one(monkeypatch, autojump_clock):
    """Requests fill up all the same."""
    receiver = Receiver()
    async with sending(receiver, "queue_config: {capacity: 1, max_samples_per_send: 10}", monkeypatch) as services:
        for i in range(20):
            commit(services, ("a", EPOCH_MS + i, 1.0))
        await settled(services)
    assert [len(a.samples()) for a in receiver.asked] == [10, 10]


async def test_trouble_and_its_end_are_told_once(monkeypatch, autojump_clock):
    """Not with each attempt; the text of the receiver is shortened, and no secret of the URL shows."""
    receiver = Receiver([(503, {}, "over\n" + "loaded " * 100)] * 40)
    with structlog.testing.capture_logs() as logs:
        async with sending(receiver, QUICK, monkeypatch) as services:
            commit(services, ("a", EPOCH_MS, 1.0))
            await settled(services)
    told = [(e["event"], e["log_level"]) for e in logs if e["event"] != "destination"]
    assert set(told[:-1]) == {("not accepted now, trying again", "warning")}
    assert 2 <= len(told[:-1]) <= 4
    assert told[-1] == ("delivering again", "info")
    text = next(e["text"] for e in logs if "text" in e)
    assert text.startswith("over loaded")
    assert len(text) <= 256


async def test_loss_of_the_log_is_counted(monkeypatch, autojump_clock):
    """What the log dropped before it was read."""
    receiver = Receiver()
    async with sending(receiver, QUICK, monkeypatch) as services:
        services.log.open["remote_write-far"].loss = LogLoss(7, 1)
        commit(services, ("a", EPOCH_MS, 1.0))
        await settled(services)
        assert counters(services).lost == 7


async def test_the_mixin_sees_a_destination_that_is_behind(monkeypatch, autojump_clock):
    """In an outage the newest time goes on while the newest sent one stands."""
    receiver = Receiver()
    text = "queue_config: {capacity: 1, max_samples_per_send: 1}"
    async with sending(receiver, text, monkeypatch) as services:
        commit(services, ("a", services.clock.now_ms(), 1.0))
        await settled(services)
        receiver.always = 503
        for _ in range(30):
            commit(services, ("a", services.clock.now_ms(), 1.0))
            await trio.sleep(10)
        found = {f.name: f.points[0].value for f in families("remote_write", services.sink.statistics()) if f.points}
        behind = (
            found["prometheus_remote_storage_queue_highest_timestamp_seconds"]
            - found["prometheus_remote_storage_queue_highest_sent_timestamp_seconds"]
        )
        assert behind > 290
        assert found["prometheus_remote_storage_highest_timestamp_in_seconds"] == pytest.approx(
            found["prometheus_remote_storage_queue_highest_timestamp_seconds"]
        )
        assert found["prometheus_remote_storage_shards_desired"] <= found["prometheus_remote_storage_shards_max"]
        assert found["prometheus_remote_storage_samples_pending"] >= 1
        assert found["tinyobs_remote_write_destinations"] == 1


def test_a_plan_changes_with_what_it_is_made_from():
    """Two readings of the same text are equal; external labels and other destinations' names count where series are shared."""
    one, same = plans_of(config_of(QUICK)), plans_of(config_of(QUICK))
    assert one == same
    assert plans_of(config_of(QUICK, top="global: {external_labels: {a: b}}")) != one
    assert plans_of(config_of(QUICK, top="tinyobs: {remote_write: {start: oldest}}")) == one
    more = "- {url: 'http://other', name: other}\n"
    assert plans_of(config_of(QUICK, top=more))[:1] == one
    shared = "tinyobs: {remote_write: {distribution: shard}}"
    assert plans_of(config_of(QUICK, top=more + shared))[:1] != plans_of(config_of(QUICK, top=shared))


async def test_a_crash_keeps_counters(monkeypatch, autojump_clock):
    """What starts afresh goes on counting, and takes what was under way for doubtful."""
    receiver = Receiver()
    async with sending(receiver, QUICK, monkeypatch) as services:
        commit(services, ("a", EPOCH_MS, 1.0))
        await settled(services)
        again = services.sink.restart()
        assert again._memories is services.sink._memories


@pytest.mark.parametrize("message", ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"])
async def test_series_that_are_no_longer_sent_are_forgotten(monkeypatch, autojump_clock, message):
    """When most are; one that comes again is made anew."""
    monkeypatch.setattr(protocol_module, "SERIES_REMEMBERED_MIN", 3)
    receiver = Receiver()
    async with sending(receiver, f"protobuf_message: {message}, {QUICK}", monkeypatch) as services:
        commit(services, *[(f"n{n}", EPOCH_MS, 1.0) for n in range(9)])
        await settled(services)
        protocol = services.sink._running["far"]._protocol
        assert len(protocol._encoder) == 9
        await trio.sleep(SWEEP_SECONDS + 1)
        assert len(protocol._encoder) == 9
        commit(services, ("n0", EPOCH_MS + 1, 1.0))
        await trio.sleep(SWEEP_SECONDS)
        assert len(protocol._encoder) == 0
        commit(services, ("n0", EPOCH_MS + 2, 1.0), ("n8", EPOCH_MS + 2, 1.0))
        await settled(services)
        assert len(protocol._encoder) == 2
    assert [s.labels["__name__"] for s in receiver.asked[-1].samples()] == ["n0", "n8"]


@pytest.mark.parametrize("message", ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"])
async def test_an_exemplar_whose_series_is_silent(monkeypatch, autojump_clock, message):
    """After a while it goes out alone in 1.0; 2.0 has no place for it, which is counted."""
    receiver = Receiver()
    text = f"send_exemplars: true, protobuf_message: {message}, {QUICK}"
    async with sending(receiver, text, monkeypatch) as services:
        ref = services.registry.intern(from_mapping({"__name__": "silent"}))
        commit(services, exemplars=[Exemplar(ref, (), 1.0, EPOCH_MS)])
        await trio.sleep(EXEMPLAR_WAIT_SECONDS + 1)
        commit(services, ("a", EPOCH_MS, 1.0))
        await settled(services)
        found = counters(services)
    if "v2" in message:
        assert (found.sent["exemplars"], found.dropped) == (0, {("exemplars", "without_sample"): 1})
    else:
        assert (found.sent["exemplars"], found.dropped) == (1, {})
        assert receiver.asked[0].exemplars() == [({"__name__": "silent"}, 1.0)]


async def test_metadata_ends_with_the_agent(monkeypatch, autojump_clock):
    """Attempts to send it do not hold up the end; a storage that is not open is asked again later."""
    receiver = Receiver(always=503)
    async with sending(receiver, "metadata_config: {send_interval: 10s}", monkeypatch) as services:
        opened = services.open_storage

        def closed():
            raise StorageError("not open")

        services.open_storage = closed
        await trio.sleep(11)
        assert not receiver.asked
        services.open_storage, services.metadata = opened, {"a": MetricMetadata()}
        await trio.sleep(10)
        assert receiver.asked
        began = trio.current_time()
        services.followers.drain()
        await services.followers.wait_closed()
        assert trio.current_time() - began < 2


@pytest.mark.parametrize("replicas", [1, 2, 3])
async def test_destinations_share_the_series(monkeypatch, autojump_clock, replicas):
    """Each series goes to as many of three as asked for, always the same; what goes elsewhere is not counted as dropped."""
    receiver = Receiver()
    top = "".join(f"- {{url: 'http://{n}/write', name: {n}, {QUICK}}}\n" for n in "bc")
    top += f"tinyobs: {{remote_write: {{distribution: shard, replicas: {replicas}}}}}"
    async with sending(receiver, QUICK, monkeypatch, top=top) as services:
        for i in range(3):
            commit(services, *[(f"n{n}", EPOCH_MS + i, 1.0) for n in range(30)])
        await trio.sleep(5)
        assert set(services.log.places.values()) == {services.log.end()}
        assert counters(services).dropped == {}
    got = {}
    for asked in receiver.asked:
        for sample in asked.samples():
            got.setdefault((sample.labels["__name__"], sample.time), []).append(asked.url)
    assert len(got) == 90
    assert all(len(urls) == len(set(urls)) == replicas for urls in got.values())
    assert all(set(urls) == set(got[name, EPOCH_MS]) for (name, _), urls in got.items())
    assert len({url for urls in got.values() for url in urls}) == 3
