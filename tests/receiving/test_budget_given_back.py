"""Whatever becomes of pushes, the memory that is counted for their bodies is given back, and the places to work on them are free.

Worker threads are stood in for by waits on the virtual clock, so that every run of a seed is the same.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
from test_pieces import BODIES, with_flags

from tinyobs.errors import Unavailable
from tinyobs.receiving import pieces, threads
from tinyobs.testing.check_receiver import ReceiverCase, services_for
from tinyobs.web.application import Application
from tinyobs.web.options import WebOptions

MIB = 1 << 20
REQUESTS = 8
SEEDS = 5
BUDGET = "1MiB"


class Client:
    """Sends one body, whole or not, in pieces that take a while; keeps the status that it was told."""

    def __init__(self, case: ReceiverCase, chance: random.Random) -> None:
        self.status = 0
        self._chance, self._case = chance, case
        body = case.good
        self.is_damaged = chance.random() < 0.2
        if self.is_damaged:
            at = chance.randrange(len(body))
            body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
        ends = sorted(chance.randrange(len(body)) for _ in range(chance.randrange(4)))
        self._left = [body[a:b] for a, b in zip([0, *ends], [*ends, len(body)], strict=True)]
        self.leaves = chance.random() < 0.4
        self._stay_seconds = chance.uniform(0, 20) if self.leaves else float("inf")
        self._tells = chance.random() < 0.7
        self._size = len(body)

    async def push(self, application: Application) -> None:
        """Send it."""
        await trio.sleep(self._chance.uniform(0, 5))
        self._leaves_at = trio.current_time() + self._stay_seconds
        headers = dict(self._case.headers)
        headers |= {"content-length": str(self._size)} if self._tells else {"transfer-encoding": "chunked"}
        scope = {
            **{"type": "http", "method": "POST", "path": self._case.path, "raw_path": self._case.path.encode()},
            **{"query_string": b"", "root_path": "", "scheme": "http", "client": ("192.0.2.1", 1)},
            **{"server": ("127.0.0.1", 1), "headers": [(k.encode(), v.encode()) for k, v in headers.items()]},
        }
        await application(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, object]:
        with trio.move_on_at(self._leaves_at):
            if not self._left:
                await trio.sleep_forever()
            await trio.sleep(self._chance.uniform(0, 4))
            piece = self._left.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._left)}
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, object]) -> None:
        self.status = message.get("status", self.status)  # type: ignore[assignment]


async def run(protocol, seed, monkeypatch):
    """Push with some clients at one time; return them, the application and the services."""
    chance = random.Random(f"{protocol} {seed}")
    module, path, body, headers = BODIES[protocol]
    case = ReceiverCase(
        path,
        body,
        0,
        headers=headers,
        sections=getattr(module, "tinyobs_config_sections", tuple)(),
        config=f"tinyobs: {{web: {{bodies_size_max: {BUDGET}}}}}",
        prepare=with_flags,
    )
    services = services_for(case)
    append = services.append

    async def slow_append(batch, **more):
        await trio.sleep(chance.uniform(0, 2))
        services.fail_with = Unavailable("full") if chance.random() < 0.1 else None
        return await append(batch, **more)

    async def stand_in(work, *arguments, **more):
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            await trio.sleep(chance.uniform(0, 1))
        return work(*arguments)

    services.append = slow_append
    monkeypatch.setattr(trio.to_thread, "run_sync", stand_in)
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    trio._core._run._r.seed(seed)  # the order of tasks is of chance as well
    application = Application(
        module.tinyobs_routes(services), WebOptions(body_seconds=9, bodies_bytes_max=chance.choice([1, 2, 8]) * MIB)
    )
    clients = [Client(case, chance) for _ in range(REQUESTS)]
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.push, application)
        if seed % 2:
            await trio.sleep(chance.uniform(0, 25))
            application.stop()
    return clients, application, services


@pytest.mark.parametrize("protocol", sorted(BODIES))
async def test_the_budget_is_given_back(autojump_clock, monkeypatch, protocol):
    """Answered, refused, damaged, too slow, client gone, daemon stopped: in all that the seeds come to."""
    seen = Counter()
    for seed in range(SEEDS):
        with monkeypatch.context() as patch:
            clients, application, services = await run(protocol, seed, patch)
        assert application.bodies.bytes == 0, seed
        for limiter in (pieces._UNDER_WAY, threads._LIMITER):
            assert limiter.borrowed_tokens == 0, seed
        statistics = services.receptions.statistics()
        assert sum(statistics.samples_total.values()) == sum(map(len, services.batches)), seed
        seen.update(client.status for client in clients)
        seen.update(application.bodies.dropped)
    assert {200, 204} & set(seen), "some were stored"
    assert all(seen[status] for status in (0, 503)), f"clients have gone and pushes were refused: {seen}"
    assert seen["client_gone"] + seen["stopping"], "bodies that waited were dropped"
