"""Large bodies are decoded and stored piece by piece, a few at one time; what does not fit is turned away."""

from __future__ import annotations

import attrs
import cramjam
import pytest
import trio
from otlp_bodies import START_NS, Body
from starlette.requests import ClientDisconnect

from tinyobs.builtin import bulk_import, influx, otlp_receiver, prometheus_import, remote_write_receiver
from tinyobs.config import loader
from tinyobs.errors import Unavailable
from tinyobs.exposition.json_cost import json_bytes
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.label_block import varint
from tinyobs.receiving.pieces import DOCUMENT_BYTES_MIN, PIECE_BYTES_MIN, hold_document, piece_bytes, use_pieces
from tinyobs.receiving.threads import WORKING_MAX, check_wanted
from tinyobs.testing.check_receiver import ReceiverCase, push, services_for
from tinyobs.testing.services import FakeServices
from tinyobs.web import application
from tinyobs.web.held_bytes import Held, HeldBytes
from tinyobs.web.problem import HttpError
from tinyobs.web.stopping import Stopping
from tinyobs.web.wanted import WANTED, Wanted

MIB = 1 << 20
NOW = 1_790_000_000_000


def services_with(text):
    """Services of a daemon that is configured so."""
    return FakeServices(loader.parse(text, "test.yml"))


@pytest.mark.parametrize(
    ("budget", "cost", "expected"),
    [("256MiB", 32, MIB), ("256MiB", 16, 2 * MIB), ("64MiB", 64, MIB // 8), ("1MiB", 64, PIECE_BYTES_MIN)],
)
def test_pieces_are_as_small_as_what_is_left_for_decoding_wants(budget, cost, expected):
    """A quarter of the limit, for each of the threads that work on bodies."""
    services = services_with(f"tinyobs: {{web: {{bodies_size_max: {budget}}}}}")
    assert piece_bytes(services, cost, 32 * MIB, None) == expected


def test_with_limits_on_a_request_it_is_one_piece():
    """All samples must be counted before any is stored; the memory is counted instead."""
    services = services_with("tinyobs: {limits: {samples_per_request_max: 1000}}")
    everything = HeldBytes(256 * MIB)
    assert piece_bytes(services, 32, 5 * MIB, Held(everything)) == 5 * MIB
    assert everything.bytes == 160 * MIB
    with pytest.raises(HttpError):
        piece_bytes(services, 32, 7 * MIB, Held(everything))
    assert piece_bytes(services, 32, 1000, Held(everything)) == MIB, "a small one is decoded as always"


def test_a_document_is_counted_by_what_it_becomes():
    """Small ones are not."""
    everything = HeldBytes(256 * MIB)
    hold_document(b"{}," * 1000, Held(everything))
    assert everything.bytes == 0
    document = b"{}," * (DOCUMENT_BYTES_MIN // 3 + 1)
    hold_document(document, Held(everything))
    assert everything.bytes == json_bytes(document)
    hold_document(document, None)
    with pytest.raises(HttpError) as caught:
        hold_document(document * 20, Held(everything))
    assert caught.value.status == 413


async def test_few_pieces_are_under_way_at_one_time():
    """From being made until they are stored, of all bodies together; each body's come in order."""
    under_way = most = 0
    stored: dict[int, list[int]] = {}

    def pieces(body):
        nonlocal under_way, most
        for i in range(5):
            under_way += 1
            most = max(most, under_way)
            yield body, i

    async def use(piece):
        nonlocal under_way
        body, i = piece
        await trio.lowlevel.checkpoint()
        stored.setdefault(body, []).append(i)
        under_way -= 1

    async with trio.open_nursery() as nursery:
        for body in range(8):
            nursery.start_soon(use_pieces, pieces(body), use)
    assert stored == {body: [0, 1, 2, 3, 4] for body in range(8)}
    assert most <= WORKING_MAX


@pytest.mark.parametrize("reason", ["client_gone", "stopping"])
async def test_no_piece_is_begun_that_nobody_wants(autojump_clock, reason):
    """The one that was begun is stored, though nobody else waits for a turn; the next body has its turn."""
    stored: list[int] = []
    stopping, bodies, gone = Stopping(), HeldBytes(100), trio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def use(piece):
        if piece == 2:
            gone.set() if reason == "client_gone" else stopping.come()
        await trio.sleep(1)
        stored.append(piece)

    token = WANTED.set(Wanted(stopping, bodies, receive))
    try:
        with pytest.raises(ClientDisconnect if reason == "client_gone" else Unavailable):
            await use_pieces(iter(range(1, 9)), use)
    finally:
        WANTED.reset(token)
    assert stored == [1, 2]
    assert bodies.dropped[reason] == sum(bodies.dropped.values()) == 1
    await use_pieces(iter(range(11, 13)), use)
    assert stored == [1, 2, 11, 12]


async def test_what_goes_wrong_with_a_piece_ends_the_body():
    """Those before it stay, and the next body has its turn."""
    stored = []

    async def use(piece):
        if piece == 2:
            raise HttpError(503, "full")
        stored.append(piece)

    for _ in range(2 * WORKING_MAX):
        with pytest.raises(HttpError):
            await use_pieces(iter([1, 2, 3]), use)
    assert stored == [1] * 2 * WORKING_MAX


def write_request(count):
    """A body of remote write with so many new series."""
    request = WriteRequest()
    for i in range(count):
        one = request.timeseries.add()
        one.labels.add(name=b"__name__", value=b"m")
        one.labels.add(name=b"i", value=b"%d" % i)
        one.samples.add(timestamp=NOW, value=i)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def write_request_2(count):
    """The same as 2.0."""
    request = Request2(symbols=["", "__name__", "m", "i", *map(str, range(count))])
    for i in range(count):
        request.timeseries.add(labels_refs=[1, 2, 3, 4 + i]).samples.add(timestamp=NOW, value=i)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def otlp_request(count):
    """A body of OTLP with so many points."""
    body = Body(service__name="shop")
    for i in range(count // 100):
        body.gauge(f"m{i}", *map(float, range(100)), at_ns=START_NS)
    return body.bytes()


def with_flags(services):
    """Switch on what needs a flag."""
    services.settings = attrs.evolve(services.settings, otlp_receiver=True, remote_write_receiver=True)


COUNT = 6000
BODIES = {
    "remote_write": (
        remote_write_receiver,
        "/api/v1/write",
        write_request(COUNT),
        {"content-type": "application/x-protobuf", "content-encoding": "snappy"},
    ),
    "remote_write_2": (
        remote_write_receiver,
        "/api/v1/write",
        write_request_2(COUNT),
        {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "content-encoding": "snappy"},
    ),
    "otlp": (otlp_receiver, "/v1/metrics", otlp_request(COUNT), {"content-type": "application/x-protobuf"}),
    "influx": (influx, "/write", b"".join(b"m,i=%d v=%d 1790000000000000000\n" % (i, i) for i in range(COUNT)), {}),
    "text": (
        prometheus_import,
        "/api/v1/import/prometheus",
        b"".join(b'm{i="%d"} %d 1790000000000\n' % (i, i) for i in range(COUNT)),
        {},
    ),
    "json_lines": (
        bulk_import,
        "/api/v1/import",
        b"".join(
            b'{"metric":{"__name__":"m","i":"%d"},"values":[%d],"timestamps":[1790000000000]}\n' % (i, i)
            for i in range(COUNT)
        ),
        {},
    ),
}


@pytest.mark.parametrize("protocol", sorted(BODIES))
async def test_each_protocol_stores_a_large_body_in_pieces(autojump_clock, protocol):
    """All samples, in several batches; one push was admitted."""
    module, path, body, headers = BODIES[protocol]
    sections = getattr(module, "tinyobs_config_sections", tuple)()
    config = "tinyobs: {web: {bodies_size_max: 1MiB}}"
    case = ReceiverCase(path, body, COUNT, headers=headers, sections=sections, config=config, prepare=with_flags)
    services = services_for(case)
    answer = await push(module.tinyobs_routes, services, case, body)
    assert answer.status in (200, 204), answer
    stored = [len(batch) for batch in services.batches if len(batch)]
    assert len(stored) > 1
    assert sum(stored) == COUNT
    statistics = services.receptions.statistics()
    assert sum(statistics.requests_total.values()) == 1
    assert not sum(statistics.refused_total.values())


@pytest.mark.parametrize("reason", ["client_gone", "stopping"])
async def test_a_piece_that_takes_long_to_make_is_given_up(reason):
    """Where it says that nothing is lost by that; what was made before is stored, and the next body has its turn."""
    stored: list[int] = []
    stopping, bodies, gone = Stopping(), HeldBytes(100), trio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    def pieces():
        yield 1
        check_wanted()
        trio.from_thread.run_sync(stopping.come if reason == "stopping" else gone.set)
        for _ in range(1000):  # passes of the event loop, in which it is noticed
            trio.from_thread.run_sync(int)
            check_wanted()
        yield 2

    async def use(piece):
        stored.append(piece)

    token = WANTED.set(Wanted(stopping, bodies, receive))
    try:
        with pytest.raises(ClientDisconnect if reason == "client_gone" else Unavailable):
            await use_pieces(pieces(), use)
    finally:
        WANTED.reset(token)
    assert stored == [1]
    assert bodies.dropped[reason] == sum(bodies.dropped.values()) == 1
    await use_pieces(iter([3]), use)
    assert stored == [1, 3]


def test_whoever_works_elsewhere_is_wanted():
    """In no thread of trio."""
    check_wanted()


@pytest.mark.parametrize(
    ("path", "element", "around"),
    [("/v1/metrics", b"\x12\x00", b"\x0a\x12"), ("/api/v1/write", b"\x0a\x00", b"")],
    ids=["otlp", "remote-write"],
)
async def test_a_stop_does_not_wait_for_messages_that_are_not_cut_yet(path, element, around, monkeypatch):
    """Looking for where to cut a body of the smallest fields takes seconds, and is given up."""
    body = element * (MIB // len(element))
    for tag in reversed(around):
        body = bytes([tag]) + varint(len(body)) + body
    routes = {"/v1/metrics": otlp_receiver, "/api/v1/write": remote_write_receiver}[path].tinyobs_routes
    headers = {"content-type": "application/x-protobuf"}
    if path == "/api/v1/write":
        body, headers = bytes(cramjam.snappy.compress_raw(body)), {**headers, "content-encoding": "snappy"}
    stopping = Stopping()
    checks = 0

    def check():
        nonlocal checks
        checks += 1
        trio.from_thread.run_sync(stopping.come)
        check_wanted()

    monkeypatch.setattr(otlp_receiver, "check_wanted", check)
    monkeypatch.setattr(remote_write_receiver.receiver, "check_wanted", check)
    monkeypatch.setattr(application, "Stopping", lambda: stopping)
    case = ReceiverCase(
        path, b"", 0, headers=headers, config="tinyobs: {web: {bodies_size_max: 8MiB}}", prepare=with_flags
    )
    services = services_for(case)
    answer = await push(routes, services, case, body)
    assert (answer.status, checks, services.batches) == (503, 1, [])
