"""Scenes for tests of limits."""

from __future__ import annotations

import pytest
from limit_scenes import Scene


@pytest.fixture
def scene():
    """Make a scene with limits."""
    return Scene
