"""The HTTP client and a server written in Go: credentials, certificates of both sides that change, restarts."""

from __future__ import annotations

import subprocess

import bcrypt
import peers
import pytest
import trio
import trustme
from http_peers import client_of, get

from tinyobs.config.http_client import BasicAuth, HttpClientConfig, TlsConfig
from tinyobs.http_client import HttpError
from tinyobs.model.secrets import Secret

pytestmark = pytest.mark.peer


class Server:
    """A Prometheus 3 behind TLS that wants a certificate and a password."""

    def __init__(self, folder):
        self.folder, self.program, self.port = folder, peers.prometheus_3(), peers.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.issue("server", "127.0.0.1")
        self.issue("client", "client@example.org")
        users = bcrypt.hashpw(b"p", bcrypt.gensalt(4)).decode()
        (folder / "web.yml").write_text(
            "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, "
            f"client_auth_type: RequireAndVerifyClientCert}}\nbasic_auth_users: {{u: '{users}'}}\n"
        )
        (folder / "prometheus.yml").write_text("{}")

    def issue(self, name, *identities):
        issued = self.authority.issue_cert(*identities)
        issued.cert_chain_pems[0].write_to_path(str(self.folder / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(self.folder / f"{name}.key"))

    def start(self):
        command = [
            self.program,
            "--config.file=prometheus.yml",
            "--web.config.file=web.yml",
            "--storage.agent.path=agent",
            "--agent",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def config(self, **more):
        files = {
            f"{kind}_file": str(self.folder / name) for kind, name in (("cert", "client.pem"), ("key", "client.key"))
        }
        tls = TlsConfig(ca_file=str(self.folder / "ca.pem"), **files)
        return HttpClientConfig(tls_config=tls, basic_auth=BasicAuth(username="u", password=Secret("p")), **more)


async def ready(client, url):
    """Ask until there is an answer."""
    while True:
        try:
            return await get(client, f"{url}/metrics")
        except HttpError:
            await trio.sleep(0.05)


def stop(process):
    process.terminate()
    process.wait(60)


async def test_a_server_in_go_is_asked_in_either_version(tmp_path):
    """It chooses; new certificates and a new process are taken as they come, a stranger is told why not."""
    server = Server(tmp_path)
    process = server.start()
    try:
        async with client_of(server.config()) as http2, client_of(server.config(enable_http2=False)) as http1:
            status, body = await ready(http2, server.url)
            assert (status, b"go_goroutines" in body) == (200, True)
            answers = []

            async def ask(client):
                answers.append((await get(client, f"{server.url}/metrics"))[0])

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask, http2)
            for _ in range(5):
                await ask(http1)
            assert set(answers) == {200}
            stop(process)
            server.issue("server", "127.0.0.1")
            server.issue("client", "client@example.org")
            process = server.start()
            for client in (http2, http1):
                assert (await ready(client, server.url))[0] == 200
        async with client_of(HttpClientConfig(tls_config=server.config().tls_config)) as nobody:
            assert (await get(nobody, f"{server.url}/metrics"))[0] == 401
        async with client_of(HttpClientConfig(tls_config=TlsConfig(ca_file=str(tmp_path / "ca.pem")))) as stranger:
            with pytest.raises(HttpError, match="certificate required"):
                await get(stranger, f"{server.url}/metrics")
    finally:
        stop(process)
