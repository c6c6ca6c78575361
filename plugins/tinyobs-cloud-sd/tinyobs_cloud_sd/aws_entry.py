"""What entries of AWS' kinds share: settings, keys, signed requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tinyobs.abc import DiscovererContext
from tinyobs.cloud_auth.aws_credentials import AwsAccess, AwsSettings
from tinyobs.cloud_auth.aws_signing import sign
from tinyobs.cloud_auth.aws_sts import aws_error, endpoint, service_url
from tinyobs.cloud_auth.exchange import Reply, exchange
from tinyobs.config.http_client import HttpClientConfig

from .discoverer import ANSWER_BYTES_MAX, CloudDiscoverer

AUTH_CODES: Final = (
    "AuthFailure",
    "UnauthorizedOperation",
    "ExpiredToken",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClient",
)
"""Errors after which keys are looked for anew."""


class AwsDiscoverer(CloudDiscoverer):
    """Asks one of AWS' services in one region with signed requests."""

    def __init__(
        self,
        kind: str,
        service: str,
        settings: AwsSettings,
        address: str,
        interval_ms: int,
        context: DiscovererContext,
        http: HttpClientConfig,
    ) -> None:
        """address: an address instead of the service's own."""
        super().__init__(kind, interval_ms, context, http)
        self._service, self._address = service, address
        self.access = AwsAccess(settings, context.clock.now_ms, client=self.client)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.access.aclose()
        await super().aclose()

    async def post(self, content: bytes, headers: Mapping[str, str]) -> Reply:
        """Return the answer with status 200 to a signed request; raises `TinyObsError`."""
        region, keys = await self.access.region(), await self.access.keys()
        url = endpoint(self._address or service_url(self._service, region))
        signed = sign(
            "POST",
            url,
            headers,
            content,
            keys=keys,
            region=region,
            service=self._service,
            now_ms=self.context.clock.now_ms(),
        )
        reply = await exchange(
            self.client(),
            url,
            seconds=self.interval_seconds,
            method="POST",
            headers={**headers, **signed},
            content=content,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        if reply.status != 200:
            error = aws_error(reply, url)
            if any(code in str(error) for code in AUTH_CODES):
                self.access.forget()
            raise error
        return reply
