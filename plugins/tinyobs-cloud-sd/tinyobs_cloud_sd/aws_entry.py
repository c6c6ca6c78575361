"""What entries of AWS' kinds share: settings, keys, signed requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import trio
from tinyobs.abc import DiscovererContext
from tinyobs.cloud_auth.aws_credentials import AwsAccess, AwsSettings
from tinyobs.cloud_auth.aws_signing import sign
from tinyobs.cloud_auth.aws_sts import FORM, aws_error, endpoint, service_url
from tinyobs.cloud_auth.exchange import THREAD_BYTES, Reply, decode_json, exchange
from tinyobs.cloud_auth.xml_answers import Element, parse_xml
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .discoverer import ANSWER_BYTES_MAX, CloudDiscoverer

JSON: Final = "application/x-amz-json-1.1"
AUTH_CODES: Final = (
    "AuthFailure",
    "UnauthorizedOperation",
    "ExpiredToken",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClient",
)
"""Errors after which keys are looked for anew."""


class AwsEntry(Protocol):
    """What all entries of AWS have."""

    @property
    def region(self) -> str:
        """Empty: that of the environment, the profile or the instance."""

    @property
    def endpoint(self) -> str:
        """An address instead of the service's own in the region."""

    @property
    def access_key(self) -> str:
        """Empty: keys are looked for, as AWS' own tools do."""

    @property
    def secret_key(self) -> Secret:
        """The other half of the keys."""

    @property
    def profile(self) -> str:
        """A profile of the shared files."""

    @property
    def role_arn(self) -> str:
        """A role that is assumed with the keys."""

    @property
    def external_id(self) -> str:
        """What the role may ask for."""

    @property
    def refresh_interval_ms(self) -> DurationMs:
        """Time from one list to the next."""

    @property
    def http(self) -> HttpClientConfig:
        """How to speak HTTP."""


class AwsDiscoverer(CloudDiscoverer):
    """Asks one of AWS' services in one region with signed requests."""

    def __init__(self, kind: str, service: str, config: AwsEntry, context: DiscovererContext) -> None:
        super().__init__(kind, config.refresh_interval_ms, context, config.http)
        self._service, self._address = service, config.endpoint
        settings = AwsSettings(
            config.region,
            config.access_key,
            config.secret_key,
            config.profile,
            config.role_arn,
            config.external_id,
        )
        self.access = AwsAccess(settings, context.clock.now_ms, client=self.client)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.access.aclose()
        await super().aclose()

    async def post(self, content: bytes, headers: Mapping[str, str], service: str = "") -> Reply:
        """Return the answer with status 200 to a signed request; raises `TinyObsError`.

        service: another one than the entry's own; the address of the entry is not for it.
        """
        own = "" if service else self._address
        service = service or self._service
        url = endpoint(own or service_url(service, await self.access.region()))
        return await self._send("POST", url, headers, content, service)

    async def get_json(self, path: str, asked: Mapping[str, str]) -> Any:
        """Return what a service says that has a path for each thing; path: encoded, without slash at its beginning."""
        base = endpoint(self._address or service_url(self._service, await self.access.region()))
        url = f"{base}{path}" + (f"?{urlencode(asked)}" if asked else "")
        return await decode_json(await self._send("GET", url, {}, b"", self._service), base)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], content: bytes, service: str) -> Reply:
        signed = sign(
            method,
            url,
            headers,
            content,
            keys=await self.access.keys(),
            region=await self.access.region(),
            service=service,
            now_ms=self.context.clock.now_ms(),
        )
        reply = await exchange(
            self.client(),
            url,
            seconds=self.interval_seconds,
            method=method,
            headers={**headers, **signed},
            content=content or None,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        if reply.status != 200:
            error = aws_error(reply, url)
            if any(code in str(error) for code in AUTH_CODES):
                self.access.forget()
            raise error
        return reply

    async def post_json(self, target: str, asked: Mapping[str, Any]) -> Any:
        """Return what a service says that is asked in JSON; target: the name of its operation."""
        reply = await self.post(json.dumps(asked).encode(), {"Content-Type": JSON, "X-Amz-Target": target})
        return await decode_json(reply, target)

    async def query(
        self, action: str, version: str, fields: Mapping[str, str] | None = None, service: str = ""
    ) -> Element:
        """Return what a service says that is asked with a form and answers in XML."""
        body = urlencode({"Action": action, "Version": version, **(fields or {})}).encode()
        reply = await self.post(body, {"Content-Type": FORM}, service)
        if len(reply.body) < THREAD_BYTES:
            return parse_xml(reply.body)
        return await trio.to_thread.run_sync(parse_xml, reply.body)
