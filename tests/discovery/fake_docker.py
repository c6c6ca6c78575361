"""A fake Docker daemon that answers the lists of the Engine API from dictionaries.

Debian's CI has no running Docker daemon, so nothing here is compared with a real one; the shapes of the answers are
those of the Engine API's reference (v1.24 to v1.51).
"""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from fake_http_api import Reply, Request

NETWORKS = [
    {"Id": "n1", "Name": "front", "Scope": "local", "Internal": False, "Ingress": False, "Labels": {"com.x/team": "web"}},
    {"Id": "n2", "Name": "back", "Scope": "local", "Internal": True, "Ingress": False, "Labels": None},
    {"Id": "n9", "Name": "ingress", "Scope": "swarm", "Internal": False, "Ingress": True, "Labels": {}},
]  # fmt: skip


def container(id: str, name: str, networks: Any, ports: Any = (), mode: str = "front", **more: Any) -> dict[str, Any]:
    """Return one entry of `containers/json`; networks: name -> (id, address), ports: (private, public, ip, type)."""
    shown = []
    for private, public, ip, kind in ports:
        port = {"PrivatePort": private, "Type": kind}
        shown.append(port | ({"PublicPort": public, "IP": ip} if public else {}))
    endpoints = {n: e and {"NetworkID": e[0], "IPAddress": e[1]} for n, e in networks.items()}
    return {
        "Id": id,
        "Names": [f"/{name}"],
        "Image": f"{name}:1.0",
        "ImageID": f"sha256:{name}",
        "Ports": shown,
        "Labels": {"com.docker.compose/service": name},
        "State": "running",
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": endpoints},
        **more,
    }


@define
class FakeDocker:
    """The daemon; its lists may be changed while it runs."""

    containers: list[Any] = field(factory=list)
    networks: list[Any] = field(factory=lambda: list(NETWORKS))
    services: list[Any] = field(factory=list)
    tasks: list[Any] = field(factory=list)
    nodes: list[Any] = field(factory=list)
    version: str = "1.47"
    """Newest version of the API; "" tells none.  Older requests are answered down to 1.24."""
    broken: bool = False
    requests: list[Request] = field(factory=list)

    async def __call__(self, request: Request) -> Reply:
        """Answer a request as the daemon does."""
        self.requests.append(request)
        if self.broken:
            return Reply({"message": "daemon is shutting down"}, status=503)
        if request.path == "/_ping":
            return Reply(
                b"OK", headers={"Api-Version": self.version} if self.version else {}, content_type="text/plain"
            )
        _, version, path = request.path.split("/", 2)
        if not self._speaks(version):
            return Reply(
                {"message": f"client version {version} is too new. Maximum supported API version is {self.version}"},
                status=400,
            )
        lists = {
            "containers/json": self.containers,
            "networks": self.networks,
            "services": self.services,
            "tasks": self.tasks,
            "nodes": self.nodes,
        }
        if path not in lists:
            return Reply({"message": "page not found"}, status=404)
        if path in ("services", "tasks", "nodes") and not self.nodes:
            return Reply({"message": "This node is not a swarm manager."}, status=503)
        return Reply([item for item in lists[path] if self._fits(item, request)])

    def _speaks(self, version: str) -> bool:
        newest = self.version or "1.24"
        return (1, 24) <= _numbers(version.removeprefix("v")) <= _numbers(newest)

    def _fits(self, item: Any, request: Request) -> bool:
        """Apply the filters on names and states."""
        filters = json.loads(request.parameter("filters") or "{}")
        names = filters.get("name") or {}
        state = filters.get("desired-state") or {}
        return (not names or any(n in item["Names"][0] for n in names)) and (
            not state or item.get("DesiredState") in state
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
