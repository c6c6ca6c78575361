"""Snapshots of backups: marked, locked while they are copied, and removed by whoever comes next."""

from __future__ import annotations

import pytest

from tinyobs.errors import StorageError
from tinyobs.storage.backup_snapshot import claim_snapshot, remove_left_snapshots


@pytest.fixture
def data(tmp_path):
    """A data directory with three snapshots."""
    for name in ("a", "b", "c"):
        (tmp_path / "snapshots" / name / "segments").mkdir(parents=True)
        (tmp_path / "snapshots" / name / "MANIFEST").write_bytes(b"x")
    return tmp_path


def names(data):
    return sorted(p.name for p in (data / "snapshots").iterdir())


def test_one_that_is_copied_stays_until_it_is_released(data):
    """Others leave it alone while it is locked; then it is gone."""
    claimed = claim_snapshot(data, "a")
    assert claimed.disk.read("MANIFEST") == b"x"
    assert names(data) == ["a.backup", "b", "c"]
    assert remove_left_snapshots(data) == []
    claimed.remove()
    assert names(data) == ["b", "c"]


def test_what_killed_backups_left_is_removed_and_nothing_else(data):
    """A killed process holds no lock; snapshots that somebody asked for have no mark."""
    for name in ("a", "b"):
        claim_snapshot(data, name)._lock.unlock()  # as the kernel does when a process ends
    (data / "snapshots" / "b.backup" / "MANIFEST").unlink()  # killed while it removed the snapshot
    (data / "snapshots" / "stray.backup").write_bytes(b"a file")
    assert remove_left_snapshots(data) == ["a.backup", "b.backup"]
    assert names(data) == ["c", "stray.backup"]
    assert remove_left_snapshots(data) == []


def test_a_directory_without_snapshots(tmp_path):
    """Nothing is left behind there."""
    assert remove_left_snapshots(tmp_path) == []


def test_a_snapshot_that_cannot_be_claimed_does_not_stay(data):
    """The error names it; no unmarked snapshot remains that nobody would remove."""
    (data / "snapshots" / "a.backup").write_bytes(b"a file where the folder should go")
    with pytest.raises(StorageError, match=r"cannot use the snapshot .*/a for a backup"):
        claim_snapshot(data, "a")
    assert names(data) == ["a.backup", "b", "c"]
