"""The contract of receivers over HTTP, executable: what every protocol owes to those who push, and to the daemon.

    await check_receiver(my_plugin.tinyobs_routes, ReceiverCase("/write", good=b"cpu value=1\\n", samples=1, bad=b"?"))

Nothing listens: requests go to the application of a real server, and samples to a `FakeServices`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio
from attrs import Factory, evolve, frozen

from ..abc import ConfigSection, Route, Services
from ..config import loader
from ..config.limit_settings import RateSettings
from ..errors import DiskFullError, Unavailable
from ..web.application import Application
from ..web.options import WebOptions
from .services import FakeServices

BOMB_BYTES: Final = 4 << 20
"""Size of a body that is small as sent and large when unpacked."""
BOMB_BYTES_MAX: Final = 1 << 20


@frozen
class ReceiverCase:
    """Requests of one protocol.

    good: a body with `samples` samples.  bad: a body of which nothing can be taken.  mixed: a body with `mixed_samples` good
    samples beside others that cannot be taken; b"" where the protocol is all or nothing.  config: YAML, with the sections
    of plugins.  unpacks: whether bodies may be compressed with gzip.  has_flag: switched on by a flag, not by
    `tinyobs.receivers.enabled`.  prepare: called with the services of each request, before the routes are made.
    """

    path: str
    good: bytes
    samples: int
    bad: bytes = b""
    mixed: bytes = b""
    mixed_samples: int = 0
    headers: Mapping[str, str] = Factory(dict)
    method: str = "POST"
    config: str = ""
    sections: Sequence[ConfigSection] = ()
    unpacks: bool = True
    has_flag: bool = False
    mixed_statuses: Sequence[int] = (200, 202, 204, 400)
    """What a push that is good in part may be answered with."""
    prepare: Callable[[FakeServices], None] = lambda services: None


@frozen
class Answer:
    """What a request was answered with; names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Routes = Callable[[Services], Sequence[Route]]


async def check_receiver(routes: Routes, case: ReceiverCase) -> None:
    """Check a receiver; raises `AssertionError` for the first promise that is not kept.  Time should be virtual."""
    await _check_acknowledgement(routes, case)
    await _check_faults(routes, case)
    await _check_trouble(routes, case)
    await _check_guards(routes, case)
    if case.unpacks:
        await _check_packed(routes, case)


async def push(
    routes: Routes, services: FakeServices, case: ReceiverCase, body: bytes, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send one request to the routes of a receiver and return the answer."""
    application = Application(routes(services), WebOptions())  # type: ignore[arg-type]
    path, _, query = case.path.partition("?")
    sent = {**case.headers, "content-length": str(len(body)), **(headers or {})}
    scope = {
        "type": "http",
        "method": case.method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("192.0.2.1", 1234),
        "server": ("127.0.0.1", 9090),
    }
    left = [{"type": "http.request", "body": body, "more_body": False}]
    answered: list[Any] = []

    async def receive() -> Any:
        if left:
            return left.pop()
        return await trio.sleep_forever()

    async def send(message: Any) -> None:
        answered.append(message)

    await application(scope, receive, send)
    head = {name.decode().lower(): value.decode() for name, value in answered[0]["headers"]}
    return Answer(answered[0]["status"], head, b"".join(m["body"] for m in answered[1:]))


def services_for(case: ReceiverCase, **changes: Any) -> FakeServices:
    """Return services with the configuration of a case; changes: of sections of `tinyobs`, by name."""
    config = loader.parse(case.config, "test.yml", case.sections)
    own = config.tinyobs
    for section, values in changes.items():
        own = evolve(own, **{section: evolve(getattr(own, section), **values)})
    services = FakeServices(evolve(config, tinyobs=own))
    case.prepare(services)
    return services


def _stored(services: FakeServices) -> int:
    return sum(map(len, services.batches))


def _refused(services: FakeServices) -> int:
    return sum(services.receptions.statistics().refused_total.values())


async def _check_acknowledgement(routes: Routes, case: ReceiverCase) -> None:
    services = services_for(case)
    answer = await push(routes, services, case, case.good)
    assert 200 <= answer.status < 300, f"a good push is acknowledged, not {answer}"
    assert _stored(services) == case.samples, f"{_stored(services)} of {case.samples} samples were stored"
    assert not _refused(services), "nothing of a good push is counted as refused"
    assert all(batch.source for batch in services.batches), "a batch says whom it came from"
    statistics = services.receptions.statistics()
    assert sum(statistics.requests_total.values()) == 1, "a push is admitted once"
    assert sum(statistics.samples_total.values()) == case.samples, "stored samples are counted"


async def _check_faults(routes: Routes, case: ReceiverCase) -> None:
    if case.bad:
        services = services_for(case)
        answer = await push(routes, services, case, case.bad)
        assert 400 <= answer.status < 500, f"what cannot be read is the client's fault, not {answer}"
        assert not _stored(services), "nothing is made up"
        assert _refused(services), "what cannot be read is counted"
    if case.mixed:
        services = services_for(case)
        answer = await push(routes, services, case, case.mixed)
        assert answer.status in case.mixed_statuses, f"{answer} for a push that is good in part"
        assert _stored(services) == case.mixed_samples, (
            f"{_stored(services)} of {case.mixed_samples} good samples stored"
        )
        assert _refused(services), "what was left out is counted"


async def _check_trouble(routes: Routes, case: ReceiverCase) -> None:
    for error, statuses in ((Unavailable("full"), (503,)), (DiskFullError("no space"), (503, 507))):
        services = services_for(case)
        services.fail_with = error
        answer = await push(routes, services, case, case.good)
        assert answer.status in statuses, f"{answer} where the storage could not take samples"
        assert answer.headers.get("retry-after"), "the client is told when to try again"
        assert _refused(services), "samples that could not be stored are counted"


async def _check_guards(routes: Routes, case: ReceiverCase) -> None:
    for unit in ("requests", "samples", "bytes"):
        rates = RateSettings(**{f"{unit}_per_second": 0.001}, burst_ms=0)  # type: ignore[arg-type]
        services = services_for(case, limits={"rates": rates})
        first = await push(routes, services, case, case.good)
        assert 200 <= first.status < 300, f"who owes nothing may push: {first}"
        again = await push(routes, services, case, case.good)
        assert again.status == 429, f"{again} for a source beyond its rate of {unit}"
        assert int(again.headers["retry-after"]) > 0, "the client is told when to try again"
        assert _stored(services) == case.samples, "nothing of a push beyond the rate is stored"
    for header, value in (("sec-fetch-site", "cross-site"), ("origin", "http://elsewhere.example")):
        services = services_for(case)
        answer = await push(routes, services, case, case.good, {header: value})
        assert answer.status == 403, f"{answer} for a push from a page of another site"
        assert not _stored(services)
    if not case.has_flag:
        services = services_for(case, receivers={"enabled": False})
        answer = await push(routes, services, case, case.good)
        assert answer.status == 404, f"{answer} where pushes are switched off"
        assert not _stored(services)


async def _check_packed(routes: Routes, case: ReceiverCase) -> None:
    packed = {"content-encoding": "gzip"}
    services = services_for(case)
    answer = await push(routes, services, case, gzip.compress(case.good, mtime=0), packed)
    assert 200 <= answer.status < 300, f"a compressed push is unpacked, not {answer}"
    assert _stored(services) == case.samples
    cut = gzip.compress(case.good, mtime=0)[:-9]
    for body, status in ((cut, 400), (b"no gzip", 400)):
        services = services_for(case)
        answer = await push(routes, services, case, body, packed)
        assert answer.status == status, f"{answer} for a damaged body"
        assert _refused(services), "a damaged body is counted"
        assert not _stored(services)
    services = services_for(case, receivers={"decoded_size_max_bytes": BOMB_BYTES_MAX})
    answer = await push(routes, services, case, gzip.compress(bytes(BOMB_BYTES), mtime=0), packed)
    assert answer.status == 413, f"{answer} for a body that unpacks to more than it may"
    answer = await push(routes, services, case, case.good, {"content-encoding": "tar"})
    assert answer.status == 415, f"{answer} for an encoding that nobody knows"
    assert not _stored(services)
