"""Giving memory back to the operating system after work that needed much of it.

The allocator of glibc keeps freed arrays of up to 32 MB for later.  After a cut, a merge or an index build that is a
tenth of the process (66 of 528 MB at a million series); `malloc_trim` returns it in some 10 ms.  Elsewhere nothing is
done: other allocators return memory by themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
"""A number of glibc's malloc.h."""


def return_free_memory() -> None:
    """Return freed memory where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def share_one_arena() -> None:
    """Let all threads allocate from one place, where the C library can: each place of its own keeps freed memory."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
