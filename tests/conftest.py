"""Settings for all tests."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# How long an example takes says more of the machine than of the code; in CI the examples are the same every time.
settings.register_profile("tinyobs", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("tinyobs")

# A traceback is its lines.  What structlog takes where `rich` is installed walks through the variables of everything that
# runs, which is slow, and fails when one of them changes meanwhile.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that sets up logging does so for the whole process: after each test it is as before."""
    root = logging.getLogger()
    handlers, level, configured = list(root.handlers), root.level, structlog.get_config()
    yield
    structlog.configure(**configured)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _priority_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that gives its process a lower priority would do so for all tests after it."""
    monkeypatch.setattr(os, "nice", lambda increment: increment)


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """A command arranges the process as if it were its own: the collector of garbage, turns of threads, SIGHUP."""
    is_collecting, thresholds, interval = gc.isenabled(), gc.get_threshold(), sys.getswitchinterval()
    on_hangup = signal.getsignal(signal.SIGHUP)
    yield
    (gc.enable if is_collecting else gc.disable)()
    gc.set_threshold(*thresholds)
    if gc.get_freeze_count():
        gc.unfreeze()
    sys.setswitchinterval(interval)
    if signal.getsignal(signal.SIGHUP) is not on_hangup:
        signal.signal(signal.SIGHUP, on_hangup)
