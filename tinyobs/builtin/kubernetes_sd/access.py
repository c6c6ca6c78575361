"""Where the API server is and with which credentials it is asked: given, of a kubeconfig file, or of the own pod.

Sources: client-go rest/config.go (`InClusterConfig`), tools/clientcmd.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen

from ...config.fields import FilePath
from ...config.http_client import Authorization, HttpClientConfig, TlsConfig
from ...config.kubernetes_sd import KubernetesSdConfig
from ...discovery.refreshing import DiscoveryError
from .exec_plugin import Credentials, ExecPlugin, ask
from .kubeconfig import read_kubeconfig
from .labels import join_host_port

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts token, certificate and namespace of a pod."""
NAMESPACE_BYTES_MAX: Final = 256


@frozen
class Endpoint:
    """An API server and how it is asked."""

    url: str
    http: HttpClientConfig


@define(eq=False)
class Access:
    """The access of one entry of the configuration; `endpoint` reads the files anew each time."""

    api_server: str
    kubeconfig_file: str
    http: HttpClientConfig
    _credentials: Credentials | None = field(default=None, init=False)
    """What a program told, until it expires."""

    @classmethod
    def of(cls, config: KubernetesSdConfig) -> Access:
        """Return the access of an entry."""
        return cls(config.api_server, config.kubeconfig_file, config.http)

    @property
    def key(self) -> tuple[str, str, HttpClientConfig]:
        """What two entries have in common that use the same access."""
        return self.api_server, self.kubeconfig_file, self.http

    async def endpoint(self) -> Endpoint:
        """Return where and how to ask; raises `DiscoveryError` that says what is missing."""
        if self.api_server:
            return Endpoint(self.api_server, self.http)
        if not self.kubeconfig_file:
            return in_cluster()
        found = await trio.to_thread.run_sync(read_kubeconfig, self.kubeconfig_file)
        if found.plugin is None:
            return Endpoint(found.url, found.http)
        return Endpoint(found.url, await self._with_plugin(found.plugin, found.http))

    def forget_credentials(self) -> None:
        """Ask the program again the next time: the API server did not accept what it told."""
        self._credentials = None

    async def _with_plugin(self, plugin: ExecPlugin, http: HttpClientConfig) -> HttpClientConfig:
        if self._credentials is None or self._credentials.is_expired(time.time()):
            self._credentials = await ask(plugin)
        return self._credentials.added_to(http)


def in_cluster() -> Endpoint:
    """Return the API server of the cluster this process runs in, as the account of its pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not port.isdecimal():
        raise DiscoveryError(
            "not in a Kubernetes cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; "
            "give api_server or kubeconfig_file"
        )
    http = HttpClientConfig(
        authorization=Authorization(credentials_file=FilePath(str(SERVICE_ACCOUNT / "token"))),
        tls_config=TlsConfig(ca_file=FilePath(str(SERVICE_ACCOUNT / "ca.crt"))),
    )
    return Endpoint(f"https://{join_host_port(host, int(port))}", http)


def own_namespace() -> str:
    """Return the namespace of the own pod; raises `DiscoveryError`."""
    try:
        with (SERVICE_ACCOUNT / "namespace").open("rb") as f:
            name = f.read(NAMESPACE_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise DiscoveryError(f"could not determine the pod's namespace: {e}") from e
    if not name:
        raise DiscoveryError("could not read own namespace name (empty file)")
    return name


def namespaces_of(config: KubernetesSdConfig) -> tuple[str, ...]:
    """Return the namespaces to look at, ("",) for all."""
    wanted = config.namespaces
    if not wanted.names and not wanted.own_namespace:
        return ("",)
    return tuple(dict.fromkeys((*wanted.names, *([own_namespace()] if wanted.own_namespace else []))))
