"""Certificates that change while we run: the server's, its authority's, the client's."""

from __future__ import annotations

import os
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from http_peers import client_of, get, serving

from tinyobs.config.http_client import HttpClientConfig, TlsConfig
from tinyobs.http_client import Client, HttpError, Shared
from tinyobs.http_client.files import WatchedFiles


@pytest.fixture(scope="module")
def authorities():
    """Two authorities: the old and the new one."""
    return trustme.CA(), trustme.CA()


class Files:
    """The files of a client: the authorities it trusts and its own certificate."""

    def __init__(self, folder):
        self.ca, self.cert, self.key = (str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        self._age = 0

    def trust(self, authority):
        authority.cert_pem.write_to_path(self.ca)
        self._touch(self.ca)

    def show(self, authority, name):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(self.cert)
        issued.private_key_pem.write_to_path(self.key)
        self._touch(self.cert, self.key)

    def _touch(self, *files):
        """Give files an age at which a look tells them from later ones."""
        self._age += 1
        for file in files:
            os.utime(file, (1000 + self._age, 1000 + self._age))

    def config(self, **more):
        tls = TlsConfig(ca_file=self.ca, cert_file=self.cert, key_file=self.key, **more)
        return HttpClientConfig(tls_config=tls, enable_http2=False)


@asynccontextmanager
async def mutual(authority, trusted):
    """Serve over TLS and want a certificate; the answer is its name.  Yields (peer, context)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # there a refused certificate fails the handshake
    async with serving(lambda _: (200, [], b"ok"), context) as peer:
        yield peer, context


async def test_a_client_shows_its_new_certificate(authorities, tmp_path, mock_clock):
    """The server has changed whom it trusts; the connection that was kept is not used for it."""
    old, new = authorities
    files = Files(tmp_path)
    files.trust(old)
    files.show(old, "old@example.org")
    async with mutual(old, old) as (peer, server), client_of(files.config()) as client:
        url = f"https://{peer.address}/"
        assert await get(client, url) == (200, b"ok")
        new.configure_trust(server)
        files.show(new, "new@example.org")
        assert await get(client, url) == (200, b"ok")
        assert peer.connections == 1  # within a second nothing is looked at
        mock_clock.jump(1)
        assert await get(client, url) == (200, b"ok")
        assert peer.connections == 2
        mock_clock.jump(1)
        assert await get(client, url) == (200, b"ok")
        assert peer.connections == 2


async def test_a_server_gets_another_authority(authorities, tmp_path, mock_clock):
    """A new connection fails until the client's file has it; the kept one goes on."""
    old, new = authorities
    files = Files(tmp_path)
    files.trust(old)
    files.show(old, "me@example.org")
    async with mutual(old, old) as (peer, server):
        url = f"https://{peer.address}/"
        async with client_of(files.config()) as client, client_of(files.config()) as other:
            await get(client, url)
            new.issue_cert("127.0.0.1").configure_cert(server)
            assert await get(client, url) == (200, b"ok")
            with pytest.raises(HttpError, match="certificate verify failed"):
                await get(other, url)
            files.trust(new)
            mock_clock.jump(1)
            assert await get(other, url) == (200, b"ok")
            assert await get(client, url) == (200, b"ok")


async def test_a_pair_that_does_not_match_fails_until_it_does(authorities, tmp_path, mock_clock):
    """The error names the files; a second later both are there."""
    old, _ = authorities
    files = Files(tmp_path)
    files.trust(old)
    files.show(old, "me@example.org")
    async with mutual(old, old) as (peer, _server), client_of(files.config()) as client:
        url = f"https://{peer.address}/"
        await get(client, url)
        other = old.issue_cert("me@example.org")
        other.private_key_pem.write_to_path(files.key)
        mock_clock.jump(1)
        with pytest.raises(HttpError, match=f"cannot use the TLS settings .*{files.key}"):
            await get(client, url)
        other.cert_chain_pems[0].write_to_path(files.cert)
        mock_clock.jump(1)
        assert await get(client, url) == (200, b"ok")


async def test_a_file_that_is_written_again_unchanged_costs_nothing(authorities, tmp_path, mock_clock):
    """The connection stays."""
    old, _ = authorities
    files = Files(tmp_path)
    files.trust(old)
    files.show(old, "me@example.org")
    async with mutual(old, old) as (peer, _), client_of(files.config()) as client:
        for _ in range(3):
            assert (await get(client, f"https://{peer.address}/"))[0] == 200
            files.trust(old)
            mock_clock.jump(1)
    assert peer.connections == 1


async def test_clients_that_share_have_one_context(authorities, tmp_path):
    """It is made once for all of them, and a file that is missing fails requests, not their making."""
    old, _ = authorities
    files = Files(tmp_path)
    shared = Shared(files.config())
    clients = [Client(shared=shared), Client(shared=shared)]
    async with mutual(old, old) as (peer, _):
        with pytest.raises(HttpError, match="cannot use the TLS settings"):
            await get(clients[0], f"https://{peer.address}/")
        files.trust(old)
        files.show(old, "me@example.org")
        shared = Shared(files.config())
        clients = [Client(shared=shared), Client(shared=shared)]
        for client in clients:
            assert (await get(client, f"https://{peer.address}/"))[0] == 200
        assert shared.tls.context(0) is shared.tls.context(5)
        for client in clients:
            await client.aclose()


def test_files_are_looked_at_once_a_second(tmp_path, monkeypatch):
    """And count as changed while they are too young to tell."""
    looks = []
    stat = os.stat
    monkeypatch.setattr("tinyobs.http_client.files.os.stat", lambda file: looks.append(file) or stat(file))
    file = tmp_path / "secret"
    file.write_text("x")
    watched = WatchedFiles((str(file), "", str(file)))
    assert watched.changed(0)
    assert not watched.changed(0.9)
    assert len(looks) == 1
    assert watched.changed(1)  # written a moment ago: the same size and time may hide another text
    os.utime(file, (1, 1))
    assert watched.changed(2)
    assert not watched.changed(3)
    assert not watched.changed(3.5)
    assert len(looks) == 4
    os.utime(file, (2, 2))
    assert watched.changed(4)
    file.unlink()
    assert watched.changed(5)
    assert not watched.changed(6)


def test_without_files_nothing_is_looked_at():
    """The first time counts, as there is something to make."""
    watched = WatchedFiles(())
    assert watched.changed(0)
    assert not watched.changed(1e9)
