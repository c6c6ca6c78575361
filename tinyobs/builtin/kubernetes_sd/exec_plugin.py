"""Asks the program that a kubeconfig file names for credentials.

Protocol: kubernetes.io/docs/reference/access-authn-authz/authentication, "client-go credential plugins"
(`ExecCredential`).  The program's standard error is that of TinyObs.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import trio
from attrs import frozen

from ...config.fields import FilePath
from ...config.http_client import Authorization, HttpClientConfig
from ...discovery.refreshing import DiscoveryError
from ...model.secrets import Secret

SECONDS_MAX: Final = 60.0
"""How long the program may take."""
END_SECONDS_MAX: Final = 1.0
"""How long the end of a program that was killed is waited for."""
OUTPUT_BYTES_MAX: Final = 1 << 20
RENEW_EARLIER_SECONDS: Final = 30.0
"""Credentials are asked for again this long before they expire."""
GROUP: Final = "client.authentication.k8s.io/"


@frozen
class ExecPlugin:
    """A program, and what it is told."""

    command: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    version: str
    cluster: tuple[tuple[str, str | bool], ...] | None


@frozen
class Credentials:
    """What it answers."""

    token: Secret
    certificate: str
    key: Secret
    expires_seconds: float | None
    """Seconds since 1970."""

    def is_expired(self, now_seconds: float) -> bool:
        """Tell whether it is time for new ones."""
        return self.expires_seconds is not None and now_seconds >= self.expires_seconds - RENEW_EARLIER_SECONDS

    def added_to(self, http: HttpClientConfig) -> HttpClientConfig:
        """Return a configuration with these credentials."""
        if self.certificate:
            tls = attrs.evolve(
                http.tls_config, cert=self.certificate, key=self.key, cert_file=FilePath(""), key_file=FilePath("")
            )
            http = attrs.evolve(http, tls_config=tls)
        return attrs.evolve(http, authorization=Authorization(credentials=self.token)) if self.token else http


async def ask(plugin: ExecPlugin) -> Credentials:
    """Run the program; raises `DiscoveryError` when it fails, takes too long or answers something else."""
    info: dict[str, Any] = {"apiVersion": plugin.version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if plugin.cluster is not None:
        info["spec"]["cluster"] = dict(plugin.cluster)
    variables = os.environ | dict(plugin.variables) | {"KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        process = await trio.lowlevel.open_process(
            [plugin.command, *plugin.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=variables,
        )
    except OSError as e:
        raise DiscoveryError(f"cannot run {plugin.command} for credentials: {e}") from e
    output = bytearray()
    try:
        with trio.move_on_after(SECONDS_MAX) as scope:
            assert process.stdout
            async for piece in process.stdout:
                output += piece
                if len(output) > OUTPUT_BYTES_MAX:
                    raise DiscoveryError(f"{plugin.command} tells more than {OUTPUT_BYTES_MAX} bytes of credentials")
            await process.wait()
    finally:
        with trio.move_on_after(END_SECONDS_MAX, shield=True):
            await _end(process)
    if scope.cancelled_caught:
        raise DiscoveryError(f"{plugin.command} told no credentials within {SECONDS_MAX:g} s")
    if process.returncode != 0:
        raise DiscoveryError(f"{plugin.command} told no credentials: it ended with status {process.returncode}")
    return read_credentials(bytes(output), plugin)


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
    if process.stdout:
        await process.stdout.aclose()


def read_credentials(output: bytes, plugin: ExecPlugin) -> Credentials:
    """Return the credentials of an answer; raises `DiscoveryError`, which shows nothing of it."""
    try:
        answer = json.loads(output)
        status = answer["status"]
        expires = status.get("expirationTimestamp")
        found = Credentials(
            Secret(status.get("token") or ""),
            status.get("clientCertificateData") or "",
            Secret(status.get("clientKeyData") or ""),
            _seconds(expires) if expires else None,
        )
        is_ours = answer["kind"] == "ExecCredential" and answer["apiVersion"].startswith(GROUP)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise DiscoveryError(f"{plugin.command} answers no ExecCredential ({type(e).__name__})") from e
    if not is_ours or not (found.token or found.certificate):
        raise DiscoveryError(f"{plugin.command} answers no ExecCredential with a token or a certificate")
    return found


def _seconds(text: str) -> float:
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
