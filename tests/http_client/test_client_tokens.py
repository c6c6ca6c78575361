"""OAuth2: what the token endpoint is asked, when, and what becomes of its answers."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from attrs import define, field
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from http_peers import Peer, as_json, client_of, get, proxying, serving

from tinyobs.config.http_client import (
    JWT_BEARER,
    GrantType,
    HttpClientConfig,
    OAuth2,
    ProxyConfig,
    SignatureAlgorithm,
    TlsConfig,
)
from tinyobs.http_client import Client, HttpError, Shared
from tinyobs.model.secrets import Secret


@define
class Setup:
    """A token endpoint and a server that wants its tokens."""

    endpoint: Peer
    server: Peer
    life: dict = field(factory=lambda: {"expires_in": 3600})
    """What the endpoint says of the life of its tokens."""
    valid: set = field(factory=set)
    reply: object = None
    """What the endpoint answers instead."""

    @property
    def url(self):
        return f"http://{self.server.address}/"

    def config(self, **more):
        given = {"client_id": "me", "client_secret": Secret("s3cret"), "token_url": f"http://{self.endpoint.address}/t"}
        return HttpClientConfig(oauth2=OAuth2(**{**given, **more}))


@asynccontextmanager
async def setup(tls=None):
    """Serve both; the endpoint hands out token-1, token-2, ..."""

    def token(asked):
        if made.reply is not None:
            return made.reply(asked) if callable(made.reply) else made.reply
        name = f"token-{len(made.endpoint.asked)}"
        made.valid.add(name)
        return as_json({"access_token": name, "token_type": "bearer", **made.life})

    def protected(asked):
        kind, _, name = asked.headers.get("authorization", "").partition(" ")
        return (200, [], name.encode()) if kind == "Bearer" and name in made.valid else (401, [], b"")

    async with serving(token, tls) as endpoint, serving(protected) as server:
        made = Setup(endpoint, server)
        yield made


async def test_client_credentials_are_sent_as_basic_authentication():
    """With the grant, the scopes and the parameters of the endpoint in the form."""
    async with setup() as s:
        config = s.config(
            client_id="m e", client_secret=Secret("s/t"), scopes=("a", "b"), endpoint_params=(("audience", "x"),)
        )
        async with client_of(config) as client:
            assert await get(client, s.url) == (200, b"token-1")
    (asked,) = s.endpoint.asked
    assert (asked.method, asked.target) == ("POST", "/t")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")) == b"m+e:s%2Ft"
    assert asked.form == {"grant_type": "client_credentials", "scope": "a b", "audience": "x"}


async def test_an_endpoint_that_wants_them_in_the_form_gets_them_there():
    """After it has refused the first way once."""

    def reply(asked):
        if asked.form.get("client_secret") != "s3cret" or "authorization" in asked.headers:
            return as_json({"error": "invalid_client"}, 401)
        s.valid.add("t")
        return as_json({"access_token": "t", "expires_in": "1"})

    async with setup() as s:
        s.reply = reply
        async with client_of(s.config()) as client:
            assert await get(client, s.url) == (200, b"t")
            s.valid.clear()
            await get(client, s.url)
    assert ["authorization" in a.headers for a in s.endpoint.asked] == [True, False, False]


async def test_requests_share_a_token(mock_clock):
    """Also those of several clients at the same time, where they share; it is replaced ten seconds before its end."""
    async with setup() as s:
        shared = Shared(s.config())
        clients = [Client(shared=shared) for _ in range(5)]
        answers = []

        async def ask(client):
            answers.append(await get(client, s.url))

        for jump in (3589, 2):
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(ask, client)
            mock_clock.jump(jump)
        assert answers == [(200, b"token-1")] * 10
        await get(clients[0], s.url)
        for client in clients:
            await client.aclose()
    assert len(s.endpoint.asked) == 2
    assert s.endpoint.connections == 2


@pytest.mark.parametrize(
    ("life", "ends"), [({"expires_in": 20}, 15), ({"expires_in": "20"}, 15), ({}, None), ({"expires_in": "x"}, None)]
)
async def test_how_long_a_token_is_used(mock_clock, life, ends):
    """Three quarters of a short life; without an end as long as it is taken."""
    async with setup() as s:
        s.life = life
        async with client_of(s.config()) as client:
            await get(client, s.url)
            mock_clock.jump((ends or 1e6) - 0.1)
            await get(client, s.url)
            assert len(s.endpoint.asked) == 1
            mock_clock.jump(0.2)
            await get(client, s.url)
            assert len(s.endpoint.asked) == (2 if ends else 1)


async def test_a_refused_token_is_replaced_once():
    """What the server answers to the second counts."""
    async with setup() as s, client_of(s.config()) as client:
        await get(client, s.url)
        s.valid.clear()
        assert await get(client, s.url, "POST", content=b"x") == (200, b"token-2")
        s.reply = as_json({"access_token": "never valid"})
        s.valid.clear()
        assert (await get(client, s.url))[0] == 401
    assert len(s.endpoint.asked) == 3


async def test_a_new_secret_makes_the_token_void(tmp_path, mock_clock):
    """Its file is looked at again; one that is gone is named."""
    file = tmp_path / "secret"
    file.write_text("one\n")
    async with setup() as s:
        config = s.config(client_secret=Secret(), client_secret_file=str(file))
        async with client_of(config) as client:
            await get(client, s.url)
            file.write_text("two\n")
            await get(client, s.url)
            mock_clock.jump(1)
            assert (await get(client, s.url))[1] == b"token-2"
            file.unlink()
            mock_clock.jump(1)
            with pytest.raises(HttpError, match=f"cannot read credentials from {file}"):
                await get(client, s.url)
    sent = [base64.b64decode(a.headers["authorization"].removeprefix("Basic ")) for a in s.endpoint.asked]
    assert sent == [b"me:one", b"me:two"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (as_json({"error": "invalid_client", "error_description": "s3cret"}, 401), r"status 401 \(invalid_client\)"),
        (as_json({"error": "no code: s3cret"}, 400), "status 400$"),
        (as_json({"token_type": "bearer"}), "server response missing access_token"),
        (as_json({"access_token": "x", "error": "invalid_scope"}), r"missing access_token \(invalid_scope\)"),
        (as_json(["access_token"]), "missing access_token"),
        (as_json({"access_token": 7}), "missing access_token"),
        ((200, [], b"<html>s3cret"), "missing access_token"),
        ((200, [], b"[" * 100_000), "missing access_token"),
        ((200, [], bytes(1_100_000)), "cannot fetch token: the answer has more than 1048576 bytes"),
        ((503, [], b""), "status 503"),
        (as_json({"access_token": "s3cret\nx"}), "the header Authorization has a line break"),
    ],
)
async def test_answers_without_a_token_are_told(reply, error):
    """With the code of the error, and nothing else that the endpoint said."""
    async with setup() as s:
        s.reply = reply
        async with client_of(s.config()) as client:
            with pytest.raises(HttpError, match=error) as e:
                await get(client, s.url)
    assert "s3cret" not in str(e.value)
    assert s.server.asked == []


async def test_a_form_is_an_answer_as_well():
    """Some endpoints write one."""
    async with setup() as s:
        s.valid.add("f")
        s.reply = (
            200,
            [("Content-Type", "text/plain; charset=utf-8")],
            b"access_token=f&token_type=Bearer&expires_in=60",
        )
        async with client_of(s.config()) as client:
            assert await get(client, s.url) == (200, b"f")


async def test_a_failure_is_shared_by_those_who_wait():
    """The endpoint is asked once for them; later requests ask again."""

    async def reply(asked):
        await release.wait()
        return as_json({}, 500)

    release, errors = trio.Event(), []
    async with setup() as s:
        s.reply = reply
        shared = Shared(s.config())
        client = Client(shared=shared)

        async def ask():
            try:
                await get(client, s.url)
            except HttpError as e:
                errors.append(str(e))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.01)
            release.set()
        assert len(errors) == 4
        assert len(set(errors)) == 1
        assert len(s.endpoint.asked) == 2  # as header, then in the form
        await ask()
        assert len(s.endpoint.asked) == 4
        await client.aclose()


async def test_who_waits_goes_on_when_the_first_is_cancelled():
    """The next one asks."""

    async def reply(asked):
        if len(s.endpoint.asked) == 1:
            await trio.sleep_forever()
        s.valid.add("t")
        return as_json({"access_token": "t"})

    async with setup() as s:
        s.reply = reply
        client = Client(shared=Shared(s.config()))
        answers = []

        async def ask(scope):
            with scope:
                answers.append(await get(client, s.url))

        first = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, first)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(ask, trio.CancelScope())
            await trio.testing.wait_all_tasks_blocked(0.01)
            first.cancel()
        await client.aclose()
    assert answers == [(200, b"t")]


@pytest.fixture(scope="module")
def rsa_key():
    """An RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key):
    """Return a key as PEM."""
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, serialization.NoEncryption()).decode()


@pytest.mark.parametrize("algorithm", list(SignatureAlgorithm))
async def test_assertions_are_signed(rsa_key, algorithm):
    """With the claims of RFC 7523 and those of the configuration; each is another."""
    async with setup() as s:
        s.life = {"expires_in": 1}
        config = s.config(
            grant_type=GrantType.JWT_BEARER,
            client_secret=Secret(),
            client_certificate_key=Secret(pem(rsa_key)),
            client_certificate_key_id="k1",
            signature_algorithm=algorithm,
            scopes=("a", "b"),
            claims=(("level", "3"), ("groups", '["x"]')),
        )
        async with client_of(config) as client:
            await get(client, s.url)
            s.valid.clear()
            await get(client, s.url)
    first, second = (a.form for a in s.endpoint.asked)
    assert first["grant_type"] == JWT_BEARER
    assert "authorization" not in s.endpoint.asked[0].headers
    signed, _, signature = first["assertion"].rpartition(".")
    head, claims = (json.loads(decoded(part)) for part in signed.split("."))
    assert head == {"alg": algorithm.value, "typ": "JWT", "kid": "k1"}
    url = f"http://{s.endpoint.address}/t"
    expected = {"iss": "me", "sub": "me", "aud": url, "scope": "a b", "level": 3, "groups": ["x"]}
    assert expected.items() <= claims.items()
    assert claims["exp"] - claims["iat"] == 600
    assert claims["jti"] != json.loads(decoded(second["assertion"].split(".")[1]))["jti"]
    hashed = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}[algorithm.value]
    rsa_key.public_key().verify(decoded(signature), signed.encode(), padding.PKCS1v15(), hashed)


def decoded(part):
    """Return the bytes of a part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_issuer_and_audience_may_be_others(rsa_key, tmp_path):
    """And the key may be in a file."""
    file = tmp_path / "key.pem"
    file.write_text(pem(rsa_key))
    async with setup() as s:
        config = s.config(
            grant_type=GrantType.JWT_BEARER,
            client_secret=Secret(),
            client_certificate_key_file=str(file),
            iss="issuer",
            audience="them",
        )
        async with client_of(config) as client:
            assert (await get(client, s.url))[0] == 200
    claims = json.loads(decoded(s.endpoint.asked[0].form["assertion"].split(".")[1]))
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("issuer", "me", "them")


@pytest.mark.parametrize("kind", ["no key", "elliptic", "encrypted"])
async def test_a_key_that_cannot_sign_is_told(kind, rsa_key):
    """Without showing it."""
    key = "s3cret"
    if kind == "elliptic":
        key = pem(ec.generate_private_key(ec.SECP256R1()))
    elif kind == "encrypted":
        form = serialization.PrivateFormat.PKCS8
        protection = serialization.BestAvailableEncryption(b"pass")
        key = rsa_key.private_bytes(serialization.Encoding.PEM, form, protection).decode()
    async with setup() as s:
        config = s.config(grant_type=GrantType.JWT_BEARER, client_secret=Secret(), client_certificate_key=Secret(key))
        async with client_of(config) as client:
            with pytest.raises(HttpError, match="oauth2: the client certificate key is") as e:
                await get(client, s.url)
    assert key[-40:] not in str(e.value)


async def test_signing_needs_a_library(monkeypatch, rsa_key):
    """Its absence is told with what to install."""
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives", None)
    async with setup() as s:
        config = s.config(
            grant_type=GrantType.JWT_BEARER, client_secret=Secret(), client_certificate_key=Secret(pem(rsa_key))
        )
        async with client_of(config) as client:
            with pytest.raises(HttpError, match=r"pip install 'tinyobs\[oauth2\]'"):
                await get(client, s.url)


async def test_the_endpoint_has_tls_settings_and_a_proxy_of_its_own():
    """Those of the section are for its own requests."""
    import ssl

    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with setup(tls) as s, proxying() as proxy:
        own = {
            "token_url": f"https://{s.endpoint.address}/t",
            "tls_config": TlsConfig(ca=authority.cert_pem.bytes().decode()),
            "proxy": ProxyConfig(proxy_url=f"http://{proxy.address}"),
        }
        async with client_of(s.config(**own)) as client:
            assert await get(client, s.url) == (200, b"token-1")
        async with client_of(s.config(token_url=own["token_url"])) as client:
            with pytest.raises(HttpError, match=r"oauth2: cannot fetch token: .*certificate verify failed"):
                await get(client, s.url)
    assert [a.method for a in proxy.asked] == ["CONNECT"]


async def test_another_host_gets_no_token():
    """After a redirect."""
    async with (
        setup() as s,
        serving(lambda _: (200, [], b"")) as other,
        serving(lambda _: (302, [("Location", f"http://{other.address}/")], b"")) as first,
        client_of(s.config()) as client,
    ):
        await get(client, f"http://{first.address}/")
    assert first.asked[0].headers["authorization"] == "Bearer token-1"
    assert "authorization" not in other.asked[0].headers
