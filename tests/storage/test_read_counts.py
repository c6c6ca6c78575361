"""What reading a selection costs: pages decoded and cache hits, counted for who asks."""

from __future__ import annotations

import numpy as np

from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.model.matchers import Matcher, MatchType
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import open_directory
from tinyobs.storage.page_cache import TALLY

T0 = 1_700_000_000_000


def test_pages_and_hits_are_counted_for_the_selection_that_asks(tmp_path):
    """The first reading decodes pages, a second one finds them; selections that do not ask are not counted."""
    registry = SeriesRegistry()
    engine = open_directory(str(tmp_path), registry, lambda: T0 + 7_200_000)
    refs = registry.intern_many(from_mapping({"__name__": "m", "i": str(i)}) for i in range(20))
    for k in range(480):
        engine.append([Batch(refs, np.full(20, T0 + k * 15_000, np.int64), np.full(20, float(k)))])
    while engine.compact():
        pass
    matchers = (Matcher(MatchType.EQUAL, "__name__", "m"),)
    found = []
    for _ in range(2):
        with engine.querier(T0, T0 + 7_200_000) as querier:
            selection = querier.select(matchers, T0, T0 + 7_200_000)
            counts = selection.count_reads()
            assert (counts.pages, counts.cache_hits) == (0, 0)
            assert selection.read(0, 20).samples == 9600
            other = querier.select(matchers, T0, T0 + 7_200_000)
            other.read(0, 20)
            found.append((counts.pages, counts.cache_hits))
    engine.close()
    assert TALLY.counts is None
    (pages, _), (again, hits) = found
    assert pages > 0
    assert again < pages
    assert hits > 0
