"""Reads a kubeconfig file: the cluster and the user of its current context.

Format: client-go tools/clientcmd/api/v1.  Paths in it start at its folder.  Keys that matter to `kubectl` only are
passed over; ways to log in that are not supported are refused by name.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any, Final, NoReturn

from attrs import frozen

from ...config.fields import FilePath, ProxyUrl, Url
from ...config.http_client import Authorization, BasicAuth, Header, HttpClientConfig, ProxyConfig, TlsConfig
from ...config.yaml_tree import ListNode, MappingNode, Node, Scalar, parse_tree, read_file
from ...discovery.refreshing import DiscoveryError
from ...model.secrets import Secret
from .exec_plugin import ExecPlugin

IMPERSONATION: Final = (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid"), ("as-groups", "Impersonate-Group"))


@frozen
class Kubeconfig:
    """What the current context says."""

    url: Url
    http: HttpClientConfig
    plugin: ExecPlugin | None
    """A program that tells the credentials."""


def read_kubeconfig(name: str) -> Kubeconfig:
    """Return the current context of a file; raises `DiscoveryError` that names the file and what is wrong."""
    try:
        root, problems = parse_tree(read_file(name), name)
    except OSError as e:
        raise DiscoveryError(f"cannot read the kubeconfig file {name}: {e}") from e
    if problems:
        raise DiscoveryError(f"cannot read the kubeconfig file {name}: {problems[0]}")
    return _Reader(name).read(_plain(root))


class _Reader:
    """Reads the content of a file."""

    def __init__(self, name: str) -> None:
        self._name, self._folder = name, os.path.dirname(os.path.abspath(name))

    def read(self, content: Any) -> Kubeconfig:
        if not isinstance(content, dict):
            self._refuse("it holds no mapping")
        current = _text(content, "current-context")
        if not current:
            self._refuse("it has no current-context")
        context = self._named(content, "contexts", "context", current)
        cluster = self._named(content, "clusters", "cluster", _text(context, "cluster"))
        user = self._named(content, "users", "user", _text(context, "user")) if _text(context, "user") else {}
        server = _text(cluster, "server")
        if not server.startswith(("http://", "https://")):
            self._refuse(f"the server {server!r} of its cluster is no URL")
        return Kubeconfig(Url(server), self._http(cluster, user), self._plugin(user, cluster))

    def _named(self, content: dict[str, Any], key: str, inner: str, name: str) -> dict[str, Any]:
        """Return the entry of a name in a list."""
        entries = content.get(key)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and _text(entry, "name") == name:
                found = entry.get(inner)
                return found if isinstance(found, dict) else {}
        self._refuse(f"{key} has no entry {name!r}")

    def _http(self, cluster: dict[str, Any], user: dict[str, Any]) -> HttpClientConfig:
        if "auth-provider" in user:
            self._refuse("auth-provider is not supported: use exec, a token or a client certificate")
        authorization = basic = None
        if _text(user, "tokenFile"):
            authorization = Authorization(credentials_file=self._path(user, "tokenFile"))
        elif _text(user, "token"):
            authorization = Authorization(credentials=Secret(_text(user, "token")))
        elif _text(user, "username"):
            basic = BasicAuth(username=_text(user, "username"), password=Secret(_text(user, "password")))
        headers = {name: _texts(user, key) for key, name in IMPERSONATION if user.get(key)}
        return HttpClientConfig(
            authorization=authorization,
            basic_auth=basic,
            tls_config=self._tls(cluster, user),
            proxy=ProxyConfig(proxy_url=ProxyUrl(_text(cluster, "proxy-url"))),
            http_headers=tuple((name, Header(values=values)) for name, values in sorted(headers.items())),
        )

    def _tls(self, cluster: dict[str, Any], user: dict[str, Any]) -> TlsConfig:
        ca, cert = (
            self._inline(cluster, "certificate-authority-data"),
            self._inline(user, "client-certificate-data"),
        )
        key = self._inline(user, "client-key-data")
        return TlsConfig(
            ca=ca,
            ca_file=FilePath("") if ca else self._path(cluster, "certificate-authority"),
            cert=cert,
            cert_file=FilePath("") if cert else self._path(user, "client-certificate"),
            key=Secret(key),
            key_file=FilePath("") if key else self._path(user, "client-key"),
            server_name=_text(cluster, "tls-server-name"),
            insecure_skip_verify=_text(cluster, "insecure-skip-tls-verify") == "true",
        )

    def _plugin(self, user: dict[str, Any], cluster: dict[str, Any]) -> ExecPlugin | None:
        given = user.get("exec")
        if not isinstance(given, dict):
            return None
        command = _text(given, "command")
        if not command:
            self._refuse("exec has no command")
        if _text(given, "interactiveMode") == "Always":
            self._refuse(f"the program {command} of exec wants to ask somebody, and nobody is there")
        variables = given.get("env")
        return ExecPlugin(
            os.path.join(self._folder, command) if os.sep in command else command,
            _texts(given, "args"),
            tuple((_text(v, "name"), _text(v, "value")) for v in variables or () if isinstance(v, dict)),
            _text(given, "apiVersion") or "client.authentication.k8s.io/v1",
            _cluster_info(cluster) if _text(given, "provideClusterInfo") == "true" else None,
        )

    def _path(self, content: dict[str, Any], key: str) -> FilePath:
        given = _text(content, key)
        return FilePath(os.path.join(self._folder, given) if given else "")

    def _inline(self, content: dict[str, Any], key: str) -> str:
        try:
            return base64.b64decode(_text(content, key), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            self._refuse(f"{key} is no text in base64")

    def _refuse(self, reason: str) -> NoReturn:
        raise DiscoveryError(f"the kubeconfig file {self._name} cannot be used: {reason}")


def _cluster_info(cluster: dict[str, Any]) -> tuple[tuple[str, str | bool], ...]:
    """Return what a program is told of the cluster."""
    told: dict[str, str | bool] = {"server": _text(cluster, "server")}
    for key in ("certificate-authority-data", "tls-server-name"):
        if _text(cluster, key):
            told[key] = _text(cluster, key)
    if _text(cluster, "insecure-skip-tls-verify") == "true":
        told["insecure-skip-tls-verify"] = True
    return tuple(told.items())


def _plain(node: Node | None) -> Any:
    """Return mappings, lists and texts."""
    if isinstance(node, MappingNode):
        return {key: _plain(value) for key, value in node.pairs.items()}
    if isinstance(node, ListNode):
        return [_plain(item) for item in node.items]
    return node.text if isinstance(node, Scalar) and not node.is_null else None


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""


def _texts(content: dict[str, Any], key: str) -> tuple[str, ...]:
    value = content.get(key)
    if isinstance(value, str):
        return (value,)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
