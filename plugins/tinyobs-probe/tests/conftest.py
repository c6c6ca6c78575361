"""Local servers for probes to meet, and short ways to run probes."""

from __future__ import annotations

import ssl
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

# The plugin's tests run from the checkout, whether it is installed or not.
sys.path.insert(0, str(Path(__file__).parents[1]))


class Http:
    """A server of canned answers by path; `seen` has the requests as (first line, headers, body)."""

    def __init__(self):
        self.answers = {}
        self.seen = []

    def answer(self, path, body=b"", status="200 OK", **headers):
        """Set the answer for a path; header names have underscores for dashes."""
        headers.setdefault("Content_Length", str(len(body)))
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items() if v is not None]
        self.answers[path] = "\r\n".join([*lines, "", ""]).encode() + body

    async def handle(self, stream):
        """Serve one connection."""
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = await stream.receive_some(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
                length = int(headers.get("content-length", 0))
                while len(buffer) < length:
                    buffer += await stream.receive_some(65536)
                body, buffer = buffer[:length], buffer[length:]
                self.seen.append((first, headers, body))
                answer = self.answers.get(first.split(" ")[1], b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                await stream.send_all(answer)
                if b"Connection: close" in answer:
                    await stream.aclose()
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


@pytest.fixture
async def listen(nursery):
    """Start a handler of trio streams on a free port of 127.0.0.1, over TLS where a context is given."""

    async def start(handler, context=None):
        async def accept(stream):
            if context is not None:
                stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            try:
                await handler(stream)
            except (trio.BrokenResourceError, ssl.SSLError):
                pass  # the probe went away, or did not like the certificate
            finally:
                await trio.aclose_forcefully(stream)

        listeners = await nursery.start(partial(trio.serve_tcp, accept, 0, host="127.0.0.1"))
        return listeners[0].socket.getsockname()[1]

    return start


@pytest.fixture(scope="session")
def authority():
    """A certificate authority of the tests' own."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    """The authority's certificate as a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def server_context(authority):
    """A server's TLS with a certificate for localhost and 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def http():
    """A new server of canned answers, not yet listening."""
    return Http()


async def silent(stream):
    """Keep a connection open and say nothing."""
    await trio.sleep_forever()


def value(outcome, name, **labels):
    """Return a gauge of an outcome."""
    return outcome.report.value(name, **labels)


def logged(outcome):
    """Return the log of an outcome as one text."""
    return "\n".join(outcome.report.log)
