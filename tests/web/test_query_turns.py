"""Which query computes: with a clock of their own, and threads that wait for events rather than for time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tinyobs.web.queries import turns as module
from tinyobs.web.queries.turns import Turn, Turns


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def wanted() -> None:
    """Check nothing."""


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Return a clock; no query counts as fresh where a test does not say so."""
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    return Time()


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start work; what it returns is put into the list."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


def until(turns: Turns, waiting: int) -> None:
    """Wait until so many queries are waiting: each of them does so after a few lines."""
    pause = threading.Event()
    for _ in range(10_000):
        if turns.statistics()[1] == waiting:
            return
        pause.wait(0.001)
    raise AssertionError(turns.statistics())


def start(turns: Turns, client: str = "a") -> tuple[threading.Thread, list[Turn]]:
    """Begin a query in a thread, and return when it waits."""
    before = turns.statistics()[1]
    thread, found = in_thread(lambda: turns.begin(client, wanted))
    until(turns, before + 1)
    return thread, found


def test_no_more_compute_than_there_are_places(time: Time) -> None:
    """The third of three waits until one of the others is done."""
    turns = Turns(2, time)
    first, _ = turns.begin("a", wanted), turns.begin("a", wanted)
    thread, third = start(turns)
    assert turns.statistics() == (2, 1)
    turns.end(first)
    thread.join(60)
    assert third[0].computing
    assert turns.statistics() == (2, 0)


def test_a_new_query_gets_in_after_a_slice(time: Time) -> None:
    """Within its slice a query goes on; after it the one that has computed less computes, and the first waits."""
    turns = Turns(1, time)
    long = turns.begin("a", wanted)
    time.seconds += 5.0
    turns.rest(long, wanted)  # nobody waits
    thread, short = start(turns)
    time.seconds += module.SLICE_SECONDS / 2
    turns.rest(long, wanted)
    assert long.computing
    time.seconds += module.SLICE_SECONDS
    resting, _ = in_thread(lambda: turns.rest(long, wanted))
    thread.join(60)
    assert short[0].computing
    assert not long.computing
    assert turns.end(short[0]) == 0.0
    resting.join(60)
    assert long.computing
    time.seconds += 1.0
    assert turns.end(long) == pytest.approx(6.0 + 1.5 * module.SLICE_SECONDS)


def test_long_queries_change_less_often_than_short_ones_get_in(time: Time) -> None:
    """Between equals the margin counts, and a query that waits long enough has its turn whatever comes."""
    turns = Turns(1, time)
    one = turns.begin("a", wanted)
    time.seconds += 50.0
    thread, other = start(turns)
    time.seconds += module.SLICE_SECONDS
    resting, _ = in_thread(lambda: turns.rest(one, wanted))
    thread.join(60)
    time.seconds += 30.0
    # The other has computed for 30 s meanwhile, the first has waited as long: it is its turn.
    again, _ = in_thread(lambda: turns.rest(other[0], wanted))
    resting.join(60)
    assert one.computing
    time.seconds += module.MARGIN_SECONDS / 2
    turns.rest(one, wanted)
    assert one.computing, "too early to change between equals"
    turns.end(one)
    again.join(60)
    turns.end(other[0])


def test_a_fresh_query_need_not_wait(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a place more for one that has computed little; while it is there a long one stands back."""
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.05)
    turns = Turns(1, time)
    long = turns.begin("a", wanted)
    time.seconds += 1.0
    turns.rest(long, wanted)
    fresh = turns.begin("a", wanted)
    assert fresh.computing
    assert long.computing, "until its slice is over"
    thread, third = start(turns)
    time.seconds += module.SLICE_SECONDS
    resting, _ = in_thread(lambda: turns.rest(long, wanted))
    thread.join(60)
    assert third[0].computing, "the place of the long one"
    assert turns.statistics() == (2, 1)
    turns.end(third[0])
    assert not long.computing
    turns.end(fresh)
    resting.join(60)
    assert long.computing
    turns.end(long)


def test_a_query_that_is_fresh_no_more_stands_back_as_well(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place more is not for queries that turn out to be long."""
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.05)
    turns = Turns(1, time)
    first, second = turns.begin("a", wanted), turns.begin("a", wanted)
    assert turns.statistics() == (2, 0)
    time.seconds += 0.06
    resting, _ = in_thread(lambda: turns.rest(second, wanted))
    until(turns, 1)
    assert first.computing
    assert not second.computing
    turns.end(first)
    resting.join(60)
    turns.end(second)


def test_clients_share_evenly(time: Time) -> None:
    """A client that computes nowhere goes before one that does, however long its query has computed."""
    turns = Turns(2, time)
    mine, _ = turns.begin("a", wanted), turns.begin("a", wanted)
    thread_a, of_a = start(turns, "a")
    thread_b, of_b = start(turns, "b")
    time.seconds += module.SLICE_SECONDS
    resting, _ = in_thread(lambda: turns.rest(mine, wanted))
    thread_b.join(60)
    assert of_b[0].computing
    assert not of_a
    turns.end(of_b[0])
    thread_a.join(60)
    turns.end(of_a[0])
    resting.join(60)


def test_a_query_that_is_stopped_waits_no_longer(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `check` raises ends the waiting, and the place is somebody else's."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    turns = Turns(1, time)
    first = turns.begin("a", wanted)

    def unwanted() -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        turns.begin("a", unwanted)
    assert turns.statistics() == (1, 0)
    turns.end(first)
    assert turns.statistics() == (0, 0)


def test_more_places_are_taken_as_they_come(time: Time) -> None:
    """A width that grows lets those in that wait; one that shrinks sends nobody away within a slice."""
    turns = Turns(1, time)
    first = turns.begin("a", wanted)
    thread, second = start(turns)
    turns.resize(2)
    thread.join(60)
    assert first.computing
    assert second[0].computing
    turns.resize(1)
    turns.rest(first, wanted)
    assert first.computing
    time.seconds += module.SLICE_SECONDS
    resting, _ = in_thread(lambda: turns.rest(first, wanted))
    until(turns, 1)
    turns.end(second[0])
    resting.join(60)
    assert first.computing
    turns.end(first)
    assert turns.statistics() == (0, 0)
