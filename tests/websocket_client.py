"""A WebSocket client over a trio stream, by the protocol of the `websockets` package: another reader than the server's."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import pytest
import trio

client_protocol = pytest.importorskip("websockets.client")
frames = pytest.importorskip("websockets.frames")
uri = pytest.importorskip("websockets.uri")


class WebSocketClient:
    """One open WebSocket.  `received` has frames that came; pings are answered."""

    def __init__(self, stream, protocol):
        self.stream, self.protocol = stream, protocol
        self.pings = 0

    async def flush(self):
        """Send what the protocol has to say."""
        for data in self.protocol.data_to_send():
            if data:
                await self.stream.send_all(data)

    async def send(self, message):
        """Send a text or bytes."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        await self.flush()

    async def receive(self):
        """Return the next message, or the close code once the server has closed."""
        pieces = []
        while True:
            for frame in self.protocol.events_received():
                if frame.opcode is frames.Opcode.PING:
                    self.pings += 1
                if frame.opcode is frames.Opcode.CLOSE:
                    await self.flush()
                    return self.protocol.close_rcvd.code
                if frame.opcode in (frames.Opcode.TEXT, frames.Opcode.BINARY, frames.Opcode.CONT):
                    pieces.append(frame)
                    if frame.fin:
                        data = b"".join(f.data for f in pieces)
                        return data.decode() if pieces[0].opcode is frames.Opcode.TEXT else data
            await self.flush()
            data = await self.stream.receive_some()
            if not data:
                return None
            self.protocol.receive_data(data)

    async def close(self, code=1000):
        """Close, and return the code that comes back."""
        self.protocol.send_close(code)
        await self.flush()
        while isinstance(found := await self.receive(), str | bytes):
            pass
        return found


@contextlib.asynccontextmanager
async def open_socket(
    url: str, headers: Mapping[str, str] | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[WebSocketClient]:
    """Open a WebSocket at an `http://` URL, over TLS with a context; raises what the handshake was refused with."""
    parts = urlsplit(url)
    protocol = client_protocol.ClientProtocol(uri.parse_uri("ws" + url.removeprefix("http")))
    stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname=parts.hostname, https_compatible=True)
    async with stream:
        request = protocol.connect()
        for name, value in (headers or {}).items():
            request.headers[name] = value
        protocol.send_request(request)
        client = WebSocketClient(stream, protocol)
        await client.flush()
        while protocol.state.name == "CONNECTING":
            if protocol.handshake_exc is not None:
                raise protocol.handshake_exc
            protocol.receive_data(await stream.receive_some())
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc
        protocol.events = [e for e in protocol.events if isinstance(e, frames.Frame)]
        yield client
