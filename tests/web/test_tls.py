"""TLS: HTTP/2 by ALPN, client certificates, certificates that change while the server runs."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import attrs
import h2.connection
import httpx
import pytest
import structlog
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from h2.events import RemoteSettingsChanged
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from test_server import connect, make_server, read_until_end, running
from websocket_client import open_socket

from tinyobs.abc import Route
from tinyobs.errors import UsageError
from tinyobs.web.application import Application
from tinyobs.web.options import ServerOptions, TlsOptions, WebOptions
from tinyobs.web.server import Server
from tinyobs.web.tls import make_context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that signs for the tests."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> TlsOptions:
    """Return the options of a server with a certificate for 127.0.0.1."""
    write(authority.issue_cert("127.0.0.1"), tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return TlsOptions(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))


def write(certificate: trustme.LeafCert, folder: Path) -> None:
    """Write a certificate and its key."""
    (folder / "cert.pem").write_bytes(b"".join(c.bytes() for c in certificate.cert_chain_pems))
    (folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())


def client_context(authority: trustme.CA, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """Return the context of a client that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


async def show(request: Request) -> Response:
    """Answer the version of HTTP and the names in the client's certificate."""
    names = [n for _, n in request.scope["state"].get("peer_certificate", {}).get("subjectAltName", ())]
    return PlainTextResponse(f"{request.scope['http_version']} {','.join(names)}")


async def fetch(url: str, context: ssl.SSLContext, **more: Any) -> httpx.Response:
    """Get the page over a connection of its own."""
    async with httpx.AsyncClient(verify=context, **more) as client:
        return await client.get(url + "/x")


async def test_http2_is_chosen_by_the_client(authority: trustme.CA, tls: TlsOptions) -> None:
    """ALPN decides; with HTTP/2 switched off every client gets HTTP/1.1."""
    context = client_context(authority)
    async with running(make_server(show, tls=tls)) as [url]:
        assert url.startswith("https://")
        assert (await fetch(url, context, http2=True)).text == "2 "
        assert (await fetch(url, client_context(authority))).text == "1.1 "
    async with running(make_server(show, ServerOptions(http2=False), tls=tls)) as [url]:
        assert (await fetch(url, client_context(authority), http2=True)).text == "1.1 "


async def test_a_post_over_http2(authority: trustme.CA, tls: TlsOptions) -> None:
    """A body larger than the flow-control window arrives whole."""

    async def size(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async with (
        running(make_server(size, tls=tls)) as [url],
        httpx.AsyncClient(verify=client_context(authority), http2=True) as client,
    ):
        assert (await client.post(url + "/x", content=bytes(300_000))).text == "300000"


async def test_the_rest_of_a_body_that_was_refused_harms_no_other_request(
    authority: trustme.CA, tls: TlsOptions
) -> None:
    """Data of a stream that is answered with 413 is passed over; the connection of HTTP/2 stays in use."""

    async def size(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    server = make_server(size, web=WebOptions(body_bytes_max=10_000), tls=tls)
    with structlog.testing.capture_logs() as logged:
        async with (
            running(server) as [url],
            httpx.AsyncClient(verify=client_context(authority), http2=True) as client,
        ):
            refused = await client.post(url + "/x", content=bytes(3_000_000))
            assert refused.status_code == 413
            assert (await client.post(url + "/x", content=bytes(9_000))).text == "9000"
            assert server.statistics().connections_accepted_total == 1
    assert not [entry for entry in logged if entry["log_level"] in ("warning", "error")]


async def test_a_tls_connection_is_kept_for_more_requests(authority: trustme.CA, tls: TlsOptions) -> None:
    """With either version of HTTP, several requests share a connection."""
    server = make_server(show, tls=tls)
    async with running(server) as [url]:
        for http2 in (False, True):
            async with httpx.AsyncClient(verify=client_context(authority), http2=http2) as client:
                for _ in range(3):
                    assert (await client.get(url + "/x")).status_code == 200
        assert server.statistics().connections_accepted_total == 2


async def test_an_idle_tls_connection_is_closed(authority: trustme.CA, tls: TlsOptions) -> None:
    """As a plain one is; what was asked before is answered."""
    # Long enough for the handshake on any machine: it counts as well.
    async with running(make_server(options=ServerOptions(keep_alive_seconds=2.0), tls=tls)) as [url]:
        plain = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        stream = trio.SSLStream(plain, client_context(authority), server_hostname="127.0.0.1", https_compatible=True)
        await stream.send_all(b"GET /x HTTP/1.1\r\nhost: t\r\n\r\n")
        assert (await read_until_end(stream)).startswith(b"HTTP/1.1 200")


async def test_a_lost_connection_of_http2_cancels_its_handlers(authority: trustme.CA, tls: TlsOptions) -> None:
    """As with HTTP/1.1."""
    begun, cancelled = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    async with running(make_server(handler, tls=tls)) as [url]:
        async with (
            httpx.AsyncClient(verify=client_context(authority), http2=True) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(client.get, url + "/x")
            await begun.wait()
            nursery.cancel_scope.cancel()
        await cancelled.wait()


async def test_plain_http_on_a_tls_port_ends_only_itself(authority: trustme.CA, tls: TlsOptions) -> None:
    """A failed handshake is closed; the next client is served."""
    async with running(make_server(show, tls=tls)) as [url]:
        stream = await connect(url)
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await read_until_end(stream)
        assert (await fetch(url, client_context(authority))).status_code == 200


async def test_a_handshake_that_stalls_is_closed(tls: TlsOptions) -> None:
    """A client that says nothing does not hold its place."""
    async with running(make_server(show, ServerOptions(handshake_seconds=0.05), tls=tls)) as [url]:
        stream = await connect(url)
        assert await read_until_end(stream) == b""


async def test_client_certificates(authority: trustme.CA, tls: TlsOptions) -> None:
    """Required: none is refused.  If given: both work, and the handler sees the names."""
    with_ca = attrs.evolve(tls, client_ca_file=str(Path(tls.cert_file).parent / "ca.pem"))
    ann = authority.issue_cert("ann.example")
    required = attrs.evolve(with_ca, client_auth_type="RequireAndVerifyClientCert")
    async with running(make_server(show, tls=required)) as [url]:
        assert (await fetch(url, client_context(authority, ann))).text == "1.1 ann.example"
        with pytest.raises(httpx.TransportError):
            await fetch(url, client_context(authority))
    optional = attrs.evolve(with_ca, client_auth_type="VerifyClientCertIfGiven")
    async with running(make_server(show, tls=optional)) as [url]:
        assert (await fetch(url, client_context(authority, ann))).text == "1.1 ann.example"
        assert (await fetch(url, client_context(authority))).text == "1.1 "
        with pytest.raises(httpx.TransportError):
            await fetch(url, client_context(authority, trustme.CA().issue_cert("ann.example")))


async def test_only_allowed_names_may_connect(authority: trustme.CA, tls: TlsOptions) -> None:
    """A valid certificate with another name is turned away."""
    options = attrs.evolve(
        tls,
        client_ca_file=str(Path(tls.cert_file).parent / "ca.pem"),
        client_auth_type="RequireAndVerifyClientCert",
        client_allowed_sans=("ann.example",),
    )
    async with running(make_server(show, tls=options)) as [url]:
        assert (await fetch(url, client_context(authority, authority.issue_cert("ann.example")))).status_code == 200
        with pytest.raises(httpx.TransportError):
            await fetch(url, client_context(authority, authority.issue_cert("bob.example")))


async def test_changed_certificates_are_taken_over(tls: TlsOptions, tmp_path: Path) -> None:
    """New files serve the next connection; files that cannot be used leave the old certificate in place."""
    second = trustme.CA()
    async with running(make_server(show, tls=tls)) as [url]:
        write(second.issue_cert("127.0.0.1"), tmp_path)
        os.utime(tmp_path / "cert.pem", ns=(1, 1))
        assert (await fetch(url, client_context(second))).status_code == 200
        (tmp_path / "cert.pem").write_text("half written")
        assert (await fetch(url, client_context(second))).status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cert_file": "/nonexistent.pem"}, "cannot use certificate /nonexistent.pem"),
        ({"min_version": "TLS10"}, 'min_version "TLS10" is not supported; possible are TLS12, TLS13'),
        ({"client_auth_type": "RequestClientCert"}, "not supported: certificates are verified"),
        ({"client_auth_type": "RequireAndVerifyClientCert"}, "needs client_ca_file"),
        ({"client_allowed_sans": ("x",)}, "client_allowed_sans needs client_auth_type"),
        ({"cipher_suites": ("TLS_RSA_WITH_RC4_128_SHA",)}, 'cipher_suites "TLS_RSA_WITH_RC4_128_SHA"'),
        ({"client_ca_file": "/nonexistent.pem"}, "cannot use client_ca_file"),
    ],
)
def test_settings_that_cannot_be_had(tls: TlsOptions, changes: dict[str, Any], message: str) -> None:
    """The start fails with the setting and the reason."""
    with pytest.raises(UsageError, match=message):
        make_context(attrs.evolve(tls, **changes), http2=True)


def test_cipher_suites_by_their_common_names(tls: TlsOptions) -> None:
    """The names that Go and IANA use choose the suites of TLS 1.2."""
    names = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256")
    context = make_context(attrs.evolve(tls, cipher_suites=names), http2=True)
    old = [c["name"] for c in context.get_ciphers() if c["protocol"] == "TLSv1.2"]
    assert old == ["ECDHE-RSA-AES128-GCM-SHA256"]


def test_a_key_with_a_passphrase_is_refused(tls: TlsOptions) -> None:
    """Nobody is asked at the terminal, which would hold up the whole daemon."""
    key = Path(tls.key_file)
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(plain.private_bytes(kind, form, serialization.BestAvailableEncryption(b"pass")))
    with pytest.raises(UsageError, match="cannot use certificate"):
        make_context(tls, http2=True)


async def test_websockets_over_tls(authority: trustme.CA, tls: TlsOptions) -> None:
    """Both directions at one time; HTTP/2 does not offer them, so that browsers open a connection of their own."""

    async def echo(socket: Any) -> None:
        while True:
            await socket.send_text(str(await socket.receive()))

    app = Application([Route("/ws", echo, ("WEBSOCKET",))], WebOptions())
    async with running(Server(app, ["127.0.0.1:0"], ServerOptions(), tls)) as [url]:
        context = client_context(authority)
        async with open_socket(url + "/ws", context=context) as client:
            for i in range(10):
                await client.send("x" * i)
            for i in range(10):
                assert await client.receive() == "x" * i
        async with httpx.AsyncClient(verify=client_context(authority), http2=True) as client:
            answer = await client.get(url + "/ws")
            assert (answer.http_version, answer.status_code) == ("HTTP/2", 426)
        context.set_alpn_protocols(["h2"])
        plain = await trio.open_tcp_stream("127.0.0.1", int(url.rsplit(":", 1)[1]))
        async with trio.SSLStream(plain, context, server_hostname="127.0.0.1", https_compatible=True) as stream:
            peer = h2.connection.H2Connection()
            peer.initiate_connection()
            await stream.send_all(peer.data_to_send())
            while not any(isinstance(e, RemoteSettingsChanged) for e in peer.receive_data(await stream.receive_some())):
                pass
            assert not peer.remote_settings.enable_connect_protocol
