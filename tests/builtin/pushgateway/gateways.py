"""A gateway over `FakeServices`, with or without a journal, and pushes to it."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from tinyobs.abc import ConfigSection
from tinyobs.builtin.pushgateway.changes import Change, Kind
from tinyobs.builtin.pushgateway.handlers import Handlers
from tinyobs.builtin.pushgateway.settings import SECTION, PushgatewaySettings
from tinyobs.builtin.pushgateway.source import Pushgateway
from tinyobs.config import loader
from tinyobs.storage.push_journal import PushJournal
from tinyobs.testing.check_receiver import ReceiverCase, push
from tinyobs.testing.services import FakeServices

SECTIONS = (ConfigSection(SECTION, PushgatewaySettings),)


class Gateways:
    """Services, a component and its gateway; `ask` sends requests to the routes."""

    def __init__(self, settings: str = "", disk=None, services=None, **journal) -> None:
        text = f"global: {{scrape_interval: 1m}}\ntinyobs: {{pushgateway: {{{settings}}}}}"
        self.services = services or FakeServices(loader.parse(text, "test.yml", SECTIONS))
        self.component = Pushgateway(self.services)
        self.gateway = self.component.gateway
        self.services.component = lambda name: self.component
        self.handlers = Handlers(self.services)
        if disk is not None:
            self.gateway.journal = PushJournal(disk, **journal)
            self.gateway.restore(self.gateway.journal.open().records)

    async def ask(self, method, path, body=b"", **headers):
        """Return the answer to a request below the root."""
        case = ReceiverCase(path, body, 0, method=method)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await push(lambda services: self.handlers.routes(), self.services, case, body, named)

    async def put(self, path, body, method="PUT"):
        """Push to a group; returns the status."""
        return (await self.ask(method, f"/metrics/{path}", body)).status

    async def again(self):
        """Store all last values again."""
        await self.gateway.submit(Change(Kind.AGAIN, "", self.services.clock.now_ms()))

    def shown(self):
        """What the groups hold: key -> (series and values, times of push and failure)."""
        found = {}
        for group in self.gateway.groups:
            values, _ = group.state.columns()
            rows = zip(group.state.refs.tolist(), values.tolist(), strict=True)
            series = {self.services.registry.labels(ref): v if v == v else "NaN" for ref, v in rows}
            found[group.key] = series, group.state.pushed_ms, group.state.failed_ms
        return found

    @asynccontextmanager
    async def running(self):
        """Let the component run."""
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: self.component.run(task_status=task_status))
            yield self
            nursery.cancel_scope.cancel()
