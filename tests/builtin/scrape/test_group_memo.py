"""Targets of groups are made once for each version of a group."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from tinyobs.abc import TargetGroup
from tinyobs.builtin.scrape import group_memo
from tinyobs.builtin.scrape.group_memo import GroupMemo
from tinyobs.builtin.scrape.targets import PoolDefaults, make_targets
from tinyobs.relabel import Action, Rule

DEFAULTS = PoolDefaults("j", 15_000, 10_000, rules=(Rule(action=Action.DROP, source_labels=("drop",), regex="yes"),))


def group(source: str, *addresses: str, drop: str = "no") -> TargetGroup:
    """Return a group."""
    return TargetGroup(source, tuple({"__address__": a} for a in addresses), {"drop": drop})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of which targets are made."""
    addresses: list[str] = []

    def noting(groups: Sequence[tuple[Sequence[dict[str, str]], dict[str, str]]], *rest: object):
        addresses.extend(own["__address__"] for owns, _ in groups for own in owns)
        return make_targets(groups, *rest)

    monkeypatch.setattr(group_memo, "make_targets", noting)
    return addresses


async def test_only_what_changed_is_made_again(made: list[str]) -> None:
    """Other groups are as they were, the same objects; groups that are gone are forgotten."""
    memo = GroupMemo(DEFAULTS, 0)
    a, b = group("a", "a:1"), group("b", "b:1", "b:2")
    first = await memo.make([a, b])
    assert [t.url for t in first.targets] == ["http://a:1/metrics", "http://b:1/metrics", "http://b:2/metrics"]
    made.clear()
    second = await memo.make([a, group("b", "b:2")])
    assert made == ["b:2"]
    assert second.targets[0] is first.targets[0]
    await memo.make([b])
    await memo.make([a])
    assert made == ["b:2", "b:1", "b:2", "a:1"]


async def test_all_groups_together_come_to_what_they_would_at_once() -> None:
    """Targets without repetition, in order; dropped ones and errors of all groups."""
    groups = [
        group("a", "a:1", "x:1"),
        group("b", "x:1", "b/c"),
        group("c", "c:1", "c:2", drop="yes"),
        group("d", "d:1", drop="yes"),
    ]
    assert await GroupMemo(DEFAULTS, 0).make(groups) == make_targets([(g.targets, g.labels) for g in groups], DEFAULTS)
    limited = await GroupMemo(DEFAULTS, 2).make(groups)
    assert [dict(labels)["__address__"] for labels in limited.dropped] == ["c:1", "c:2"]
    assert limited.dropped_count == 3


async def test_others_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """While many targets are made, another task runs."""
    monkeypatch.setattr(group_memo, "TURN_SECONDS", -1.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await GroupMemo(DEFAULTS, 0).make([group(str(n), f"h:{n + 1}") for n in range(10)])
        nursery.cancel_scope.cancel()
    assert turns >= 5
