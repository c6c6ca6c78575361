"""A connection that leaves HTTP/1.1 after the answer 101: what is handed to whoever speaks another protocol on it."""

from __future__ import annotations

from typing import Any, Final

import trio
from attrs import frozen

UPGRADE: Final = "tinyobs.upgrade"
"""The key under which the scope of a request has a function that returns its `Upgraded`; only where that can be had."""


@frozen(eq=False)
class Upgraded:
    """The stream, what the client sent behind its request, and an event that is set when the server stops."""

    stream: Any
    received: bytes
    finishing: trio.Event
