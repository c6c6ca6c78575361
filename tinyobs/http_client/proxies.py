"""Which proxy a request goes through.  Pure; the rules are those of Go's httpproxy, which Prometheus uses.

A list of exceptions (`no_proxy`, `NO_PROXY`) has, separated by commas: `*` for all; an address or a network, as in
`10.0.0.0/8`; a domain `example.org`, which stands for its subdomains as well; `.example.org` or `*.example.org`, which
stands for subdomains only; each but a network may end in `:port`.  Where a list or the environment decides, localhost
and loopback addresses are asked directly.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from ..config.http_client import ProxyConfig
from .errors import HttpError
from .places import Place, basic

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@frozen
class Proxy:
    """A proxy.  scheme: http, https, socks5 or socks5h (which is the same: the proxy resolves names)."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def authorization(self) -> str:
        """The value of Proxy-Authorization, "" for none."""
        return basic(self.user, self.password) if self.user or self.password else ""

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5 instead of HTTP."""
        return self.scheme.startswith("socks")


ChooseProxy = Callable[[Place], Proxy | None]


def chooser(config: ProxyConfig, environment: Mapping[str, str]) -> ChooseProxy | None:
    """Return what tells the proxy for a place, None when there never is one.  Raises `HttpError` for a broken URL."""
    if config.proxy_from_environment:
        return _from_environment(environment)
    if not config.proxy_url:
        return None
    proxy = parse_proxy(config.proxy_url)
    if not config.no_proxy:
        return lambda _: proxy
    return partial(_choose, {"http": proxy, "https": proxy}, Exceptions(config.no_proxy))


def parse_proxy(url: str) -> Proxy:
    """Return the proxy of a URL, http:// where it names no scheme; raises `HttpError`, which does not show the URL."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise HttpError("the URL of the proxy is broken") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise HttpError(f"a proxy needs a URL like http://host:port; schemes: {', '.join(_PORTS)}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], user, password)


class Exceptions:
    """A list of hosts that are asked directly."""

    def __init__(self, text: str) -> None:
        self._all = False
        self._networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]] = []
        self._domains: list[tuple[str, bool, str]] = []
        """(suffix with a leading dot, whether the domain itself counts, port or "")."""
        for part in text.split(","):
            self._add(part.strip().lower())

    def __contains__(self, place: Place) -> bool:
        host, port = place.host.lower(), str(place.port)
        address = _address(host)
        if self._all or host == "localhost" or (address is not None and address.is_loopback):
            return True
        if address is not None:
            return any(_covers(network, address) and own in ("", port) for network, own in self._networks)
        return any(
            (host.endswith(suffix) or (itself and host == suffix[1:])) and own in ("", port)
            for suffix, itself, own in self._domains
        )

    def _add(self, entry: str) -> None:
        if not entry:
            return
        if entry == "*":
            self._all = True
            return
        if "/" in entry:
            try:
                self._networks.append((ipaddress.ip_network(entry, strict=False), ""))
            except ValueError:
                return
        host, port = _host_and_port(entry)
        address = _address(host)
        if address is not None:
            self._networks.append((ipaddress.ip_network(address), port))
        elif host:
            host = host.removeprefix("*")
            itself = not host.startswith(".")
            self._domains.append((f".{host}" if itself else host, itself, port))


def _from_environment(environment: Mapping[str, str]) -> ChooseProxy | None:
    proxies = {}
    for scheme in ("http", "https"):
        url = environment.get(f"{scheme.upper()}_PROXY") or environment.get(f"{scheme}_proxy")
        if url:
            proxies[scheme] = parse_proxy(url)
    exceptions = Exceptions(environment.get("NO_PROXY") or environment.get("no_proxy") or "")
    return partial(_choose, proxies, exceptions) if proxies else None


def _choose(proxies: Mapping[str, Proxy], exceptions: Exceptions, place: Place) -> Proxy | None:
    proxy = proxies.get(place.scheme)
    return None if proxy is None or place in exceptions else proxy


def _host_and_port(entry: str) -> tuple[str, str]:
    """Return the parts of `host`, `host:port`, `[address]:port` or a bare IPv6 address."""
    if _address(entry) is not None:
        return entry, ""
    host, colon, port = entry.rpartition(":")
    if not colon or "]" in port:
        host, port = entry, ""
    return host.strip("[]"), port


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _covers(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> bool:
    return network.version == address.version and address in network
