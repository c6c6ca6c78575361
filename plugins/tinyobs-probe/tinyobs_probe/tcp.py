"""The TCP probe: connect, perhaps TLS, perhaps a dialogue of lines."""

from __future__ import annotations

from typing import Final

import trio

from . import patterns
from .address import ProbeError, choose, split_host_port
from .certificates import add_tls_metrics
from .connection import TlsStream, client_context, close, connect, start_tls
from .report import Report
from .settings import QueryResponse, TcpProbe

LINE_BYTES_MAX: Final = 64 * 1024
"""Longest line that is waited for; a longer one fails the probe."""
LINES_MAX: Final = 100_000
"""Most lines that one step may skip."""
_REGEX_HELP: Final = "Whether the probe failed because a line did not match."


async def probe_tcp(target: str, probe: TcpProbe, report: Report) -> bool:
    """Probe `host:port`; raises `ProbeError` where it fails."""
    report.gauge("probe_failed_due_to_regex", _REGEX_HELP)
    host, port = split_host_port(target)
    address, _ = await choose(host, probe.preferred_ip_protocol, probe.ip_protocol_fallback, report)
    connection = await connect(address, port, probe.source_ip_address)
    try:
        report.note("connected", ip=address.ip, port=port)
        lines = Lines(await _upgrade(connection, probe, host, report) if probe.tls else connection)
        for step in probe.query_response:
            await _take_step(step, lines, report)
            if step.starttls:
                if isinstance(lines.stream, trio.SSLStream):
                    raise ProbeError("starttls on a connection that has TLS already")
                lines = Lines(await _upgrade(lines.stream, probe, host, report))
    finally:
        await close(connection)  # noqa: ASYNC102 - it shields itself
    return True


class Lines:
    """Reads a stream by lines; the end of the stream ends the last line."""

    def __init__(self, stream: trio.SocketStream | TlsStream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._ended = False

    async def next(self) -> str | None:
        """Return the next line without its end, None at the end of the stream; raises `ProbeError`."""
        while (at := self._buffer.find(b"\n")) < 0 and not self._ended:
            if len(self._buffer) > LINE_BYTES_MAX:
                raise ProbeError(f"a line of more than {LINE_BYTES_MAX} bytes")
            try:
                data = await self.stream.receive_some(8192)
            except trio.BrokenResourceError as e:
                raise ProbeError(f"error reading from connection: {e.__cause__ or e}") from e
            self._buffer += data
            self._ended = not data
        if at < 0:
            if not self._buffer:
                return None
            at = len(self._buffer)
        line = bytes(self._buffer[:at]).removesuffix(b"\r")
        del self._buffer[: at + 1]
        return line.decode("utf-8", "replace")

    async def send(self, line: str) -> None:
        """Send a line; raises `ProbeError`."""
        try:
            await self.stream.send_all(line.encode() + b"\n")
        except trio.BrokenResourceError as e:
            raise ProbeError(f"failed to send: {e.__cause__ or e}") from e


async def _take_step(step: QueryResponse, lines: Lines, report: Report) -> None:
    send = step.send
    if step.expect:
        match = await _expect(step.expect, lines, report)
        send = patterns.expand(send, match)
        if step.labels:
            labels = {name: patterns.expand(value, match) for name, value in step.labels}
            report.gauge("probe_expect_info", "What the dialogue found out; always 1.", 1, **labels)
    if send:
        report.note("sending line", line=send)
        await lines.send(send)


async def _expect(pattern: str, lines: Lines, report: Report) -> object:
    """Return the match of the first line that has one."""
    compiled = patterns.compile_pattern(pattern)
    for _ in range(LINES_MAX):
        line = await lines.next()
        if line is None:
            break
        match = compiled.search(line)
        if match:
            report.note("line matched", pattern=pattern, line=line)
            report.set("probe_failed_due_to_regex", 0)
            found: object = match
            return found
    report.set("probe_failed_due_to_regex", 1)
    raise ProbeError(f"no line matched {pattern!r}")


async def _upgrade(stream: trio.SocketStream, probe: TcpProbe, host: str, report: Report) -> TlsStream:
    context = await client_context(probe.tls_config)
    tls = await start_tls(stream, context, probe.tls_config.server_name or host)
    report.note("TLS handshake succeeded", version=tls.version())
    add_tls_metrics(report, tls)
    return tls
