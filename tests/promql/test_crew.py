"""Parts of a query evaluated side by side: order, errors, cancellation."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from promql.memory import MemoryStore
from tinyobs.errors import QueryCanceled
from tinyobs.promql import crew as crew_module
from tinyobs.promql.crew import Crew
from tinyobs.promql.engine import PromqlEngine

QUERIES = ("sum by (b) (rate(x_total[5m]))", "avg(x_total)", "max by (b) (x_total)", "stddev(x_total)", "x_total")


def nothing() -> None:
    """Do not cancel."""


@pytest.mark.parametrize("size", [1, 2, 3])
def test_results_come_in_the_order_of_the_parts(size):
    """However long each part takes, results stand in order, and each part is done once."""
    done = []

    def part(i: int):
        def work() -> int:
            done.append(i)
            return i * i

        return work

    assert list(Crew(size).in_order([part(i) for i in range(20)], nothing)) == [i * i for i in range(20)]
    assert sorted(done) == list(range(20))


@pytest.mark.parametrize("size", [1, 2])
def test_an_error_of_a_part_is_raised_where_results_are_taken(size):
    """What one part raises ends the whole, and no part goes on behind its back."""

    def fail() -> int:
        raise ValueError("bad")

    results = Crew(size).in_order([lambda: 1, fail, lambda: 3], nothing)
    assert next(results) == 1
    with pytest.raises(ValueError, match="bad"):
        list(results)


def test_queries_that_begin_at_once_share_the_threads(monkeypatch):
    """The first two do not make a pool each."""
    made = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, *args):
            made.append(self)
            super().__init__(*args)
            if len(made) == 1 and crew is not None:
                list(crew.in_order([lambda: 1], nothing))  # of another query

    monkeypatch.setattr(crew_module, "ThreadPoolExecutor", Pool)
    crew = None
    crew = Crew(2)
    assert list(crew.in_order([lambda: 2], nothing)) == [2]
    assert len(made) == 1


def test_a_cancelled_query_does_not_wait_for_parts_that_have_not_begun():
    """Cancelling is seen while a part is at work; those behind it never begin."""
    release, begun = threading.Event(), []

    def slow() -> int:
        release.wait(10)
        return 0

    def later() -> int:
        begun.append(1)
        return 0

    def poll() -> None:
        release.set()
        raise QueryCanceled("gone")

    with pytest.raises(QueryCanceled):
        list(Crew(2).in_order([slow, slow, *[later] * 50], poll))
    assert len(begun) < 50


def test_queries_give_the_same_in_one_thread_and_in_several():
    """The threads that evaluate parts change no bit of a result."""
    memory = MemoryStore.of(
        {
            (("__name__", "x_total"), ("a", f"{i:03d}"), ("b", str(i % 7))): [
                (t * 1000, float((t * (i + 1)) % 9973)) for t in range(0, 3600, 15)
            ]
            for i in range(600)
        }
    )
    results = []
    for size in (1, 3):
        engine = PromqlEngine(crew=Crew(size))
        for text in QUERIES:
            found = engine.range(memory, text, 600_000, 3_600_000, 60_000).columns
            results.append((found.labels, found.timestamps_ms.tolist(), found.values.tolist()))
    assert results[:5] == results[5:]
