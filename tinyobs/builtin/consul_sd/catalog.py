"""What a Consul server tells, asked by blocking queries.  Protocol: Consul's HTTP API, "Blocking Queries"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from attrs import frozen

from ...config.consul_sd import ConsulSdConfig
from ...discovery.answers import Fields, objects
from ...discovery.http_json import JsonAnswer, JsonClient
from ...discovery.refreshing import DiscoveryError

WATCH_SECONDS: Final = 120
"""How long the server may wait for a change before it answers that there is none."""
GRACE_SECONDS: Final = 15
"""How much longer we wait; the server adds up to a sixteenth to the time, so that not all come back at once."""
ANSWER_SECONDS: Final = 30
"""How long a question may take that does not wait for a change."""


T = TypeVar("T")


@frozen
class Indexed(Generic[T]):
    """An answer and the index that tells when it has changed."""

    value: T
    index: int


class Catalog:
    """Asks one server, with the options of one configuration."""

    def __init__(self, config: ConsulSdConfig, observe: Callable[[str, float], None]) -> None:
        """observe: told (`services` or `service`, seconds) of each question for one."""
        self._config, self._observe = config, observe
        token = config.token.reveal()
        headers = {"X-Consul-Token": token} if token else {}
        self._client = JsonClient(config.client(), config.address(), headers=headers)

    async def datacenter(self) -> str:
        """Return the configured datacenter, or that of the agent."""
        if self._config.datacenter:
            return self._config.datacenter
        answer = await self._client.get("/v1/agent/self", self._place(), deadline_seconds=ANSWER_SECONDS)
        found = Fields(answer.value, "the agent's answer").fields("Config").text("Datacenter")
        if not found:
            raise DiscoveryError("the agent does not tell its datacenter")
        return found

    async def services(self, index: int) -> Indexed[dict[str, list[str]]]:
        """Return the tags of each service; with an index, when they have changed or after a while."""
        params = self._place() + self._options(index, self._config.filter)
        answer = await self._ask("services", "/v1/catalog/services", params, index)
        listed = Fields(answer.value, "the list of services")
        return Indexed({name: listed.texts(name) for name in listed.values}, _index(answer, index))

    async def instances(self, service: str, index: int) -> Indexed[Sequence[Fields]]:
        """Return the instances of a service with its tags, healthy or not; with an index, when they have changed."""
        params = self._place() + self._options(index, self._config.health_filter)
        params += [("tag", tag) for tag in self._config.tags]
        answer = await self._ask("service", f"/v1/health/service/{quote(service, safe='')}", params, index)
        return Indexed(objects(answer.value, f"the instances of {service}"), _index(answer, index))

    async def _ask(self, call: str, path: str, params: list[tuple[str, str]], index: int) -> JsonAnswer:
        began = perf_counter()
        try:
            seconds = WATCH_SECONDS + GRACE_SECONDS if index else ANSWER_SECONDS
            return await self._client.get(path, params, deadline_seconds=seconds)
        finally:
            self._observe(call, perf_counter() - began)

    def _place(self) -> list[tuple[str, str]]:
        """Return the parameters that each question has."""
        config = self._config
        named = (("dc", config.datacenter), ("ns", config.namespace), ("partition", config.partition))
        return [(name, value) for name, value in named if value]

    def _options(self, index: int, expression: str) -> list[tuple[str, str]]:
        params = [("stale", "")] if self._config.allow_stale else []
        if index:
            params += [("index", str(index))]
        params += [("wait", f"{WATCH_SECONDS * 1000}ms")]
        params += [("node-meta", f"{key}:{value}") for key, value in self._config.node_meta]
        return params + ([("filter", expression)] if expression else [])

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _index(answer: JsonAnswer, asked: int) -> int:
    """Return the index to ask with next time: 0, for an answer at once, where it went back or makes no sense."""
    text: Any = answer.headers.get("x-consul-index", "")
    found = int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else 0
    return found if found >= asked else 0
