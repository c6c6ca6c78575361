"""What is acknowledged is seen by every view that is made afterwards."""

from __future__ import annotations

from engine_cases import START_MS, append, contents, labels, open_engine

from tinyobs.testing.mem_disk import MemDisk


def test_a_view_made_while_the_log_is_written_does_not_outlive_the_append(monkeypatch):
    """A query during the fsync sees the batch not yet, and does not hide it from the queries after."""
    engine = open_engine(MemDisk())
    write = engine.wal.log
    during = []

    def write_and_read(*arguments):
        write(*arguments)
        during.append(contents(engine))

    monkeypatch.setattr(engine.wal, "log", write_and_read)
    append(engine, [(labels("x"), START_MS, 1.0)])
    assert during == [{}]
    assert contents(engine) == {labels("x"): [(START_MS, 1.0)]}
    engine.close()
