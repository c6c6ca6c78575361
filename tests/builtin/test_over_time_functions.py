"""The functions of MetricsQL that are built in as a plugin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinyobs.builtin.over_time_functions import distinct_over_time, tinyobs_promql_functions, zscore_over_time

ROWS = arrays(np.float64, (3, 7), elements=st.floats(-100, 100).map(lambda x: round(x, 1)))


def test_both_are_declared_with_a_sentence() -> None:
    """Their names are those of MetricsQL."""
    declared = tinyobs_promql_functions()
    assert [f.name for f in declared] == ["zscore_over_time", "distinct_over_time"]
    assert all(f.doc.endswith(".") for f in declared)


def test_zscores_by_hand() -> None:
    """1, 2, 3 has the deviation sqrt(2/3); equal values have none."""
    found = zscore_over_time(np.zeros((2, 3), np.int64), np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    assert found == pytest.approx([1.5**0.5, 0.0])


@given(ROWS)
def test_distinct_counts_values(values: np.ndarray) -> None:
    """It is the size of the set of values; NaN counts once."""
    values[0, :2] = np.nan
    found = distinct_over_time(np.zeros(values.shape, np.int64), values)
    assert found.tolist() == [len(np.unique(row)) for row in values]
