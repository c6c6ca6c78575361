"""Fixtures of the scraping tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from trio.testing import MockClock

from tinyobs.testing.inline_threads import inline_threads


@pytest.fixture
def autojump_clock(autojump_clock: MockClock) -> Iterator[MockClock]:
    """A clock that does not jump while a body is read in a thread, as on a slow machine even a short one is."""
    with inline_threads():
        yield autojump_clock
