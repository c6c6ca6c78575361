"""Label sets that are made when they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.registry_labels import AT_A_TIME, RegistryLabels

SERIES = [(("__name__", "a"), ("i", str(i))) for i in range(2 * AT_A_TIME + 3)]


def made() -> RegistryLabels:
    registry = SeriesRegistry()
    return RegistryLabels(registry, registry.intern_many(SERIES))


def test_they_are_as_a_list_would_be():
    """Length, items from both ends, slices, iteration, membership and equality."""
    labels = made()
    assert len(labels) == len(SERIES)
    assert (labels[0], labels[-1]) == (SERIES[0], SERIES[-1])
    assert list(labels) == SERIES
    assert list(labels[5:9]) == SERIES[5:9]
    assert SERIES[7] in labels
    assert labels == SERIES
    assert labels[1:] != SERIES
    assert labels[2:4] == made()[2:4]
    assert labels[2:4] != labels[3:5]
    with pytest.raises(IndexError):
        labels[len(SERIES)]


def test_a_slice_holds_numbers_only():
    """That is what makes a query over all series cheap."""
    labels = made()
    part = labels[10:20]
    assert isinstance(part, RegistryLabels)
    assert np.shares_memory(part._numbers, labels._numbers)
