"""A gate for tests: what it turns away can be told by the labels."""

from __future__ import annotations

import numpy as np

from tinyobs.model.gate import STAND_INS
from tinyobs.model.hash_table import MISSING
from tinyobs.model.labels import get


class Odd:
    """A gate that turns away series whose `n` is odd."""

    closed = MISSING

    def __init__(self):
        self.passed = []
        self.columns = []

    def recall(self, hashes):
        """Know nothing."""
        return np.full(len(hashes), MISSING, np.uint32)

    def screen(self, candidates):
        """Look at the labels."""
        odd = [int(get(candidates.labels(i), "n") or 0) % 2 for i in range(len(candidates))]
        return np.where(np.array(odd, np.bool_), np.uint32(STAND_INS), np.uint32(MISSING))

    def numbered(self, refs, columns):
        """Remember."""
        self.passed += refs.tolist()
        self.columns += columns.tolist()

    def labels_of(self, ref):
        """Name the stand-in."""
        return (("__name__", "odd"),)
