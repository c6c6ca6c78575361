"""Threads that commit: work there, outcomes on the loop."""

from __future__ import annotations

import threading

import trio

from tinyobs.runtime.writer_threads import WriterThreads


async def test_results_and_errors_come_back_on_the_loop():
    """What the work returns or raises is handed over in the thread of the loop; the work was done elsewhere."""
    threads, loop, outcomes, done = WriterThreads(2), threading.get_ident(), [], trio.Event()

    def ended(result, error):
        outcomes.append((result, type(error), threading.get_ident() == loop))
        if len(outcomes) == 2:
            done.set()

    threads.start(lambda: threading.get_ident() == loop, ended)
    threads.start(lambda: 1 // 0, ended)
    await done.wait()
    threads.stop()
    assert sorted(outcomes, key=str) == [(False, type(None), True), (None, ZeroDivisionError, True)]


async def test_two_are_at_work_at_one_time_and_stop_ends_them():
    """One job can wait for another; after `stop` no thread is left."""
    before = set(threading.enumerate())  # those of other tests may end meanwhile
    threads, meeting, done, left = WriterThreads(2), threading.Barrier(2, timeout=60), trio.Event(), [2]

    def ended(result, error):
        assert error is None
        left[0] -= 1
        if not left[0]:
            done.set()

    for _ in range(2):
        threads.start(meeting.wait, ended)
    await done.wait()
    threads.stop()
    assert set(threading.enumerate()) <= before


async def test_a_panic_ends_no_thread():
    """What libraries in Rust raise when they panic is no `Exception`; it is handed over, and the thread works on."""

    class Panic(BaseException):
        pass

    def panics():
        raise Panic

    threads, outcomes, done = WriterThreads(1), [], trio.Event()

    def ended(result, error):
        outcomes.append((result, type(error)))
        if len(outcomes) == 2:
            done.set()

    threads.start(panics, ended)
    threads.start(lambda: "still here", ended)
    with trio.fail_after(60):
        await done.wait()
    threads.stop()
    assert outcomes == [(None, Panic), ("still here", type(None))]
