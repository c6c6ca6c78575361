"""Fixtures for the collectors."""

from __future__ import annotations

import pytest
from host_tree import HostTree


@pytest.fixture
def tree(tmp_path):
    """Give an empty host."""
    return HostTree(tmp_path)
