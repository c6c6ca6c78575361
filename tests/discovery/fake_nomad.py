"""A fake Nomad server: the list of services, the instances of each, blocking queries.

Debian has no Nomad, so nothing here is compared with a real one; the protocol is that of the reference of Nomad's HTTP
API ("Services", "Blocking Queries").
"""

from __future__ import annotations

from typing import Any

import trio
from attrs import define, field
from fake_http_api import Reply, Request


def instance(service: str, number: int, address: str, port: int, **more: Any) -> dict[str, Any]:
    """Return one registration of a service."""
    return {
        "ID": f"_nomad-task-{service}-{number}",
        "ServiceName": service,
        "Namespace": "default",
        "NodeID": f"node-{number}",
        "Datacenter": "dc1",
        "JobID": service,
        "AllocID": f"alloc-{number}",
        "Tags": ["metrics"],
        "Address": address,
        "Port": port,
        **more,
    }


@define
class FakeNomad:
    """The server."""

    instances: list[Any] = field(factory=list)
    broken: bool = False
    index: int = 40
    """0: the server tells no index."""
    requests: list[Request] = field(factory=list)
    waiting: int = 0
    _changed: trio.Event = field(factory=trio.Event)

    def put(self, *instances: Any) -> None:
        """Replace all instances, and answer who waits."""
        self.instances = list(instances)
        self.bump()

    def bump(self) -> None:
        """Answer who waits."""
        self.index += 1
        self._changed.set()
        self._changed = trio.Event()

    async def __call__(self, request: Request) -> Reply:
        """Answer a request as a server does."""
        self.requests.append(request)
        asked = int(request.parameter("index") or 0)
        if asked and asked >= self.index and not self.broken:
            self.waiting += 1
            try:
                with trio.move_on_after(0.15):
                    await self._changed.wait()
            finally:
                self.waiting -= 1
        if self.broken:
            return Reply(b"No cluster leader", status=500, content_type="text/plain")
        headers = {"X-Nomad-Index": str(self.index)} if self.index else {}
        return Reply(self._answer(request), headers=headers)

    def _answer(self, request: Request) -> Any:
        namespace = request.parameter("namespace") or "default"
        found = [i for i in self.instances if namespace in ("*", i["Namespace"])]
        if request.path == "/v1/services":
            spaces: dict[str, dict[str, Any]] = {}
            for i in found:
                spaces.setdefault(i["Namespace"], {})[i["ServiceName"]] = i["Tags"]
            return [
                {"Namespace": space, "Services": [{"ServiceName": n, "Tags": t} for n, t in services.items()]}
                for space, services in spaces.items()
            ]
        assert namespace != "*"
        return [i for i in found if i["ServiceName"] == request.path.removeprefix("/v1/service/")]
