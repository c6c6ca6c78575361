"""Giving memory back to the operating system after work that needed much of it.

The allocator of glibc keeps freed arrays of up to 32 MB for later.  After a cut, a merge or an index build that is a
tenth of the process (66 of 528 MB at a million series); `malloc_trim` returns it in some 10 ms.  Elsewhere nothing is
done: other allocators return memory by themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Numbers of glibc's malloc.h."""
APART_BYTES: Final = 1 << 20
"""Blocks from this size on, bodies of requests for one, are mappings of their own; see `keep_large_blocks_apart`."""


def return_free_memory() -> None:
    """Return freed memory where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_large_blocks_apart() -> None:
    """Have large blocks be mappings of their own, which are returned as soon as they are freed, where the C library can.

    By default the first such block that is freed has all later ones of its size taken from the heap, where small blocks
    between them keep what is freed from being returned.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, APART_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, 4 * APART_BYTES)


def share_one_arena() -> None:
    """Let all threads allocate from one place, where the C library can: each place of its own keeps freed memory."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
