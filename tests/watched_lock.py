"""A lock that tells when somebody has to wait for it: what another thread does meanwhile, without waiting for a clock."""

from __future__ import annotations

import threading


class WatchedLock:
    """Takes the place of a lock of an object.  `meanwhile` lets another thread work while this one goes on."""

    def __init__(self):
        self._lock = threading.RLock()
        self._stands = threading.Event()
        self.threads = []

    def __enter__(self):
        if not self._lock.acquire(blocking=False):
            self._stands.set()
            self._lock.acquire()

    def __exit__(self, *exc):
        self._lock.release()

    def meanwhile(self, work):
        """Let another thread work; returns when it is done, or has to wait for this lock."""

        def run():
            try:
                work()
            finally:
                self._stands.set()

        self._stands.clear()
        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()
        self._stands.wait()

    def join(self):
        """Return when all of them are done."""
        for thread in self.threads:
            thread.join()
