"""Worker threads that are none: for tests on trio's autojump clock, which would jump for hours while a thread works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import trio

T = TypeVar("T")


@contextmanager
def inline_threads() -> Iterator[None]:
    """Let `trio.to_thread.run_sync` do its work at once, in the event loop, while the context is open."""
    threads: Any = trio.to_thread
    plain = threads.run_sync
    threads.run_sync = _run_inline
    try:
        yield
    finally:
        threads.run_sync = plain


async def _run_inline(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    await trio.lowlevel.checkpoint()
    return work(*arguments)
