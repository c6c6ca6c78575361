"""Discoveries that ask for the whole list again and again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio
from trio.testing import MockClock

from tinyobs.abc import DiscovererContext, TargetGroup
from tinyobs.discovery import refreshing
from tinyobs.discovery.refreshing import DiscoveryError, RefreshingDiscoverer
from tinyobs.testing.services import VirtualClock


class Scripted(RefreshingDiscoverer):
    """Answers each refresh with the next entry of a script: groups, or an error."""

    def __init__(self, script: list[Sequence[TargetGroup] | Exception], context: DiscovererContext) -> None:
        super().__init__("scripted", 10_000, context)
        self.script = script
        self.closed = False

    async def refresh(self) -> Sequence[TargetGroup]:
        await trio.lowlevel.checkpoint()
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed = True


def group(source: str, *addresses: str) -> TargetGroup:
    return TargetGroup(source, tuple({"__address__": a} for a in addresses))


async def play(
    script: list[Sequence[TargetGroup] | Exception],
) -> tuple[list[list[tuple[str, int]]], list[int], Scripted]:
    """Run a script to its end; return what was published as (source, targets), [failures, refreshes], the discoverer."""
    counts = [0, 0]

    def count(which: int, *_: float) -> None:
        counts[which] += 1

    context = DiscovererContext("job", 0, ".", VirtualClock(), partial(count, 0), partial(count, 1))
    discoverer = Scripted(script, context)
    published: list[list[tuple[str, int]]] = []

    async def publish(groups: Sequence[TargetGroup]) -> None:
        published.append([(g.source, len(g.targets)) for g in groups])

    steps = len(script)
    async with trio.open_nursery() as nursery:
        await nursery.start(discoverer.run, publish)
        await trio.sleep(10 * (steps - 1) + 5)
        nursery.cancel_scope.cancel()
    return published, counts, discoverer


async def test_only_changes_are_published(autojump_clock: MockClock) -> None:
    """A group that stays as it is is not published again; one that is gone is published empty."""
    published, counts, discoverer = await play([
        [group("a", "x:1"), group("b", "y:1")],
        [group("a", "x:1"), group("b", "y:1")],
        [group("a", "x:1", "x:2")],
    ])  # fmt: skip
    assert published == [[("a", 1), ("b", 1)], [("a", 2), ("b", 0)]]
    assert counts == [0, 3]
    assert discoverer.closed


async def test_an_error_keeps_the_last_good_groups(autojump_clock: MockClock) -> None:
    """After an error nothing is published, the failure is counted, and the next good list is compared with the last."""
    published, counts, _ = await play(
        [[group("a", "x:1")], DiscoveryError("down"), DiscoveryError("down"), [group("a", "x:1")], []]
    )
    assert published == [[("a", 1)], [("a", 0)]]
    assert counts == [2, 5]


async def test_the_start_does_not_wait_for_a_source_that_is_down(autojump_clock: MockClock) -> None:
    """A first error publishes an empty list, so that a pool need not wait for this discovery."""
    published, counts, _ = await play([DiscoveryError("down"), [group("a", "x:1")]])
    assert published == [[], [("a", 1)]]
    assert counts == [1, 2]


async def test_a_list_that_is_too_long_is_refused_as_a_whole(autojump_clock: MockClock, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """More targets than the limit leave the last good ones in place."""
    monkeypatch.setattr(refreshing, "TARGETS_MAX", 2)
    published, counts, _ = await play([[group("a", "x:1")], [group("a", "x:1", "x:2", "x:3")]])
    assert published == [[("a", 1)]]
    assert counts == [1, 2]


async def test_a_source_may_tell_of_changes(autojump_clock: MockClock) -> None:
    """What overrides the wait refreshes earlier, and the interval counts from there."""

    class Told(Scripted):
        async def wait(self, until: float) -> None:
            await trio.sleep_until(until - 7)

    discoverer = Told([[group("a", f"x:{n}")] for n in range(9)], DiscovererContext("job", 0, ".", VirtualClock()))
    times: list[float] = []

    async def publish(groups: Sequence[TargetGroup]) -> None:
        times.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        await nursery.start(discoverer.run, publish)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [at - began for at in times] == [0, 3, 6, 9]
