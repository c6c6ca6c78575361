"""Opening a storage on a disk: it is locked first, and let go again when that fails, with an error that tells what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CorruptionError, StorageError
from .disk import Disk
from .notices import ON_START


@contextmanager
def locked(disk: Disk) -> Iterator[None]:
    """Lock the directory; it stays locked unless the block raises, which then raises `StorageError` or `CorruptionError`.

    Raises `LockedError` where another process has it.
    """
    disk.lock()
    try:
        yield
    except OSError as e:
        disk.unlock()
        raise StorageError(f"cannot open the data directory: {e}") from e
    except CorruptionError as e:
        disk.unlock()
        raise CorruptionError(e.file, e.offset, f"{e.reason}; {ON_START}") from e
    except BaseException:
        disk.unlock()
        raise
