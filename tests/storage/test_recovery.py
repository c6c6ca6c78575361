"""Opening a directory: what is expected after a crash, what is damage, and what the operator is told."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from engine_cases import BLOCK_MS, OPTIONS, START_MS, Clock, append, contents, labels, maintain_all, open_engine

from tinyobs.errors import CorruptionError, FormatVersionError, LockedError, StorageError
from tinyobs.model.batch import Batch
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage import manifest as manifests
from tinyobs.storage import recovery
from tinyobs.storage.engine import Engine, open_directory
from tinyobs.storage.layout import MANIFEST, wal_name
from tinyobs.storage.wal_format import FILE_HEADER
from tinyobs.testing.mem_disk import MemDisk

A, B = labels("a"), labels("b")
NOW = START_MS


def written(appends=5):
    """A disk with a closed engine's log."""
    disk = MemDisk()
    engine = open_engine(disk)
    for i in range(appends):
        append(engine, [(A, NOW + i, float(i)), (B, NOW + i, -float(i))])
    engine.close()
    return disk


def with_segments():
    """A disk with segments and a log."""
    disk = MemDisk()
    engine = open_engine(disk)
    for i in range(30):
        append(engine, [(A, NOW + i * 10_000, float(i))])
    maintain_all(engine, NOW)
    engine.close()
    return disk


def test_replay_gives_the_series_the_numbers_of_this_process():
    """A registry that already has other series gets those of the log behind them."""
    disk = written()
    registry = SeriesRegistry()
    registry.intern_many([labels("z"), B])
    engine = open_engine(disk, registry=registry)
    assert contents(engine)[A] == [(NOW + i, float(i)) for i in range(5)]
    assert contents(engine)[B] == [(NOW + i, -float(i)) for i in range(5)]


def test_many_restarts_add_up():
    """Sessions with numbers of their own follow each other in one log."""
    disk = MemDisk()
    for i in range(6):
        engine = open_engine(disk)
        first, second = (A, B) if i % 2 else (B, A)
        append(engine, [(first, NOW + i, 1.0), (second, NOW + i, 2.0)])
        engine.close()
    got = contents(open_engine(disk))
    assert [v for _, v in got[A]] == [2.0, 1.0] * 3
    assert [v for _, v in got[B]] == [1.0, 2.0] * 3


def test_a_torn_tail_is_cut_off_and_counted():
    """Bytes of a record that was never finished are dropped, once."""
    disk = written()
    disk.open_append(wal_name(1)).append(b"\x40\x00\x00\x00 half a record")
    engine = open_engine(disk)
    assert engine.statistics().replay_torn_bytes == 18
    assert len(contents(engine)[A]) == 5
    engine.close()
    assert open_engine(disk).statistics().replay_torn_bytes == 0


def test_every_damaged_byte_below_acknowledged_data_is_corruption():
    """A flipped byte anywhere before the last commit stops the start with file and offset."""
    size = written().size(wal_name(1))
    last = written(4).size(wal_name(1))
    assert last < size
    for at in range(last):
        disk = written()
        disk.damage(wal_name(1), at)
        with pytest.raises((CorruptionError, FormatVersionError)) as caught:
            open_engine(disk)
        assert wal_name(1) in str(caught.value)


def test_damage_in_an_older_log_file_is_corruption():
    """A file that was followed by another has no torn tail."""
    disk = written()
    open_engine(disk).close()
    disk.damage(wal_name(1), disk.size(wal_name(1)) - 1)
    with pytest.raises(CorruptionError, match="checksum"):
        open_engine(disk)


def test_a_missing_log_file_is_corruption():
    """Log files follow each other without a gap, from the one that the manifest names."""
    for victim in (1, 2):
        disk = written()
        for _ in range(2):
            open_engine(disk).close()
        disk.remove(wal_name(victim))
        with pytest.raises(CorruptionError, match="missing"):
            open_engine(disk)


def test_newer_formats_are_refused():
    """Data of a newer version is left alone, and the message says which."""
    disk = written()
    disk.damage(wal_name(1), 7, mask=0x05)
    with pytest.raises(FormatVersionError, match="log format 7"):
        open_engine(disk)
    disk = written()
    text = disk.read(MANIFEST).splitlines()[0].replace(b'"format":2', b'"format":9')
    disk.remove(MANIFEST)
    disk.create(MANIFEST).append(text + b"\n%08x\n" % zlib.crc32(text))
    with pytest.raises(FormatVersionError, match=r"format 9.*upgrade TinyObs"):
        open_engine(disk)


def test_a_damaged_manifest_is_corruption():
    """Any flipped byte of the manifest is noticed."""
    for at in range(len(written().read(MANIFEST))):
        disk = written()
        disk.damage(MANIFEST, at, mask=1)
        with pytest.raises(CorruptionError):
            open_engine(disk)


def test_a_missing_manifest_beside_data_is_refused():
    """Without a manifest only a directory without data may be begun."""
    disk = written()
    disk.remove(MANIFEST)
    with pytest.raises(StorageError, match="MANIFEST is missing"):
        open_engine(disk)


def test_a_missing_segment_is_refused_in_words():
    """A listed segment that is not there stops the start and says what to do."""
    disk = with_segments()
    disk.remove("segments/" + disk.list("segments")[0])
    with pytest.raises(StorageError, match="listed in MANIFEST but missing"):
        open_engine(disk)


def test_unlisted_files_go():
    """Unfinished segments and temporary files are removed and counted."""
    disk = with_segments()
    expected = disk.list("segments")
    disk.create("segments/00000999.seg").append(b"unfinished")
    disk.create("MANIFEST.tmp").append(b"unfinished")
    engine = open_engine(disk)
    assert engine.statistics().unlisted_files_removed == 2
    assert disk.list("segments") == expected
    assert "MANIFEST.tmp" not in disk.list("")


def test_a_damaged_segment_is_noticed_when_read():
    """A flipped byte in a segment is an error for the query that meets it, never wrong data."""
    expected = contents(open_engine(with_segments()))
    for at in range(0, 400, 7):
        disk = with_segments()
        name = "segments/" + disk.list("segments")[0]
        disk.damage(name, min(at, disk.size(name) - 1))
        try:
            assert contents(open_engine(disk)) == expected
        except CorruptionError as e:
            assert e.file == name  # noqa: PT017


def test_damage_that_a_query_meets_is_counted():
    """Every query that fails on a damaged page shows in the statistics."""
    disk = with_segments()
    name = "segments/" + disk.list("segments")[0]
    disk.damage(name, 60)
    engine = open_engine(disk)
    for failures in (1, 2, 3):
        with pytest.raises(CorruptionError):
            contents(engine)
        assert engine.statistics().corruptions_total == failures
    engine.close()


def test_the_lock_is_given_back_when_opening_fails():
    """A failed start leaves the directory free; a held one says so."""
    disk = written()
    disk.damage(wal_name(1), FILE_HEADER.size + 2)
    for _ in range(2):
        with pytest.raises(CorruptionError):
            open_engine(disk)
    disk = written()
    open_engine(disk)
    with pytest.raises(LockedError):
        open_engine(disk)


def test_progress_is_told():
    """The start reports the share of the log that is done, up to 1."""
    disk = written()
    open_engine(disk).close()
    told = []
    Engine.open(disk, SeriesRegistry(), OPTIONS, Clock(), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 2


@pytest.fixture
def lengths(monkeypatch):
    """How many samples the head was given at a time while the log was read."""
    found, samples = [], recovery._Receiver.samples

    def noting(receiver, refs, given, unique):
        found.append(len(refs))
        samples(receiver, refs, given, unique)

    monkeypatch.setattr(recovery._Receiver, "samples", noting)
    return found


def test_batches_are_united_while_replaying(tmp_path, lengths):
    """A million samples in batches of 2000 come back in columns that are worth their while."""
    registry = SeriesRegistry()
    refs = registry.intern_many(labels("m", i=str(i)) for i in range(2000))
    engine = open_directory(tmp_path, registry, lambda: NOW)
    for k in range(500):
        engine.append([Batch(refs, np.full(2000, NOW - 500_000 + k * 1000), np.arange(2000.0) + k)])
    engine.close()
    engine = open_directory(tmp_path, SeriesRegistry(), lambda: NOW)
    statistics = engine.statistics()
    assert statistics.replay_samples == sum(lengths) == 1_000_000
    assert np.mean(lengths) >= 50_000
    engine.close()


def test_small_batches_are_united_while_replaying(tmp_path, lengths):
    """However tiny they were."""
    registry = SeriesRegistry()
    refs = registry.intern_many(labels("m", i=str(i)) for i in range(10))
    options = attrs_never()
    engine = open_directory(tmp_path, registry, lambda: NOW, options)
    for k in range(5000):
        engine.append([Batch(refs, np.full(10, NOW - 500_000 + k * 100), np.arange(10.0) + k)])
    expected = contents(engine)
    engine.close()
    engine = open_directory(tmp_path, SeriesRegistry(), lambda: NOW, options)
    assert sum(lengths) == 50_000
    assert np.mean(lengths) >= 10_000
    assert contents(engine) == expected
    engine.close()


def attrs_never():
    """Options that do not wait for a real disk."""
    from tinyobs.storage.options import EngineOptions, SyncMode

    return EngineOptions(sync=SyncMode.NEVER)


def test_a_manifest_without_tiers_and_deletes_is_read_and_replaced():
    """A directory of the first format is opened, and from then on refused by those who know no other."""
    disk = with_segments()
    engine = open_engine(disk)
    expected = contents(engine)
    engine.close()
    plain = json.loads(disk.read(MANIFEST).splitlines()[0])
    assert plain.pop("deletes") == []
    text = json.dumps({**plain, "format": 1}).encode()
    disk.remove(MANIFEST)
    disk.create(MANIFEST).append(text + b"\n%08x\n" % zlib.crc32(text))
    assert contents(open_engine(disk)) == expected
    assert json.loads(disk.read(MANIFEST).splitlines()[0])["format"] == 2


def test_block_aligned_cuts():
    """Segments lie within the aligned blocks that their level says."""
    disk = with_segments()
    entries = manifests.decode_manifest(disk.read(MANIFEST)).segments
    assert len(entries) > 1
    for e in entries:
        width = BLOCK_MS * 3 ** max(0, e.level - 1)
        assert e.mint_ms // width == e.maxt_ms // width


def test_damage_to_the_last_record_of_a_closed_log_is_no_torn_tail():
    """After a stop in order every byte before the end mark was acknowledged: damage there stops the start."""
    disk = written()
    engine = open_engine(disk)
    append(engine, [(labels("last"), START_MS, 1.0)])
    name = "wal/" + disk.list("wal")[-1]
    size = disk.size(name)
    engine.close()
    assert disk.size(name) > size
    disk.damage(name, size - 3)
    with pytest.raises(CorruptionError) as caught:
        open_engine(disk)
    assert caught.value.file == name


def test_a_damaged_end_mark_loses_nothing():
    """The mark itself holds no samples: without it the log ends as after a crash."""
    disk = written()
    engine = open_engine(disk)
    append(engine, [(labels("last"), START_MS, 1.0)])
    expected = contents(engine)
    engine.close()
    name = "wal/" + disk.list("wal")[-1]
    disk.damage(name, disk.size(name) - 1)
    assert contents(open_engine(disk)) == expected
