"""The HTTP client: bodies in pieces, redirects, credentials, TLS, and every failure as one exception."""

from __future__ import annotations

import ssl
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization

import tinyobs
from tinyobs.config.http_client import (
    Authorization,
    BasicAuth,
    Header,
    HttpClientConfig,
    TlsConfig,
    TlsVersion,
)
from tinyobs.http_client import Client, HttpError, has_credential_files, tls_context
from tinyobs.model.secrets import Secret
from tinyobs.testing.targets import FakeTarget, fake_target


async def fetch(url, config=None, **more):
    """Return (status, body, headers) of a GET."""
    client = Client(config)
    try:
        async with client.stream("GET", url, **more) as answer, aclosing(answer.pieces()) as pieces:
            return answer.status, b"".join([piece async for piece in pieces]), answer.headers
    finally:
        await client.aclose()


async def test_an_answer_has_status_headers_and_pieces():
    """The body is what came over the wire; the request says who asks and wants nothing compressed."""
    async with fake_target(FakeTarget(b"x 1\n", status=404)) as target:
        status, body, headers = await fetch(f"http://{target.address}/a?b=c", headers={"X-Own": "1"})
    assert (status, body, headers["Content-Type"]) == (404, b"x 1\n", target.content_type)
    (asked,) = target.requests
    assert asked[":path"] == "/a?b=c"
    assert asked["user-agent"] == f"TinyObs/{tinyobs.__version__}"
    assert asked["accept-encoding"] == "identity"
    assert asked["x-own"] == "1"


async def test_compressed_bodies_are_passed_on_as_they_are():
    """Decompressing, with its bounds, is up to the caller."""
    async with fake_target(FakeTarget(b"x 1\n", compress=True)) as target:
        _, body, headers = await fetch(f"http://{target.address}/")
    assert headers["content-encoding"] == "gzip"
    assert body.startswith(b"\x1f\x8b")


async def test_redirects_are_followed_as_configured():
    """By default to the end; without, the redirect is the answer; a circle ends."""
    async with fake_target(FakeTarget(b"there\n")) as there, fake_target(FakeTarget(status=302)) as here:
        here.location = f"http://{there.address}/new"
        assert (await fetch(f"http://{here.address}/"))[:2] == (200, b"there\n")
        assert (await fetch(f"http://{here.address}/", HttpClientConfig(follow_redirects=False)))[0] == 302
    async with fake_target(FakeTarget(status=302)) as circle:
        circle.location = f"http://{circle.address}/"
        with pytest.raises(HttpError, match="redirect"):
            await fetch(circle.location)


async def test_credentials_stay_with_the_host_they_are_for():
    """A redirect to another host carries no Authorization header."""
    config = HttpClientConfig(basic_auth=BasicAuth(username="u", password=Secret("p")))
    async with fake_target(FakeTarget(b"there\n")) as there, fake_target(FakeTarget(status=302)) as here:
        here.location = f"http://{there.address}/new"
        await fetch(f"http://{here.address}/", config)
    assert here.requests[0]["authorization"] == "Basic dTpw"
    assert "authorization" not in there.requests[0]


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (HttpClientConfig(basic_auth=BasicAuth(username="ü", password=Secret("p"))), "authorization", "Basic w7w6cA=="),
        (HttpClientConfig(authorization=Authorization(credentials=Secret("t"))), "authorization", "Bearer t"),
        (
            HttpClientConfig(authorization=Authorization(type="Token", credentials=Secret("t"))),
            "authorization",
            "Token t",
        ),
        (HttpClientConfig(http_headers=(("X-A", Header(values=("1",))),)), "x-a", "1"),
        (HttpClientConfig(http_headers=(("X-A", Header(secrets=(Secret("s"),))),)), "x-a", "s"),
    ],
)
async def test_credentials_and_headers_are_sent(config, name, value):
    """Each kind that a configuration may hold."""
    async with fake_target() as target:
        await fetch(f"http://{target.address}/", config)
    assert target.requests[0][name] == value


async def test_files_with_credentials_are_read_again(tmp_path, mock_clock):
    """A new password counts within a second; blanks around it do not; a file that is gone is named."""
    file = tmp_path / "password"
    config = HttpClientConfig(basic_auth=BasicAuth(username="u", password_file=str(file)))
    assert has_credential_files(config)
    client = Client(config)
    async with fake_target() as target:
        for text in ("one\n", "two\n"):
            file.write_text(text)
            mock_clock.jump(1)
            async with client.stream("GET", f"http://{target.address}/"):
                pass
        file.unlink()
        mock_clock.jump(1)
        with pytest.raises(HttpError, match=f"cannot read credentials from {file}"):
            async with client.stream("GET", f"http://{target.address}/"):
                pass
    await client.aclose()
    assert [r["authorization"] for r in target.requests] == ["Basic dTpvbmU=", "Basic dTp0d28="]


async def test_all_kinds_of_credential_files_are_read(tmp_path):
    """User names, tokens and headers may come from files, too."""
    (tmp_path / "user").write_text("u\n")
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "header").write_text("h\n")
    async with fake_target() as target:
        url = f"http://{target.address}/"
        await fetch(url, HttpClientConfig(basic_auth=BasicAuth(username_file=str(tmp_path / "user"))))
        await fetch(url, HttpClientConfig(authorization=Authorization(credentials_file=str(tmp_path / "token"))))
        await fetch(url, HttpClientConfig(http_headers=(("X-H", Header(files=(str(tmp_path / "header"),))),)))
    assert [r.get("authorization", r.get("x-h")) for r in target.requests] == ["Basic dTo=", "Bearer t", "h"]


async def test_requests_may_go_to_a_unix_socket(tmp_path):
    """The URL names a host for the sake of the headers only; a socket that is not there is an `HttpError`."""
    path = str(tmp_path / "daemon.sock")
    client = Client(unix_socket=path)
    with pytest.raises(HttpError):
        async with client.stream("GET", "http://localhost/"):
            pass
    async with (
        fake_target(FakeTarget(b"local\n"), unix_socket=path) as target,
        client.stream("GET", "http://localhost/x") as answer,
        aclosing(answer.pieces()) as pieces,
    ):
        assert b"".join([piece async for piece in pieces]) == b"local\n"
    await client.aclose()
    assert (target.requests[0][":path"], target.requests[0]["host"]) == ("/x", "localhost")


async def test_failures_are_one_exception():
    """Refused, no URL, not HTTP: each is an `HttpError` with words for an operator."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(HttpError, match="connect"):
        await fetch(f"http://127.0.0.1:{port}/")
    for url in ("nonsense", "http://[::1", "ftp://x/"):
        with pytest.raises(HttpError):
            await fetch(url)
    async with fake_target(FakeTarget(content_type="text/plain")) as target:
        with pytest.raises(HttpError):
            await fetch(f"https://{target.address}/")


async def test_an_answer_that_is_cut_is_a_failure():
    """A body shorter than announced is not taken for the whole."""

    async def cut(stream):
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, cut, 0)
        with pytest.raises(HttpError):
            await fetch(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/")
        nursery.cancel_scope.cancel()


async def test_a_deadline_of_the_caller_ends_a_request():
    """There is no time-out inside; a cancel scope is enough."""
    async with fake_target(FakeTarget(delay_seconds=3600)) as target:
        with trio.move_on_after(0.1) as scope:
            await fetch(f"http://{target.address}/")
    assert scope.cancelled_caught


@pytest.fixture(scope="module")
def authority():
    """A certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    """Its certificate as a file."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@asynccontextmanager
async def tls_target(authority, *names, client_certificate=False):
    """Serve a target over TLS with a certificate for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    if client_certificate:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # there a refused certificate fails the handshake
    async with fake_target(FakeTarget(b"safe\n"), tls=context) as target:
        yield f"https://{target.address}/"


async def test_tls_trusts_whom_the_configuration_names(authority, ca_file):
    """With the authority, as file or inline, or without any check; not by default."""
    async with tls_target(authority, "127.0.0.1") as url:
        for tls in (TlsConfig(ca_file=ca_file), TlsConfig(ca=authority.cert_pem.bytes().decode())):
            assert (await fetch(url, HttpClientConfig(tls_config=tls)))[1] == b"safe\n"
        assert (await fetch(url, HttpClientConfig(tls_config=TlsConfig(insecure_skip_verify=True))))[1] == b"safe\n"
        with pytest.raises(HttpError, match="certificate verify failed"):
            await fetch(url)


async def test_tls_checks_the_name(authority, ca_file):
    """`server_name` is what the certificate is checked against, instead of the address."""
    async with tls_target(authority, "db.example.org") as url:
        with pytest.raises(HttpError, match="certificate"):
            await fetch(url, HttpClientConfig(tls_config=TlsConfig(ca_file=ca_file)))
        named = TlsConfig(ca_file=ca_file, server_name="db.example.org")
        assert (await fetch(url, HttpClientConfig(tls_config=named)))[1] == b"safe\n"


async def test_tls_client_certificates_from_files_and_inline(authority, ca_file, tmp_path):
    """Certificate and key may each be a file or inline; without one the server refuses."""
    own = authority.issue_cert("client@example.org")
    cert, key = (own.cert_chain_pems[0].bytes().decode(), own.private_key_pem.bytes().decode())
    (tmp_path / "cert.pem").write_text(cert)
    (tmp_path / "key.pem").write_text(key)
    files = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    inline = {"cert": cert, "key": Secret(key)}
    mixed = {"cert_file": files["cert_file"], "key": inline["key"]}
    async with tls_target(authority, "127.0.0.1", client_certificate=True) as url:
        for given in (files, inline, mixed):
            config = HttpClientConfig(tls_config=TlsConfig(ca_file=ca_file, **given))
            assert (await fetch(url, config))[1] == b"safe\n"
        with pytest.raises(HttpError):
            await fetch(url, HttpClientConfig(tls_config=TlsConfig(ca_file=ca_file)))


async def test_tls_versions_bound_the_handshake(authority, ca_file):
    """A server that does not speak the version is refused."""
    tls = TlsConfig(ca_file=ca_file, min_version=TlsVersion.TLS13, max_version=TlsVersion.TLS13)
    async with tls_target(authority, "127.0.0.1", client_certificate=True) as url:
        with pytest.raises(HttpError):
            await fetch(url, HttpClientConfig(tls_config=tls))


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_tls_files_that_cannot_be_used_are_named(tmp_path, text):
    """At the making of the client, not at the first request."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(HttpError, match=r"cannot use the TLS settings .*ca\.pem"):
        Client(HttpClientConfig(tls_config=TlsConfig(ca_file=str(file))))


def test_a_key_does_not_show_in_messages():
    """A broken inline key is named as inline and not printed."""
    tls = TlsConfig(cert="no certificate", key=Secret("very secret"))
    with pytest.raises(HttpError, match="inline certificates") as caught:
        Client(HttpClientConfig(tls_config=tls))
    assert "very secret" not in str(caught.value)


@pytest.mark.parametrize("secret", ["gehéim", " blank ", "tab\tin"])
async def test_secrets_of_any_script_are_sent(secret):
    """In UTF-8, without the blanks around them."""
    config = HttpClientConfig(authorization=Authorization(credentials=Secret(secret)))
    async with fake_target(FakeTarget()) as target:
        assert (await fetch(f"http://{target.address}/", config))[0] == 200
    (asked,) = target.requests
    assert asked["authorization"] == f"Bearer {secret}".strip()


@pytest.mark.parametrize("secret", ["top\nsecret", "top\rsecret", "top\0secret", "top\x7fsecret"])
@pytest.mark.parametrize(
    "make",
    [
        lambda secret: HttpClientConfig(authorization=Authorization(credentials=Secret(secret))),
        lambda secret: HttpClientConfig(http_headers=(("X-Key", Header(secrets=(Secret(secret),))),)),
    ],
)
async def test_a_secret_that_cannot_be_sent_is_not_shown(secret, make):
    """The error names the header; it ends in the log and on the page of targets."""
    async with fake_target(FakeTarget()) as target:
        with pytest.raises(HttpError, match=r"the header (Authorization|X-Key) has a line break") as caught:
            await fetch(f"http://{target.address}/", make(secret))
    assert "top" not in str(caught.value)
    assert target.requests == []


@pytest.mark.parametrize("inline", [False, True])
def test_a_key_with_a_passphrase_is_refused(tmp_path, inline):
    """Nobody is asked at the terminal."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    encrypted_pair(cert, key)
    config = (
        TlsConfig(cert=cert.read_text(), key=Secret(key.read_text()))
        if inline
        else TlsConfig(cert_file=str(cert), key_file=str(key))
    )
    with pytest.raises(HttpError, match="cannot use the TLS settings"):
        tls_context(config)


def encrypted_pair(cert, key):
    """Write a certificate and its key, encrypted with a passphrase."""
    issued = trustme.CA().issue_cert("localhost")
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    plain = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(plain.private_bytes(kind, form, serialization.BestAvailableEncryption(b"pass")))
