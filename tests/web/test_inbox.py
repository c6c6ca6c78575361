"""Work that lasts as long as its client stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from starlette.requests import ClientDisconnect

from tinyobs.web.inbox import Message, while_client_stays
from tinyobs.web.problem import HttpError


def after(seconds: float, *messages: Message | Exception) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` that gives messages, one each some seconds, and then no more."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await trio.sleep_forever()
        await trio.sleep(seconds)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return receive


async def answer() -> str:
    """Take five seconds."""
    await trio.sleep(5)
    return "done"


async def test_work_is_done_while_the_client_stays(autojump_clock: Any) -> None:
    """What else the client sends does not disturb it."""
    more: Message = {"type": "http.request", "body": b"x", "more_body": False}
    assert await while_client_stays(after(1, more), answer) == "done"
    assert trio.current_time() == 5


async def test_work_ends_when_the_client_goes(autojump_clock: Any) -> None:
    """It is cancelled at once."""
    with pytest.raises(ClientDisconnect):
        await while_client_stays(after(1, {"type": "http.disconnect"}), answer)
    assert trio.current_time() == 1


async def test_errors_come_as_they_are(autojump_clock: Any) -> None:
    """Not in a group."""

    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await while_client_stays(trio.sleep_forever, fail)


async def test_a_body_that_never_comes_is_no_reason_to_stop(autojump_clock: Any) -> None:
    """The handler did not want it."""
    assert await while_client_stays(after(1, HttpError(408, "slow")), answer) == "done"
