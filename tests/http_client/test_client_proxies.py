"""Proxies: which one is asked, how, and what it learns."""

from __future__ import annotations

import ssl
import struct

import pytest
import trio
import trustme
from http_peers import client_of, get, listening, proxying, serving, tunnel

from tinyobs.config.http_client import Authorization, HttpClientConfig, ProxyConfig, TlsConfig
from tinyobs.http_client import Client, HttpError
from tinyobs.http_client.places import place
from tinyobs.http_client.proxies import Exceptions, Proxy, chooser, parse_proxy
from tinyobs.model.secrets import Secret


@pytest.mark.parametrize(
    ("exceptions", "direct", "proxied"),
    [
        ("*", "http://any.example/", ""),
        ("example.org", "http://example.org/ http://a.example.org:90/ http://EXAMPLE.org/", "http://notexample.org/"),
        (".example.org", "http://a.example.org/", "http://example.org/"),
        ("*.example.org", "http://a.b.example.org/", "http://example.org/"),
        ("example.org:90", "http://example.org:90/ http://a.example.org:90/", "http://example.org/"),
        ("example.org:443", "https://example.org/", "http://example.org/"),
        ("10.0.0.1", "http://10.0.0.1/ http://10.0.0.1:90/", "http://10.0.0.2/ http://10.0.0.1.example/"),
        ("10.0.0.1:90", "http://10.0.0.1:90/", "http://10.0.0.1/"),
        ("10.0.0.0/8", "http://10.9.8.7/", "http://11.0.0.1/ http://10.example/"),
        ("fe80::/10, [fd00::1]:90", "http://[fe80::1]/ http://[fd00::1]:90/", "http://[fd00::1]/"),
        (" a.example ,, b.example ", "http://a.example/ http://b.example/", "http://c.example/"),
        ("nonsense/33, :90", "", "http://a.example:90/"),
        ("x.example", "http://localhost/ http://127.0.0.9/ http://[::1]/", "http://notlocalhost/"),
    ],
)
def test_exceptions_follow_the_rules_of_go(exceptions, direct, proxied):
    """Addresses, networks, domains, ports; loopback is always an exception."""
    listed = Exceptions(exceptions)
    for url in direct.split():
        assert place(url) in listed, url
    for url in proxied.split():
        assert place(url) not in listed, url


def test_the_environment_decides_where_it_is_asked():
    """Either case of the names; a proxy for each scheme."""
    config = ProxyConfig(proxy_from_environment=True)
    environment = {"HTTP_PROXY": "p1:3128", "https_proxy": "https://u:p%40@p2", "no_proxy": "example.org"}
    choose = chooser(config, environment)
    assert choose(place("http://a/")) == Proxy("http", "p1", 3128)
    assert choose(place("https://a/")) == Proxy("https", "p2", 443, "u", "p@")
    assert choose(place("https://example.org/")) is None
    assert chooser(config, {}) is None
    assert chooser(ProxyConfig(), environment) is None
    assert "p@" not in repr(choose(place("https://a/")))


def test_without_exceptions_loopback_goes_through_the_proxy_too():
    """As with Prometheus: only a list of exceptions brings that one along."""
    assert chooser(ProxyConfig(proxy_url="http://p:1"), {})(place("http://localhost/"))
    assert chooser(ProxyConfig(proxy_url="http://p:1", no_proxy="x"), {})(place("http://localhost/")) is None


@pytest.mark.parametrize("url", ["ftp://u:secret@p", "http://", "http://u:secret@p:port"])
def test_a_broken_proxy_is_told_without_its_password(url):
    """The environment is not checked before."""
    with pytest.raises(HttpError, match="proxy") as e:
        parse_proxy(url)
    assert "secret" not in str(e.value)


def through(proxy, scheme="http", user="", tls=None, **more):
    """Return the configuration of a client that goes through a proxy."""
    config = ProxyConfig(proxy_url=f"{scheme}://{user}{proxy.address}", **more)
    return HttpClientConfig(proxy=config, tls_config=tls or TlsConfig())


async def test_plain_requests_name_the_whole_url():
    """The proxy's credentials go along, the headers for CONNECT do not; one connection serves all hosts."""
    async with proxying() as proxy:
        config = through(proxy, user="u:p@", proxy_connect_header=(("X-Why", (Secret("w"),)),))
        async with client_of(config) as client:
            assert (await get(client, "http://a.example:90/x?y"))[1] == b"forwarded http://a.example:90/x?y"
    (asked,) = proxy.asked
    assert (asked.headers["host"], asked.headers["proxy-authorization"]) == ("a.example:90", "Basic dTpw")
    assert "x-why" not in asked.headers


@pytest.fixture(scope="module")
def authority():
    """A certificate authority."""
    return trustme.CA()


def server_tls(authority, *names):
    """Return the TLS context of a server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def trusting(authority):
    """Return TLS settings that trust the authority."""
    return TlsConfig(ca=authority.cert_pem.bytes().decode())


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_tls_goes_through_a_tunnel(authority, scheme):
    """The proxy sees host and port, its own credentials and the headers for CONNECT; the rest is encrypted."""
    proxy_tls = server_tls(authority, "127.0.0.1") if scheme == "https" else None
    target_tls = server_tls(authority, "127.0.0.1")
    async with proxying(tls=proxy_tls) as proxy, serving(lambda _: (200, [], b"safe"), target_tls) as target:
        config = through(
            proxy, scheme, "u:p@", trusting(authority), proxy_connect_header=(("X-Why", (Secret("a"), Secret("b"))),)
        )
        async with client_of(config) as client:
            for _ in range(2):
                assert await get(client, f"https://{target.address}/", headers={"X-Own": "1"}) == (200, b"safe")
    (asked,) = proxy.asked
    assert (asked.method, asked.target, asked.headers["host"]) == ("CONNECT", target.address, target.address)
    assert (asked.headers["proxy-authorization"], asked.headers["x-why"]) == ("Basic dTpw", "b")
    assert "x-own" not in asked.headers
    assert "proxy-authorization" not in target.asked[0].headers
    assert (proxy.connections, target.connections) == (1, 1)


async def test_a_header_for_connect_may_bring_other_credentials():
    """It stands instead of those in the URL."""
    async with proxying("407 Proxy Authentication Required") as proxy:
        config = through(proxy, user="u:secret@", proxy_connect_header=(("Proxy-Authorization", (Secret("Own x"),)),))
        async with client_of(config) as client:
            with pytest.raises(HttpError, match="the proxy refuses to connect: 407 Proxy Authentication") as e:
                await get(client, "https://a.example/")
    assert proxy.asked[0].headers["proxy-authorization"] == "Own x"
    assert "secret" not in str(e.value)


async def test_a_proxy_that_is_not_there_is_told():
    """With the word proxy, so that nobody looks for the target."""
    async with listening(lambda stream: stream.aclose()) as peer:
        pass
    async with client_of(through(peer)) as client:
        with pytest.raises(HttpError, match=r"^proxy: .*Connection refused"):
            await get(client, "https://a.example/")


async def test_exceptions_are_asked_directly():
    """By the same client."""
    async with (
        proxying() as proxy,
        serving(lambda _: (200, [], b"direct")) as target,
        client_of(through(proxy, no_proxy="10.0.0.0/8")) as client,
    ):
        assert (await get(client, f"http://{target.address}/"))[1] == b"direct"
        assert (await get(client, "http://a.example/"))[1] == b"forwarded http://a.example/"


async def socks(stream, seen, method=0, refusal=0):
    """Serve one connection of SOCKS5."""
    _, count = await exactly(stream, 2)
    offered = await exactly(stream, count)
    await stream.send_all(bytes((5, method)))
    if method == 2:
        _, length = await exactly(stream, 2)
        user = await exactly(stream, length)
        password = await exactly(stream, (await exactly(stream, 1))[0])
        seen.append((user, password))
        await stream.send_all(bytes((1, int(password != b"right"))))
    kind = (await exactly(stream, 4))[3]
    length = {1: 4, 4: 16}.get(kind) or (await exactly(stream, 1))[0]
    host = await exactly(stream, length)
    (port,) = struct.unpack(">H", await exactly(stream, 2))
    seen.append((offered, kind, host, port))
    await stream.send_all(bytes((5, refusal, 0, 1)) + bytes(6))
    if not refusal:
        await tunnel(stream, await trio.open_tcp_stream("127.0.0.1", port))


async def exactly(stream, size):
    """Return so many bytes."""
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        if not more:
            raise trio.BrokenResourceError
        data += more
    return data


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_socks5_connects_by_name_and_by_address(scheme):
    """The proxy resolves names."""
    seen = []
    async with (
        listening(lambda s: socks(s, seen)) as proxy,
        serving(lambda _: (200, [], b"there")) as target,
        client_of(through(proxy, scheme)) as client,
    ):
        assert await get(client, f"http://target.example:{target.port}/") == (200, b"there")
        assert await get(client, f"http://{target.address}/") == (200, b"there")
    assert seen == [
        (b"\0", 3, b"target.example", target.port),
        (b"\0", 1, bytes((127, 0, 0, 1)), target.port),
    ]


async def test_socks5_takes_user_and_password():
    """A wrong one is refused, and not shown."""
    seen = []
    async with (
        listening(lambda s: socks(s, seen, method=2)) as proxy,
        serving(lambda _: (200, [], b"there")) as target,
    ):
        async with client_of(through(proxy, "socks5", "me:right@")) as client:
            assert await get(client, f"http://{target.address}/") == (200, b"there")
        async with client_of(through(proxy, "socks5", "me:wrong@")) as client:
            with pytest.raises(HttpError, match="refuses user and password") as e:
                await get(client, f"http://{target.address}/")
    assert seen[0] == (b"me", b"right")
    assert "wrong" not in str(e.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\x05\xff", "another kind of authentication"),
        (b"\x05\x00\x05\x05\x00\x01", "refuses to connect: connection refused"),
        (b"\x05\x00\x05\x63\x00\x01", "refuses to connect: code 99"),
        (b"\x05", "closed the connection"),
    ],
)
async def test_what_a_socks5_proxy_refuses_is_told(answer, error):
    """In words."""

    async def handle(stream):
        await stream.receive_some(100)
        await stream.send_all(answer)
        if len(answer) > 2:
            await stream.receive_some(100)

    async with listening(handle) as proxy, client_of(through(proxy, "socks5")) as client:
        with pytest.raises(HttpError, match=error):
            await get(client, "http://a.example/")


async def test_credentials_are_sent_through_a_proxy_to_the_target_only(authority):
    """Authorization is inside the tunnel."""
    async with (
        proxying() as proxy,
        serving(lambda _: (200, [], b""), server_tls(authority, "127.0.0.1")) as target,
    ):
        config = HttpClientConfig(
            proxy=ProxyConfig(proxy_url=f"http://{proxy.address}"),
            tls_config=trusting(authority),
            authorization=Authorization(credentials=Secret("t")),
        )
        async with client_of(config) as client:
            await get(client, f"https://{target.address}/")
    assert "authorization" not in proxy.asked[0].headers
    assert target.asked[0].headers["authorization"] == "Bearer t"


async def test_variables_are_read_when_a_client_is_made(monkeypatch):
    """Of the process."""
    async with proxying() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        client = Client(HttpClientConfig(proxy=ProxyConfig(proxy_from_environment=True)))
        assert (await get(client, "http://a.example/"))[1] == b"forwarded http://a.example/"
        await client.aclose()
