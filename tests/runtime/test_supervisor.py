"""Components are restarted with back-off, their status is told, and one broken part leaves the others alone."""

from __future__ import annotations

import pytest
import structlog
import trio

from tinyobs.abc import Component
from tinyobs.runtime.component import ComponentState, Status
from tinyobs.runtime.supervisor import BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS, HEALTHY_AFTER_SECONDS, Supervisor
from tinyobs.testing.services import VirtualClock


class Flaky(Component):
    """Crashes so many times, each after `lives` seconds."""

    name = "flaky"

    def __init__(self, crashes, lives=0.0, before_start=False):
        self.crashes, self.lives, self.before_start = crashes, lives, before_start
        self.begun = []

    async def run(self, *, task_status):
        self.begun.append(trio.current_time())
        if self.before_start and self.crashes:
            self.crashes -= 1
            raise RuntimeError("not even started")
        task_status.started()
        await trio.sleep(self.lives)
        if self.crashes:
            self.crashes -= 1
            raise RuntimeError("crashed")


@pytest.fixture
def told():
    return []


@pytest.fixture
def supervisor(told):
    return Supervisor(VirtualClock(), lambda *event: told.append(event))


async def test_a_component_that_returns_is_done(supervisor, told, autojump_clock):
    """No crash, no restart."""
    await supervisor.supervise(Flaky(0))
    assert [status for _, status, _ in told] == ["running", "stopped"]
    assert supervisor.components == {}


async def test_crashes_are_restarted_with_growing_pauses(supervisor, told, autojump_clock):
    """The pause doubles up to its maximum; each crash is counted and tells its reason."""
    flaky = Flaky(9)
    await supervisor.supervise(flaky)
    pauses = [b - a for a, b in zip(flaky.begun, flaky.begun[1:], strict=False)]
    assert pauses == pytest.approx([min(BACKOFF_FIRST_SECONDS * 2**i, BACKOFF_MAX_SECONDS) for i in range(9)])
    state = supervisor.states["flaky"]
    assert (state.status, state.crashes, state.reason) == (Status.STOPPED, 9, "RuntimeError: crashed")
    assert ("flaky", "backing_off", "RuntimeError: crashed") in told


async def test_a_crash_is_logged_as_text(supervisor, autojump_clock):
    """With its traceback, but without the exception, whose variables no renderer is to walk through."""
    with structlog.testing.capture_logs() as logged:
        await supervisor.supervise(Flaky(1))
    (crash,) = [entry for entry in logged if entry["event"] == "component crashed"]
    assert crash["error"] == "RuntimeError: crashed"
    assert crash["traceback"].endswith("RuntimeError: crashed\n")
    assert "exc_info" not in crash


async def test_a_long_healthy_life_forgives(supervisor, autojump_clock):
    """A component that ran long enough starts with the first pause again."""
    flaky = Flaky(5, lives=HEALTHY_AFTER_SECONDS + 1)
    await supervisor.supervise(flaky)
    pauses = [b - a for a, b in zip(flaky.begun, flaky.begun[1:], strict=False)]
    assert pauses == pytest.approx([flaky.lives + BACKOFF_FIRST_SECONDS] * 5)


async def test_a_crash_before_the_start_does_not_hold_up_the_others(supervisor, autojump_clock):
    """`start` returns although the component has never worked yet; it works later."""
    flaky = Flaky(2, lives=1000, before_start=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.supervise, flaky)
        assert trio.current_time() == flaky.begun[0]
        await trio.sleep(10)
        assert supervisor.states["flaky"].status is Status.RUNNING
        nursery.cancel_scope.cancel()
    assert supervisor.states["flaky"].status is Status.STOPPED


async def test_cancellation_during_a_pause_ends_it(supervisor, autojump_clock):
    """A component that waits for its restart stops at once."""
    with trio.move_on_after(0.5):
        await supervisor.supervise(Flaky(1))
    assert supervisor.states["flaky"].status is Status.STOPPED


def test_an_illegal_transition_is_a_bug():
    """A stopped component cannot be running without starting."""
    state = ComponentState("x", Status.STOPPED)
    with pytest.raises(AssertionError):
        state.move(Status.RUNNING, 0)


async def test_a_restart_that_fails_is_one_more_crash(supervisor, told, autojump_clock):
    """Whatever a plugin's `restart` raises, the supervisor tries again later."""

    class Broken(Flaky):
        failures = 2

        def restart(self):
            if self.failures:
                self.failures -= 1
                raise LookupError("not yet")
            return self

    flaky = Broken(1)
    await supervisor.supervise(flaky)
    assert len(flaky.begun) == 2
    assert supervisor.states["flaky"].crashes == 3


async def test_a_configuration_that_changes_while_a_component_starts_is_handed_to_it(told, autojump_clock):
    """The component may have read the earlier one; it runs only when it has the newest."""
    running = ["old"]
    supervisor = Supervisor(VirtualClock(), lambda *event: told.append(event), lambda: running[0])

    class Slow(Component):
        name = "slow"
        given = ()

        async def run(self, *, task_status):
            await trio.sleep(5)
            task_status.started()
            await trio.sleep(5)

        async def reconfigure(self, config):
            assert supervisor.states["slow"].status is Status.STARTING
            self.given += (config,)
            await trio.sleep(1)

    slow = Slow()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.supervise, slow)
        for pause, config in ((2, "new"), (3.5, "newer")):
            await trio.sleep(pause)
            running[0] = config
    assert slow.given == ("new", "newer")
