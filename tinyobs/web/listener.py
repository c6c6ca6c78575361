"""Addresses to listen on, and the sockets for them.

An address is `host:port`, `:port` for every interface, `[::1]:port`, or `unix:/path`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from typing import Final

import trio
from attrs import frozen

from ..errors import UsageError

BACKLOG: Final = 512
"""Connections that the kernel keeps until they are accepted."""

_UNIX = "unix:"


@frozen
class Address:
    """Where to listen.  host "" means every interface; path is set for a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""


def parse_address(text: str) -> Address:
    """Return the address that `text` names; raises `UsageError`."""
    if text.startswith(_UNIX):
        if len(text) == len(_UNIX):
            raise UsageError(f'listen address "{text}" has no path')
        return Address(path=text.removeprefix(_UNIX))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise UsageError(f'listen address "{text}" is not host:port')
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f'listen address "{text}": the port must be a number from 0 to 65535')
    return Address(host[1:-1] if bracketed else host, int(port))


async def open_listeners(texts: Sequence[str]) -> list[trio.SocketListener]:
    """Open every address, or none: raises `UsageError` that names the one which cannot be had."""
    listeners: list[trio.SocketListener] = []
    try:
        for text in texts:
            address = parse_address(text)
            try:
                listeners += [_open_unix(address.path)] if address.path else await _open_tcp(address)
            except OSError as e:
                raise UsageError(f"cannot listen on {text}: {_reason(e)}") from e
    except BaseException:
        close(listeners)
        raise
    return listeners


def close(listeners: Sequence[trio.SocketListener]) -> None:
    """Close listeners at once, and remove the files of Unix sockets."""
    for listener in listeners:
        if listener.socket.family == socket.AF_UNIX:
            with contextlib.suppress(OSError):
                os.unlink(listener.socket.getsockname())
        listener.socket.close()


def describe(listener: trio.SocketListener, scheme: str) -> str:
    """Return the URL of a listener, with the port that was really taken."""
    name = listener.socket.getsockname()
    if listener.socket.family == socket.AF_UNIX:
        return f"{_UNIX}{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"


async def _open_tcp(address: Address) -> list[trio.SocketListener]:
    return await trio.open_tcp_listeners(address.port, host=address.host or None, backlog=BACKLOG)


def _open_unix(path: str) -> trio.SocketListener:
    """Listen on a path; the socket that a dead process left there is replaced, a living one is not."""
    if _is_dead_socket(path):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    except BaseException:
        sock.close()
        raise


def _is_dead_socket(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is already in use"
    if error.errno == errno.EACCES:
        return "permission denied"
    return error.strerror or str(error)
