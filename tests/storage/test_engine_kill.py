"""The engine on a real directory, killed without warning."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from engine_cases import contents, labels

from tinyobs.errors import LockedError
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import open_directory
from tinyobs.storage.options import EngineOptions

NOW = 1_700_000_000_000
CHILD = f"""
import sys
import numpy as np
from tinyobs.model.batch import Batch
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import open_directory
from tinyobs.storage.options import EngineOptions

registry = SeriesRegistry()
options = EngineOptions(block_ms=60_000, wal_file_bytes_max=4096)
engine = open_directory(sys.argv[1], registry, lambda: {NOW}, options)
refs = registry.intern_many([(("__name__", "m"), ("i", str(i))) for i in range(20)])
step = 0
while True:
    times = np.full(20, {NOW} - 3_000_000 + step * 1000)
    stored = engine.append([Batch(refs, times, np.full(20, float(step)))])[0].stored
    print(step, stored, flush=True)
    engine.maintain(int(times[0]))
    step += 1
"""


@pytest.mark.parametrize("acknowledged", [3, 120, 400])
def test_kill_9_loses_nothing_acknowledged(tmp_path, acknowledged):
    """All that the child reported as stored before it was killed is there, in whole batches."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            step, stored = map(int, line.split())
            assert stored == 20
            if step == 0:
                with pytest.raises(LockedError, match=str(child.pid)):
                    open_directory(tmp_path, SeriesRegistry(), lambda: NOW)
            if step >= acknowledged:
                child.send_signal(signal.SIGKILL)
                break
    engine = open_directory(tmp_path, SeriesRegistry(), lambda: NOW, EngineOptions(block_ms=60_000))
    got = contents(engine)
    assert set(got) == {labels("m", i=str(i)) for i in range(20)}
    assert len({len(samples) for samples in got.values()}) == 1
    for samples in got.values():
        assert len(samples) > acknowledged
        assert samples == [(NOW - 3_000_000 + i * 1000, float(i)) for i in range(len(samples))]
    assert (engine.statistics().segments > 0) == (acknowledged > 100)
    engine.close()
