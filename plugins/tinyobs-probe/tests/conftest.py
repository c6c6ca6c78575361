"""Fixtures: local servers for probes to meet."""

from __future__ import annotations

import ssl
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from probe_servers import Http

# The plugin's tests run from the checkout, whether it is installed or not.
sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture
def autojump_clock(autojump_clock):
    """A clock that does not jump while what was sent is on its way to one of the servers: sockets need real time."""
    autojump_clock.autojump_threshold = 0.05
    return autojump_clock


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
