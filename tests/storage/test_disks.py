"""Disks: the contract on each implementation, and what is particular to one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from tinyobs.errors import LockedError, StorageError
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.testing import mem_disk
from tinyobs.testing.check_disk import check_disk
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import Loss, MemDisk


def test_posix_disk_keeps_the_contract(tmp_path):
    """A directory of the file system is a disk."""
    check_disk(lambda: PosixDisk(tmp_path))


def test_mem_disk_keeps_the_contract():
    """A memory disk behaves like a directory as long as it does not crash."""
    disk = MemDisk()
    check_disk(lambda: disk)


def test_files_that_come_while_a_memory_disk_is_looked_at(monkeypatch):
    """The threads of a storage list and sync folders while others create files."""
    disk = MemDisk({"a/1": b"", "a/2": b"", "b/1": b""})
    folder_of = mem_disk._folder

    def another(name):
        disk._files.setdefault(f"c/{len(disk._files)}", disk._files["a/1"])
        return folder_of(name)

    monkeypatch.setattr(mem_disk, "_folder", another)
    assert disk.list("a") == ["1", "2"]
    disk.sync_folder("a")
    assert disk.list("b") == ["1"]


def test_fault_disk_without_faults_keeps_the_contract():
    """A fault disk without faults is the disk inside."""
    disk = FaultDisk(MemDisk())
    check_disk(lambda: disk)


def test_the_holder_of_the_lock_is_named(tmp_path):
    """A second process is told the pid of the first."""
    disk = PosixDisk(tmp_path)
    disk.lock()
    code = f"from tinyobs.storage.posix_disk import PosixDisk; PosixDisk({str(tmp_path)!r}).lock()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"is in use by the process with pid {os.getpid()}" in done.stderr
    assert "LockedError" in done.stderr
    disk.unlock()


def test_the_lock_dies_with_its_process(tmp_path):
    """A lock file left behind by a dead process does not keep anyone out."""
    code = f"from tinyobs.storage.posix_disk import PosixDisk; PosixDisk({str(tmp_path)!r}).lock()"
    subprocess.run([sys.executable, "-c", code], check=True)
    PosixDisk(tmp_path).lock()


def test_a_directory_that_cannot_be_made_is_a_storage_error(tmp_path):
    """A file where the directory should be is told in words."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot create the data directory"):
        PosixDisk(tmp_path / "file" / "data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_rights_is_a_storage_error(tmp_path):
    """A directory that may not be written is told in words."""
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="no right"):
        PosixDisk(tmp_path)


def test_mem_disk_locks_once():
    """The memory disk has one holder."""
    disk = MemDisk()
    disk.lock()
    with pytest.raises(LockedError):
        disk.lock()


def _written():
    """f: 8 bytes synced, 8 not; its name synced.  g: a renamed file with synced data, the rename not synced."""
    disk = MemDisk()
    file = disk.create("f")
    file.append(b"durable.")
    file.sync()
    old = disk.create("old")
    old.append(b"renamed")
    old.sync()
    disk.sync_folder("")
    disk.rename("old", "g")
    file.append(b"unsynced")
    return disk


@pytest.mark.parametrize(
    ("loss", "f", "names"),
    [
        (Loss.NOTHING, b"durable.unsynced", ["f", "g"]),
        (Loss.DATA, b"durable.", ["f", "g"]),
        (Loss.NAMES, b"durable.unsynced", ["f", "old"]),
        (Loss.DATA_AND_NAMES, b"durable.", ["f", "old"]),
        (Loss.TORN_WRITE, b"durable.unsy", ["f", "g"]),
        (Loss.ZEROS, b"durable." + bytes(8), ["f", "g"]),
        (Loss.HOLE, b"durable." + bytes(4) + b"nced", ["f", "g"]),
        (Loss.BOTH_NAMES, b"durable.unsynced", ["f", "g", "old"]),
    ],
)
def test_a_crash_loses_what_it_says(loss, f, names):
    """Each kind of loss does to unsynced changes what its name says."""
    disk = _written()
    found = disk.after_crash(len(disk.changes), loss)
    assert found.read("f") == f
    assert found.list("") == names


def test_a_crash_in_the_middle_sees_a_prefix():
    """Changes behind the crash never happened."""
    disk = _written()
    assert disk.after_crash(0, Loss.NOTHING).list("") == []
    assert disk.after_crash(2, Loss.NOTHING).read("f") == b"durable."


def test_faults_hit_the_change_they_are_meant_for():
    """The numbered change fails with its errno, and a failing write leaves half behind."""
    disk = FaultDisk(MemDisk(), {2: errno.EIO})
    file = disk.create("f")
    file.append(b"one")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        file.append(b"four")
    assert disk.read("f") == b"onefo"
    disk.full = True
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        disk.create("g")
    assert disk.free_bytes() == 0


def test_a_new_data_directory_is_durable(tmp_path, monkeypatch):
    """The folders that name the new ones are synced, so that power loss does not take the whole directory away."""
    synced, fsync = [], os.fsync

    def watched(fd):
        synced.append(os.path.realpath(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    PosixDisk(tmp_path / "a" / "b")
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a")]
    PosixDisk(tmp_path / "a" / "b")
    assert len(synced) == 2
