"""Work on bodies ends when nobody waits for the answer any more."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from starlette.requests import ClientDisconnect

from tinyobs.errors import Unavailable
from tinyobs.web.held_bytes import HeldBytes
from tinyobs.web.stopping import Stopping
from tinyobs.web.wanted import WANTED, Wanted, while_wanted


class Scene:
    """A request whose client goes after some seconds; how often somebody listens to it at one time is counted."""

    def __init__(self, gone_after: float = float("inf")) -> None:
        self.stopping, self.bodies = Stopping(), HeldBytes(100)
        self.listening = self.most_listening = 0
        self._gone_after = gone_after
        self._token = WANTED.set(Wanted(self.stopping, self.bodies, self.receive))

    async def receive(self) -> dict[str, Any]:
        """Tell that the client has gone."""
        self.listening += 1
        self.most_listening = max(self.most_listening, self.listening)
        try:
            await trio.sleep_until(self._gone_after)
        finally:
            self.listening -= 1
        return {"type": "http.disconnect"}

    def close(self) -> None:
        """Let the next test have no request."""
        assert not self.listening
        WANTED.reset(self._token)


async def five_seconds() -> str:
    """Take so long."""
    await trio.sleep(5)
    return "done"


async def test_where_nobody_asks_work_is_done(autojump_clock: Any) -> None:
    """Lines over TCP, say, come with no request."""
    assert await while_wanted(five_seconds) == "done"


async def test_work_ends_with_its_client(autojump_clock: Any) -> None:
    """At once, and it is counted."""
    scene = Scene(gone_after=trio.current_time() + 2)
    begun = trio.current_time()
    with pytest.raises(ClientDisconnect):
        await while_wanted(five_seconds)
    assert trio.current_time() - begun == 2
    assert scene.bodies.dropped == {"client_gone": 1, "stopping": 0}
    scene.close()


async def test_work_ends_with_the_daemon(autojump_clock: Any) -> None:
    """At once; what begins later ends at its first wait."""
    scene, begun = Scene(), trio.current_time()

    async def stop() -> None:
        await trio.sleep(3)
        scene.stopping.come()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        for _ in range(2):
            with pytest.raises(Unavailable, match="stopping"):
                await while_wanted(five_seconds)
            assert trio.current_time() - begun == 3
    assert scene.bodies.dropped == {"client_gone": 0, "stopping": 2}
    scene.close()


async def test_what_is_done_is_told(autojump_clock: Any) -> None:
    """A client that goes, or a daemon that stops, in the last moment takes nothing back."""
    scene = Scene(gone_after=trio.current_time() + 1)

    async def work() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            scene.stopping.come()
        return "stored"

    assert await while_wanted(work) == "stored"
    assert scene.bodies.dropped == {"client_gone": 0, "stopping": 0}
    scene.close()


async def test_one_listens_to_a_client(autojump_clock: Any) -> None:
    """A wait within another one does not listen as well, and ends with it."""
    scene = Scene(gone_after=trio.current_time() + 2)
    with pytest.raises(ClientDisconnect):
        await while_wanted(lambda: while_wanted(five_seconds))
    assert scene.most_listening == 1
    assert scene.bodies.dropped == {"client_gone": 1, "stopping": 0}
    scene.close()


async def test_errors_of_work_come_as_they_are(autojump_clock: Any) -> None:
    """They are not counted here."""
    scene = Scene()

    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await while_wanted(fail)
    assert scene.bodies.dropped == {"client_gone": 0, "stopping": 0}
    scene.close()
