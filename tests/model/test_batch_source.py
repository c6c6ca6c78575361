"""Whom a batch comes from."""

from __future__ import annotations

import numpy as np
from attrs import fields

from tinyobs.model.batch import Batch


def test_a_source_is_given_once_and_all_else_stays():
    """Every field but that; a batch that has a source keeps it, and one that gets none is not copied."""
    other = {f.name: object() for f in fields(Batch) if f.name not in ("refs", "source")}
    batch = Batch(np.arange(2, dtype=np.uint32), **other)
    given = batch.of_source("ann")
    assert given.source == "ann"
    assert given.refs is batch.refs
    assert {name: getattr(given, name) for name in other} == other
    assert given.of_source("bob") is given
    assert batch.of_source("") is batch
