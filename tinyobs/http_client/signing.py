"""The contract of what signs each request of a client, beside the credentials of an `http_config`.

For credentials that depend on the request itself, or that come from elsewhere than a configuration: `tinyobs.cloud_auth`
has some.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping


class RequestSigner(abc.ABC):
    """Adds headers to every request of one client; a redirect to another host is not signed."""

    @abc.abstractmethod
    async def headers(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Mapping[str, str]:
        """Return the headers to add, which stand instead of equal ones; raises `TinyObsError` when it cannot sign.

        headers: those that the caller gives.  It sets its own deadlines.
        """

    def may_help(self, status: int, headers: Mapping[str, str]) -> bool:
        """Tell whether a request that was answered so is to be signed anew and sent once more."""
        return False

    async def aclose(self) -> None:  # noqa: B027 - most have nothing to close
        """Close what it opened; the client calls it with its own `aclose`."""
