"""A fake Consul agent: catalog and health endpoints with indexes and blocking queries.

Debian has no Consul, so nothing here is compared with a real one; the protocol is that of Consul's reference of its
HTTP API ("Blocking Queries", "Catalog", "Health").
"""

from __future__ import annotations

from typing import Any

import trio
from attrs import define, field
from fake_http_api import Reply, Request

WAIT_SECONDS = 0.15
"""How long a blocking query waits at most, whatever it asks for, so that tests see the end of one."""


def instance(id: str, node: str, address: str, port: int, tags: Any = (), **more: Any) -> dict[str, Any]:
    """Return one entry of `/v1/health/service/...`; `more` goes into its parts: `node_meta`, `checks`, ..."""
    return {
        "Node": {
            "Node": node,
            "Address": address,
            "Datacenter": "dc-1",
            "TaggedAddresses": more.get("tagged", {"lan": address}),
            "Meta": more.get("node_meta", {}),
        },
        "Service": {
            "ID": id,
            "Service": id.partition("-")[0],
            "Tags": list(tags) or None,
            "Address": more.get("service_address", ""),
            "Port": port,
            "Meta": more.get("meta", {}),
            **more.get("service", {}),
        },
        "Checks": more.get("checks", [{"CheckID": "serfHealth", "Status": "passing"}]),
    }


@define
class FakeConsul:
    """The agent; change its services by `put`, or anything together with `bump`."""

    services: dict[str, list[Any]] = field(factory=dict)
    datacenter: str = "dc-1"
    token: str = ""
    """What requests must carry, if anything."""
    broken: bool = False
    index: int = 7
    requests: list[Request] = field(factory=list)
    waiting: int = 0
    """Blocking queries that wait now."""
    _changed: trio.Event = field(factory=trio.Event)

    def put(self, name: str, *instances: Any) -> None:
        """Set the instances of a service; none removes it."""
        if instances:
            self.services[name] = list(instances)
        else:
            self.services.pop(name, None)
        self.bump()

    def bump(self, index: int | None = None) -> None:
        """Answer all who wait, with the next index or another one."""
        self.index = self.index + 1 if index is None else index
        self._changed.set()
        self._changed = trio.Event()

    async def __call__(self, request: Request) -> Reply:
        """Answer a request as an agent does."""
        self.requests.append(request)
        if self.token and request.headers.get("x-consul-token") != self.token:
            return Reply(b"Permission denied", status=403, content_type="text/plain")
        if request.path == "/v1/agent/self" and not self.broken:
            return Reply({"Config": {"Datacenter": self.datacenter, "NodeName": "agent"}})
        asked = int(request.parameter("index") or 0)
        if asked and asked >= self.index and not self.broken:
            await self._wait()
        if self.broken:
            return Reply(b"No cluster leader", status=500, content_type="text/plain")
        return Reply(self._answer(request), headers={"X-Consul-Index": str(self.index)})

    async def _wait(self) -> None:
        changed = self._changed
        self.waiting += 1
        try:
            with trio.move_on_after(WAIT_SECONDS):
                await changed.wait()
        finally:
            self.waiting -= 1

    def _answer(self, request: Request) -> Any:
        if request.path == "/v1/catalog/services":
            tags = {
                n: sorted({t for i in found for t in i["Service"]["Tags"] or ()}) for n, found in self.services.items()
            }
            return tags
        name = request.path.removeprefix("/v1/health/service/")
        wanted = set(request.query.get("tag", ()))
        return [i for i in self.services.get(name, []) if wanted <= set(i["Service"]["Tags"] or ())]
