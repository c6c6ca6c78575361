"""Services for tests of limits: with metadata, a clock that tests move, and a way to configure."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from tinyobs.builtin.limits import Limits
from tinyobs.config import loader
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping, to_text
from tinyobs.testing.services import FakeServices

HOUR = 3_600_000
START = 500_000 * HOUR


class Scene(FakeServices):
    """An agent's limits and nothing else."""

    def __init__(self, **limits):
        super().__init__()
        self.metadata = {}
        self.open_storage = lambda: SimpleNamespace(metadata=lambda: self.metadata)
        self.now_ms = START
        self.clock = SimpleNamespace(now_ms=lambda: self.now_ms)
        self.configure(**limits)
        self.limits = Limits(self)
        self.process()

    def configure(self, **limits):
        """Set limits as a reload would."""
        self.config = loader.parse(f"tinyobs: {{limits: {dict(limits)!r}}}\n", "test.yml")

    def batch(self, *series, at=0, value=1.0, **more):
        """Return a batch with one sample for each series."""
        refs = self.registry.intern_many(from_mapping({"__name__": "x", **labels}) for labels in series)
        count = len(refs)
        values = np.broadcast_to(np.asarray(value, np.float64), count).copy()
        return Batch(refs, np.full(count, self.now_ms + at), values, "test", **more)

    def process(self, *series, **more):
        """Return what becomes of a batch."""
        return self.limits.process(self.batch(*series, **more))

    def stored(self, batch):
        """Return the samples of a batch as {series: value}."""
        return {
            to_text(self.registry.labels(r)): v for r, v in zip(batch.refs.tolist(), batch.values.tolist(), strict=True)
        }
