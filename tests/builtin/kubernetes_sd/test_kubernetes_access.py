"""How the API server is reached: from a pod, through a kubeconfig file, with programs for credentials, over TLS."""

from __future__ import annotations

import base64
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
import yaml
from attrs import evolve
from kubernetes_api import FakeKubernetes, serving, serving_http2
from kubernetes_discovering import Found, discovering, entry
from kubernetes_objects import pod

from tinyobs.builtin.kubernetes_sd import access, exec_plugin, watching
from tinyobs.builtin.kubernetes_sd.access import Access, in_cluster, namespaces_of
from tinyobs.builtin.kubernetes_sd.exec_plugin import ExecPlugin, ask, read_credentials
from tinyobs.builtin.kubernetes_sd.kubeconfig import read_kubeconfig
from tinyobs.config.fields import FilePath, Url
from tinyobs.config.http_client import BasicAuth, Header, HttpClientConfig, TlsConfig
from tinyobs.config.kubernetes_sd import KubernetesSdConfig, Namespaces, Role
from tinyobs.discovery.refreshing import DiscoveryError
from tinyobs.model.secrets import Secret


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that signs the certificates of the API server and of its clients."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """TLS of an API server that demands certificates where clients have some."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    return context


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: trustme.CA) -> Path:
    """The folder that a pod finds its service account in."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("own-ns")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    monkeypatch.setattr(access, "SERVICE_ACCOUNT", tmp_path)
    return tmp_path


def in_pod(monkeypatch: pytest.MonkeyPatch, api: FakeKubernetes) -> None:
    """Set the variables that tell a pod where its API server is."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))


async def test_in_a_pod(account: Path, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, certificate, token and namespace are those that Kubernetes gives to the pod."""
    async with serving(FakeKubernetes(token="first"), server_tls) as api:
        in_pod(monkeypatch, api)
        api.put("pods", pod(namespace="own-ns"))
        api.put("pods", pod("other", ip="10.1.0.8"))
        config = KubernetesSdConfig(role=Role.POD, namespaces=Namespaces(own_namespace=True))
        async with discovering(config) as found:
            assert list(found.groups) == ["pod/own-ns/web-1"]
            await api.until_watched()


async def test_http2(tmp_path: Path, authority: trustme.CA) -> None:
    """API servers speak it: pages, watches that go on, their ends and errors are the same."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    http = HttpClientConfig(tls_config=TlsConfig(ca=authority.cert_pem.bytes().decode()))
    async with serving_http2(FakeKubernetes(), f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem") as api:
        for n in range(600):
            api.put("pods", pod(f"p{n}", ip=f"10.2.{n // 250}.{n % 250}"))
        async with discovering(entry(api, http=http)) as found:
            await api.until_watched()
            assert len(found.groups) == 600
            for n in range(600):
                api.put("pods", pod(f"p{n}", ip=f"10.3.{n // 250}.{n % 250}"))
            await found.until(lambda: all(address.startswith("10.3.") for address in found.addresses))
            await trio.sleep(watching.WATCH_SECONDS_MIN)  # an answer that ends sooner is a failure
            api.end_watches()
            api.put("pods", pod())
            await found.until(lambda: "10.1.0.7:8080" in found.addresses)
            assert found.failures == 0
            api.refused["pods"] = (403, "no")
            api.end_watches()
            await found.until(lambda: "not allowed to watch pods" in errors(found))
    assert [query.get("continue") for query in api.asked("pods", "list")] == [None, "500"]


async def test_a_token_that_is_renewed(
    account: Path, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read for each request; an old token is one failure, and no restart."""
    async with serving(FakeKubernetes(token="first"), server_tls) as api:
        in_pod(monkeypatch, api)
        async with discovering(KubernetesSdConfig(role=Role.POD)) as found:
            await api.until_watched()
            api.token = "second"
            (account / "token").write_text("second")
            api.break_watches()
            api.put("pods", pod())
            await found.until(lambda: found.groups)
    assert [head["authorization"] for _, _, head in api.requests][-1] == "Bearer second"


def test_outside_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to configure."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(DiscoveryError, match=r"not in a Kubernetes cluster: .* give api_server or kubeconfig_file"):
        in_cluster()


def test_addresses_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in brackets."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert in_cluster().url == "https://[fd00::1]:443"


def test_the_own_namespace_beside_others(account: Path) -> None:
    """Each once; an empty file is an error, and so is none."""
    config = KubernetesSdConfig(role=Role.POD, namespaces=Namespaces(own_namespace=True, names=("a", "own-ns")))
    assert namespaces_of(config) == ("a", "own-ns")
    assert namespaces_of(KubernetesSdConfig(role=Role.POD)) == ("",)
    (account / "namespace").write_text(" ")
    with pytest.raises(DiscoveryError, match="empty file"):
        namespaces_of(config)
    (account / "namespace").unlink()
    with pytest.raises(DiscoveryError, match="could not determine the pod's namespace"):
        namespaces_of(config)


async def test_an_own_namespace_that_is_not_known_yet(account: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The start does not wait for it; it is asked for again."""
    (account / "namespace").unlink()
    config = KubernetesSdConfig(role=Role.POD, namespaces=Namespaces(own_namespace=True))
    async with discovering(config) as found:
        assert (found.calls, found.failures) == ([[]], 1)
        (account / "namespace").write_text("own-ns")
        await found.until(lambda: "not in a Kubernetes cluster" in errors(found))
    assert found.statistics.failures_total == found.failures


def errors(found: Found) -> str:
    """Return what the watchers complain of."""
    assert found.discoverer
    return " ".join(w.error for view in found.discoverer._views for w in view.watchers)


CLUSTER = {"server": "https://k.example:6443"}


def written(
    folder: Path, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any
) -> str:
    """Write a kubeconfig file with a context of several, and return its name."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": "c",
        "contexts": [
            {"name": "other", "context": {"cluster": "x", "user": "x"}},
            {"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "n"}},
        ],
        "clusters": [{"name": "k", "cluster": CLUSTER if cluster is None else cluster}],
        "users": [{"name": "u", "user": user or {}}],
        **more,
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def encoded(text: str) -> str:
    """Return a text in base64."""
    return base64.b64encode(text.encode()).decode()


def test_a_kubeconfig_file_with_inline_certificates(tmp_path: Path) -> None:
    """The data win over files; they are texts in base64."""
    cluster = CLUSTER | {
        "certificate-authority-data": encoded("CA"),
        "certificate-authority": "ca",
        "tls-server-name": "n",
    }
    user = {"client-certificate-data": encoded("CERT"), "client-key-data": encoded("KEY"), "client-key": "f"}
    found = read_kubeconfig(written(tmp_path, cluster | {"proxy-url": "http://p:3128"}, user))
    assert found.http.proxy.proxy_url == "http://p:3128"
    assert found.url == "https://k.example:6443"
    assert found.http.tls_config == TlsConfig(ca="CA", cert="CERT", key=Secret("KEY"), server_name="n")
    assert found.plugin is None


def test_paths_in_a_kubeconfig_file_start_at_its_folder(tmp_path: Path) -> None:
    """Those of certificates, keys and tokens; absolute ones stay."""
    cluster = CLUSTER | {"certificate-authority": "ca.crt", "insecure-skip-tls-verify": True}
    user = {"client-certificate": "/abs/cert", "client-key": "sub/key", "tokenFile": "token", "token": "not used"}
    http = read_kubeconfig(written(tmp_path, cluster, user)).http
    assert http.tls_config == TlsConfig(
        ca_file=FilePath(f"{tmp_path}/ca.crt"),
        cert_file=FilePath("/abs/cert"),
        key_file=FilePath(f"{tmp_path}/sub/key"),
        insecure_skip_verify=True,
    )
    assert http.authorization is not None
    assert (http.authorization.credentials_file, http.authorization.credentials) == (f"{tmp_path}/token", Secret())


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "t"}, {"authorization": "Bearer t"}),
        ({"username": "u", "password": "p"}, {"basic": "u:p"}),
        ({}, {}),
        ({"as": "x", "as-groups": ["a", "b"]}, {"Impersonate-User": ("x",), "Impersonate-Group": ("a", "b")}),
    ],
)
def test_ways_to_log_in(tmp_path: Path, user: dict[str, Any], expected: dict[str, Any]) -> None:
    """A token, a name and a password, another user; or none of them."""
    http = read_kubeconfig(written(tmp_path, None, user)).http
    shown: dict[str, Any] = {}
    if http.authorization:
        shown["authorization"] = f"{http.authorization.type} {http.authorization.credentials.reveal()}"
    if isinstance(http.basic_auth, BasicAuth):
        shown["basic"] = f"{http.basic_auth.username}:{http.basic_auth.password.reveal()}"
    shown |= {name: header.values for name, header in http.http_headers if isinstance(header, Header)}
    assert shown == expected


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"current-context": ""}, "it has no current-context"),
        ({"current-context": "gone"}, "contexts has no entry 'gone'"),
        ({"clusters": []}, "clusters has no entry 'k'"),
        ({"users": None}, "users has no entry 'u'"),
        ({"cluster": {}}, "the server '' of its cluster is no URL"),
        ({"cluster": CLUSTER | {"certificate-authority-data": "%"}}, "certificate-authority-data is no text in base64"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "auth-provider is not supported: use exec"),
        ({"user": {"exec": {}}}, "exec has no command"),
        ({"user": {"exec": {"command": "p", "interactiveMode": "Always"}}}, "wants to ask somebody"),
    ],
)
def test_kubeconfig_files_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    """The error names the file and what is missing or not supported."""
    with pytest.raises(DiscoveryError) as e:
        read_kubeconfig(written(tmp_path, **change))
    assert text in str(e.value)
    assert str(tmp_path) in str(e.value)


@pytest.mark.parametrize("content", ["", "[1]", "a: [", "x"])
def test_files_that_are_no_kubeconfig(tmp_path: Path, content: str) -> None:
    """They are told by name, and so is one that is not there."""
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(DiscoveryError, match=str(file)):
        read_kubeconfig(str(file))
    file.unlink()
    with pytest.raises(DiscoveryError, match="cannot read the kubeconfig file"):
        read_kubeconfig(str(file))


async def test_a_client_certificate_of_a_kubeconfig_file(
    tmp_path: Path, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    """The API server demands one, and gets it."""
    server_tls.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("agent@example.org")
    user = {
        "client-certificate-data": encoded("".join(b.bytes().decode() for b in client.cert_chain_pems)),
        "client-key-data": encoded(client.private_key_pem.bytes().decode()),
    }
    async with serving(None, server_tls) as api:
        api.put("pods", pod())
        cluster = {"server": api.url, "certificate-authority-data": encoded(authority.cert_pem.bytes().decode())}
        config = KubernetesSdConfig(role=Role.POD, kubeconfig_file=FilePath(written(tmp_path, cluster, user)))
        async with discovering(config) as found:
            assert found.addresses == ["10.1.0.7:8080"]


async def test_an_api_server_that_is_not_trusted(server_tls: ssl.SSLContext) -> None:
    """Without its authority nothing is asked; the error is that of TLS."""
    async with serving(None, server_tls) as api, discovering(entry(api)) as found:
        assert "certificate verify failed" in errors(found)
        assert api.requests == []


ANSWER = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}


def program(folder: Path, status: dict[str, Any] | None, *, code: int = 0) -> list[str]:
    """Write a program that answers with credentials and notes what it was told; return its arguments."""
    file = folder / "program.py"
    answer = json.dumps(ANSWER | ({"status": status} if status is not None else {}))
    file.write_text(
        "import os, sys\n"
        f"open({str(folder / 'told')!r}, 'a').write(os.environ['KUBERNETES_EXEC_INFO'] + os.environ.get('X', '') + '\\n')\n"
        f"print({answer!r})\n"
        f"sys.exit({code})\n"
    )
    return [str(file)]


def plugin(folder: Path, status: dict[str, Any] | None, **more: Any) -> ExecPlugin:
    """Return a program of `program`."""
    return ExecPlugin(sys.executable, tuple(program(folder, status, **more)), (), "v1", None)


async def test_a_program_tells_the_credentials(tmp_path: Path) -> None:
    """It is told of the cluster, asked once, and again when its token is not accepted."""
    asked = {
        "command": sys.executable,
        "args": program(tmp_path, {"token": "t1"}),
        "env": [{"name": "X", "value": "y"}],
        "apiVersion": "client.authentication.k8s.io/v1",
        "provideClusterInfo": True,
    }
    async with serving(FakeKubernetes(token="t1")) as api:
        api.put("pods", pod())
        config = KubernetesSdConfig(
            role=Role.ENDPOINTS,
            kubeconfig_file=FilePath(written(tmp_path, {"server": api.url}, {"exec": asked})),
        )
        async with discovering(config) as found:
            await api.until_watched(3)
            told = (tmp_path / "told").read_text().splitlines()
            program(tmp_path, {"token": "t2"})
            api.token = "t2"
            api.break_watches()
            await found.until(lambda: found.failures)
            await api.until_watched(3)
    info = json.loads(told[0].removesuffix("y"))
    assert info["spec"] == {"interactive": False, "cluster": {"server": api.url}}
    assert info["kind"] == "ExecCredential"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, "no ExecCredential with a token or a certificate"),
        (None, "answers no ExecCredential"),
        ({"token": "t", "expirationTimestamp": "soon"}, "answers no ExecCredential"),
    ],
)
async def test_programs_that_tell_no_credentials(tmp_path: Path, status: dict[str, Any] | None, text: str) -> None:
    """The error names the program, and shows nothing of what it said."""
    with pytest.raises(DiscoveryError, match=text):
        await ask(plugin(tmp_path, status))


async def test_programs_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their status, by not being there, by saying too much."""
    with pytest.raises(DiscoveryError, match="it ended with status 3"):
        await ask(plugin(tmp_path, {"token": "t"}, code=3))
    with pytest.raises(DiscoveryError, match="cannot run /nowhere/program for credentials"):
        await ask(ExecPlugin("/nowhere/program", (), (), "v1", None))
    monkeypatch.setattr(exec_plugin, "OUTPUT_BYTES_MAX", 10)
    with pytest.raises(DiscoveryError, match="more than 10 bytes"):
        await ask(plugin(tmp_path, {"token": "t"}))


async def test_a_program_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed after a while."""
    monkeypatch.setattr(exec_plugin, "SECONDS_MAX", 0.2)
    with pytest.raises(DiscoveryError, match=r"told no credentials within 0\.2 s"):
        await ask(ExecPlugin(sys.executable, ("-c", "import time; time.sleep(100)"), (), "v1", None))


def test_credentials_expire() -> None:
    """A little before the time that is told; without one, never.  A certificate takes the place of another."""
    about = ExecPlugin("p", (), (), "v1", None)

    def told(**status: str) -> exec_plugin.Credentials:
        return read_credentials(json.dumps(ANSWER | {"status": status}).encode(), about)

    found = told(token="t", expirationTimestamp="1970-01-01T00:10:00Z")
    assert not found.is_expired(500)
    assert found.is_expired(571)
    assert not told(token="t").is_expired(1e12)
    http = entry(FakeKubernetes()).http
    both = told(token="t", clientCertificateData="C", clientKeyData="K").added_to(
        evolve(http, tls_config=TlsConfig(cert_file=FilePath("c"), key_file=FilePath("k")))
    )
    assert both.tls_config == TlsConfig(cert="C", key=Secret("K"))
    assert both.authorization is not None
    assert both.authorization.credentials == Secret("t")


async def test_expired_credentials_are_asked_for_again(tmp_path: Path) -> None:
    """Before the next connection, not for each."""
    user = {"exec": {"command": sys.executable, "args": program(tmp_path, {"token": "t"})}}
    way = Access("", written(tmp_path, None, user), entry(FakeKubernetes()).http)
    for _ in range(3):
        await way.endpoint()
    program(tmp_path, {"token": "u", "expirationTimestamp": "2001-01-01T00:00:00Z"})
    way.forget_credentials()
    for _ in range(3):
        endpoint = await way.endpoint()
    assert len((tmp_path / "told").read_text().splitlines()) == 4
    assert endpoint.url == Url("https://k.example:6443")
