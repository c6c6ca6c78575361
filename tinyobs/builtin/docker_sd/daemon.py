"""What a Docker daemon tells: lists of its API, asked in a version that it speaks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from ...config.docker_sd import DockerFilter
from ...config.http_client import HttpClientConfig
from ...discovery.answers import Fields, objects
from ...discovery.http_json import JsonClient
from ...discovery.names import sanitize_label_name
from ...errors import TinyObsError

VERSION_MAX: Final = (1, 51)
"""Newest version of the API that is asked for; what we read of it is the same in all."""
VERSION_DEFAULT: Final = "1.24"
"""Asked of a daemon that does not tell its version."""
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")


class Daemon:
    """One daemon; the version is asked for once, and again after an error: the daemon may be another by then."""

    def __init__(self, config: HttpClientConfig, host: str, deadline_seconds: float) -> None:
        self._client = JsonClient(config, host, deadline_seconds=deadline_seconds)
        self._version = ""

    async def list(self, path: str, filters: Sequence[DockerFilter] = ()) -> list[Fields]:
        """Return a list of the API: `containers/json`, `networks`, `services`, `tasks`, `nodes`."""
        wanted: dict[str, dict[str, bool]] = {}
        for one in filters:
            wanted.setdefault(one.name, {}).update(dict.fromkeys(one.values, True))
        params: Mapping[str, str] = {"filters": orjson.dumps(wanted).decode()} if any(wanted.values()) else {}
        try:
            if not self._version:
                self._version = await self._negotiate()
            answer = await self._client.get(f"/v{self._version}/{path}", params)
        except TinyObsError:
            self._version = ""
            raise
        return objects(answer.value, path)

    async def _negotiate(self) -> str:
        answer = await self._client.fetch("GET", "/_ping")
        found = _VERSION.fullmatch(answer.headers.get("api-version", ""))
        if found is None:
            return VERSION_DEFAULT
        major, minor = min((int(found[1]), int(found[2])), VERSION_MAX)
        return f"{major}.{minor}"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def network_labels(networks: Sequence[Fields], prefix: str) -> dict[str, dict[str, str]]:
    """Return the labels of each network, by its id."""
    return {
        n.text("Id"): {
            f"{prefix}network_id": n.text("Id"),
            f"{prefix}network_name": n.text("Name"),
            f"{prefix}network_scope": n.text("Scope"),
            f"{prefix}network_internal": truth(n.flag("Internal")),
            f"{prefix}network_ingress": truth(n.flag("Ingress")),
            **labels_of(n, "Labels", f"{prefix}network_label_"),
        }
        for n in networks
    }


def labels_of(item: Fields, key: str, prefix: str) -> dict[str, str]:
    """Return the labels that somebody put on an object of Docker, under names that a label may have."""
    return {prefix + sanitize_label_name(name): value for name, value in item.pairs(key).items()}


def truth(value: Any) -> str:
    """Return a truth value as Go prints it."""
    return "true" if value else "false"
