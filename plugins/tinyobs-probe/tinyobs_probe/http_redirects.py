"""Following redirects as Go's HTTP client does: method, body, headers, cookies.  Source: RFC 9110 section 15.4."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from attrs import define, evolve, field, frozen

from .address import ProbeError

REDIRECTS_MAX: Final = 10
"""More redirects than this fail the probe."""
_SAFE: Final = "%/:=&?~+!$,;'@()*[]\"<>\\^`{|}"
"""What stays as written: all that is printable ASCII and no fragment."""
COOKIES_MAX: Final = 50
"""Most cookies kept per host during one probe."""
_TO_GET: Final = frozenset((301, 302, 303))
REDIRECTS: Final = _TO_GET | {307, 308}
Headers = tuple[tuple[str, str], ...]
_ONLY_FOR_THE_FIRST_HOST: Final = frozenset(("authorization", "host", "cookie"))
_OF_THE_BODY: Final = frozenset(("content-type", "content-encoding", "content-length"))


@frozen
class Step:
    """One request."""

    url: str
    method: str
    headers: Headers
    body: bytes = b""

    @property
    def host(self) -> str:
        """The host of the URL, without port and brackets."""
        return urlsplit(self.url).hostname or ""


def check_url(url: str) -> str:
    """Return the URL in ASCII and without its fragment; raises `ProbeError` when it cannot be asked."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is no number
    except ValueError as e:
        raise ProbeError(f"could not parse target URL: {e}") from e
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProbeError(f"could not parse target URL: {url!r}")
    host = parts.hostname
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as e:
        raise ProbeError(f"could not parse target URL: host {host!r}: {e}") from e
    netloc = parts.netloc if host.isascii() else parts.netloc.lower().replace(host, ascii_host)
    return urlunsplit((parts.scheme, quote(netloc, _SAFE), quote(parts.path, _SAFE), quote(parts.query, _SAFE), ""))


def next_step(step: Step, status: int, location: str) -> Step:
    """Return the request that a redirect asks for; raises `ProbeError` when its location is none."""
    url = check_url(urljoin(step.url, location))
    after = evolve(step, url=url)
    dropped: frozenset[str] = frozenset()
    if status in _TO_GET and step.method not in ("GET", "HEAD"):
        after = evolve(after, method="GET", body=b"")
        dropped |= _OF_THE_BODY
    if after.host != step.host:
        dropped |= _ONLY_FOR_THE_FIRST_HOST
    return evolve(after, headers=tuple(h for h in step.headers if h[0].lower() not in dropped))


@define
class Cookies:
    """Cookies by host; none is sent to another host than the one that set it."""

    _of_host: dict[str, dict[str, str]] = field(factory=dict, init=False)

    def take(self, host: str, header: str) -> None:
        """Remember what a Set-Cookie header sets; a malformed one is ignored."""
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(header)
        except CookieError:
            return
        mine = self._of_host.setdefault(host, {})
        for name, morsel in jar.items():
            if len(mine) < COOKIES_MAX:
                mine[name] = morsel.coded_value

    def header(self, host: str) -> str:
        """Return the Cookie header for a host, "" for none."""
        return "; ".join(f"{k}={v}" for k, v in self._of_host.get(host, {}).items())
