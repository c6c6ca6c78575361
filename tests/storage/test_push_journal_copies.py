"""The journal of pushed groups in snapshots and backups, after a restore to a point in time, and when it is damaged."""

from __future__ import annotations

import pytest
from damage_cases import copy, written
from engine_cases import START_MS, Clock, open_engine
from life_cases import fill, losses

from tinyobs.errors import StorageError
from tinyobs.storage.backup import make_backup, prune_backups, verify_backups
from tinyobs.storage.layout import MANIFEST, PUSH_JOURNAL, PUSHGATEWAY_FOLDER, snapshot_folder
from tinyobs.storage.push_journal import PushJournal, read_journal
from tinyobs.storage.push_journal_format import TEXT, Deleted, Pushed
from tinyobs.storage.repair import apply_repair, plan_repair
from tinyobs.storage.restore import cut_after, restore_backup
from tinyobs.storage.verify import verify_directory
from tinyobs.testing.mem_disk import MemDisk

KEY, OTHER = (("job", "a"),), (("job", "b"),)
NOW = START_MS + 1_000_000
RECORDS = [
    Pushed(KEY, START_MS + 1, True, TEXT, b"m 1\n"),
    Pushed(OTHER, START_MS + 2, True, TEXT, b"m 2\n"),
    Deleted(OTHER, START_MS + 3),
    Pushed(KEY, START_MS + 4, True, TEXT, b"m 3\n"),
]


def journalled(disk, records=RECORDS):
    """Give a directory a journal, one append for each record; returns it open."""
    journal = PushJournal(disk)
    journal.open()
    journal.rewrite(records[:1])
    for record in records[1:]:
        journal.append([record])
    return journal


@pytest.fixture(scope="module")
def sound():
    disk = written()
    journalled(disk).close()
    return disk


def records_of(disk):
    return list(read_journal(disk).records)


def extracted(disk, folder):
    """The files of a folder as a disk of their own."""
    files = {n.removeprefix(f"{folder}/"): bytes(i.data) for n, i in disk._files.items() if n.startswith(f"{folder}/")}
    return MemDisk(files)


@pytest.mark.parametrize("skip_head", [False, True])
def test_a_snapshot_has_the_groups_of_its_moment(skip_head):
    """What is pushed later is not in it; with and without the samples in memory."""
    disk = MemDisk()
    engine = open_engine(disk)
    journal = journalled(disk, RECORDS[:2])
    name = engine.snapshot(skip_head=skip_head)
    journal.append(RECORDS[2:])
    assert records_of(extracted(disk, snapshot_folder(name))) == RECORDS[:2]
    assert records_of(disk) == RECORDS


def test_a_snapshot_without_groups_has_no_folder_for_them():
    """As a data directory to which nobody pushed."""
    disk = MemDisk()
    name = open_engine(disk).snapshot()
    assert not [n for n in disk._files if n.startswith(snapshot_folder(name)) and PUSHGATEWAY_FOLDER in n]


def test_a_push_that_is_being_written_does_not_spoil_a_snapshot():
    """Whatever part of a record was written when the journal was read: what was acknowledged before is there."""
    disk = MemDisk()
    engine = open_engine(disk)
    journalled(disk, RECORDS[:3]).close()
    whole = len(disk.read(PUSH_JOURNAL))
    journal = PushJournal(disk)
    journal.open()
    journal.append(RECORDS[3:])
    data = disk.read(PUSH_JOURNAL)
    for size in range(whole, len(data)):
        disk._files[PUSH_JOURNAL].data[:] = data[:size]
        snapshot = extracted(disk, snapshot_folder(engine.snapshot()))
        assert list(PushJournal(snapshot).open().records) == RECORDS[:3]


def test_a_snapshot_that_has_its_manifest_has_the_journal():
    """Wherever the machine stops."""
    disk, clock = MemDisk(), Clock()
    engine = open_engine(disk, clock=clock)
    fill(engine, clock, 0, 5)
    journalled(disk)
    first = len(disk.changes)
    folder = snapshot_folder(engine.snapshot())
    checked = 0
    for count, loss in losses(disk, first, len(disk.changes)):
        found = disk.after_crash(count, loss, seed=count)
        if f"{folder}/{MANIFEST}" in found._files:
            assert records_of(extracted(found, folder)) == RECORDS
            checked += 1
    assert checked


def test_backups_have_the_journal(sound):
    """Each the one of its time; removing one leaves that of the other; restored to the byte."""
    source, store = copy(sound), MemDisk()
    first = make_backup(source, store, NOW)
    journal = PushJournal(source)
    journal.open()
    journal.append([Pushed(OTHER, NOW, True, TEXT, b"m 9\n")])
    second = make_backup(source, store, NOW + 1)
    (changed,) = {f.object for f in second.files} - {f.object for f in first.files}
    assert changed.endswith(".journal")
    assert second.copied_bytes == len(source.read(PUSH_JOURNAL))
    assert prune_backups(store, [second.name]).objects == 1
    assert verify_backups(store, [second]) == []
    target = MemDisk()
    restore_backup(store, second, target)
    assert target.read(PUSH_JOURNAL) == source.read(PUSH_JOURNAL)
    assert verify_directory(target).findings == []


def test_nothing_is_restored_over_a_journal(sound):
    """A directory with groups is not empty."""
    store, target = MemDisk(), MemDisk()
    backup = make_backup(copy(sound), store, NOW)
    journalled(target).close()
    with pytest.raises(StorageError, match="not empty: it has journal"):
        restore_backup(store, backup, target)


@pytest.mark.parametrize("kept", range(len(RECORDS) + 1))
def test_restoring_to_a_point_in_time_forgets_later_pushes(sound, kept):
    """Those of the time itself stay; without this their values would be stored again after the start."""
    target = copy(sound)
    cut_after(target, START_MS + kept, NOW)
    assert records_of(target) == RECORDS[:kept]


def test_a_damaged_journal_is_found_and_taken_out_of_use(sound):
    """Verifying names it, a point in time is reached nevertheless, and a repair moves it away; then pushes are taken."""
    disk = copy(sound)
    disk.damage(PUSH_JOURNAL, 30)
    damaged = disk.read(PUSH_JOURNAL)
    (finding,) = verify_directory(disk).damage
    assert (finding.file, finding.offset) == (PUSH_JOURNAL, 8)
    assert verify_directory(disk, quick=True).damage == []
    cut_after(disk, START_MS + 1, NOW)
    assert disk.read(PUSH_JOURNAL) == damaged
    plan = plan_repair(disk)
    assert [step.partition(":")[0] for step in plan.steps] == [PUSH_JOURNAL]
    folder = apply_repair(disk, plan, NOW)
    assert disk.read(f"{folder}/{PUSH_JOURNAL}") == damaged
    assert verify_directory(disk).damage == []
    assert plan_repair(disk).steps == []
    journalled(disk).close()
    assert records_of(disk) == RECORDS
