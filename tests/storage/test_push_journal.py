"""The journal of pushed groups: every crash, every fault, every damage."""

from __future__ import annotations

import contextlib
import errno
import random
import re
from pathlib import Path

import pytest
from watched_lock import WatchedLock

from tinyobs.errors import CorruptionError, DiskFullError, FormatVersionError, StorageError
from tinyobs.storage.layout import PUSH_JOURNAL, PUSHGATEWAY_FOLDER
from tinyobs.storage.push_journal import PushJournal
from tinyobs.storage.push_journal_format import MAGIC, TEXT, Deleted, Failed, Pushed, Wiped
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import Loss, MemDisk

PAGE = Path(__file__).parents[2] / "docs" / "format" / "pushgateway-journal.md"
KEYS = [(("job", "a"),), (("instance", "i"), ("job", "b")), (("empty", ""), ("job", "ä"))]


def change(i):
    """The record number `i` of a life of pushes."""
    key = KEYS[i % 3]
    if i % 11 == 10:
        return Wiped(i)
    if i % 7 == 6:
        return Deleted(key, i)
    if i % 5 == 4:
        return Failed(key, i)
    return Pushed(key, i, bool(i % 2), TEXT, b"m %d\n" % i * (i % 4))


def live(journal, begin, end, kept):
    """Make changes one commit after the other, as a gateway does; `kept` are all so far.  Yields behind each commit."""
    for i in range(begin, end):
        kept.append(change(i))
        if journal.wants_rewrite:
            journal.rewrite(list(kept))
        else:
            journal.append([kept[-1]])
        yield i


def small(disk):
    return PushJournal(disk, rewrite_bytes_min=400)


def test_what_was_written_is_read():
    """All kinds of records, keys with empty values, empty bodies; across restarts and rewrites."""
    disk, kept = MemDisk(), []
    for life in range(6):
        journal = small(disk)
        assert list(journal.open().records) == kept
        for _ in live(journal, 9 * life, 9 * life + 9, kept):
            pass
        journal.close()
    assert disk.list(PUSHGATEWAY_FOLDER) == ["journal"]
    assert sum(c.method == "rename" for c in disk.changes) >= 2, "it was written anew because of its size"


@pytest.mark.parametrize("loss", list(Loss))
def test_every_crash_keeps_what_was_acknowledged(loss):
    """Whatever is lost behind any change: all that was acknowledged is there, in order, and nothing that was not asked for."""
    disk, kept, notes = MemDisk(), [], [(0, 0)]
    for begin in (0, 20):
        journal = small(disk)
        journal.open()
        for i in live(journal, begin, begin + 20, kept):
            notes.append((len(disk.changes), i + 1))
        journal.close()
    everything = [change(i) for i in range(40)]
    for count in range(len(disk.changes) + 1):
        acknowledged = max(done for at, done in notes if at <= count)
        found = disk.after_crash(count, loss, seed=count)
        journal = small(found)
        records = list(journal.open().records)
        assert records == everything[: len(records)], f"after change {count}"
        assert acknowledged <= len(records) <= acknowledged + 1, f"after change {count}"
        journal.close()
        again = small(found)
        assert list(again.open().records) == records, "opening twice is the same"
        if again.wants_rewrite:
            again.rewrite([*records, change(99)])
        else:
            again.append([change(99)])
        again.close()
        assert list(small(found).open().records) == [*records, change(99)], "appending still works"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_every_fault_is_told_and_heals(code):
    """A change that failed is not acknowledged; the next one writes the file anew, and nothing acknowledged is missing."""
    probe = FaultDisk(MemDisk())
    journal = small(probe)
    journal.open()
    for _ in live(journal, 0, 25, []):
        pass
    for number in range(probe.change_count):
        disk = FaultDisk(MemDisk(), {number: code})
        journal = small(disk)
        journal.open()
        kept, told = [], []
        for i in range(25):
            kept.append(change(i))
            try:
                if journal.wants_rewrite:
                    journal.rewrite(list(kept))
                else:
                    journal.append([kept[-1]])
            except StorageError as e:
                told.append(type(e))
                kept.pop()
                assert journal.wants_rewrite, "nothing is assumed of a file after a fault"
        assert told == [DiskFullError if code == errno.ENOSPC else StorageError], number
        journal.close()
        found = list(small(disk.inner).open().records)
        assert found in (kept, [*kept, change(24)]), "what was never acknowledged may be there at the end"


def test_damage_in_the_middle_is_named():
    """A byte changed where the file was durable is an error that says where, wherever it is; at the end it is a torn write."""
    disk, kept = MemDisk(), []
    journal = PushJournal(disk)
    journal.open()
    for _ in live(journal, 0, 12, kept):
        pass
    data = disk.read(PUSH_JOURNAL)
    last = data.rindex(b"m 7\n")
    rng = random.Random(3)
    for offset in [*range(len(MAGIC)), *rng.sample(range(len(MAGIC), last), 60)]:
        broken = MemDisk({PUSH_JOURNAL: data})
        broken.damage(PUSH_JOURNAL, offset)
        with pytest.raises((CorruptionError, FormatVersionError), match="pushgateway/journal"):
            PushJournal(broken).open()


def test_damage_in_a_file_written_anew_is_named():
    """Also where nothing was appended since: it got its name only when it was durable."""
    disk = MemDisk()
    journal = PushJournal(disk)
    journal.open()
    journal.rewrite([change(i) for i in range(4)])
    data = disk.read(PUSH_JOURNAL)
    for offset in range(len(MAGIC), len(data) - 20):
        broken = MemDisk({PUSH_JOURNAL: data})
        broken.damage(PUSH_JOURNAL, offset)
        with pytest.raises(CorruptionError):
            PushJournal(broken).open()


def test_a_torn_end_is_cut_off():
    """And told."""
    disk, kept = MemDisk(), []
    journal = PushJournal(disk)
    journal.open()
    for _ in live(journal, 0, 4, kept):
        pass
    torn = MemDisk({PUSH_JOURNAL: disk.read(PUSH_JOURNAL)[:-3], PUSH_JOURNAL + ".tmp": b"half"})
    journal = PushJournal(torn)
    found = journal.open()
    assert list(found.records) == kept[:-1]
    assert found.torn_bytes > 0
    assert torn.list(PUSHGATEWAY_FOLDER) == ["journal"]


def test_files_of_others():
    """A newer version, and what is no journal at all, are refused."""
    with pytest.raises(FormatVersionError, match="upgrade"):
        PushJournal(MemDisk({PUSH_JOURNAL: MAGIC[:7] + b"\x02"})).open()
    with pytest.raises(CorruptionError):
        PushJournal(MemDisk({PUSH_JOURNAL: b"hello, world"})).open()
    with pytest.raises(CorruptionError):
        PushJournal(MemDisk({PUSH_JOURNAL: b""})).open()


def test_random_bytes():
    """Nothing but the errors of storages is raised for any content."""
    rng = random.Random(5)
    for _ in range(300):
        data = MAGIC + rng.randbytes(rng.randrange(80))
        with contextlib.suppress(StorageError):
            PushJournal(MemDisk({PUSH_JOURNAL: data})).open()


def test_the_example_of_the_page():
    """The bytes on the page are what it says."""
    data = bytes.fromhex(re.findall(r"```hex\n(.*?)```", PAGE.read_text(), re.DOTALL)[-1])
    disk = MemDisk({PUSH_JOURNAL: data})
    found = PushJournal(disk).open()
    key = (("instance", "i"), ("job", "a"))
    time_ms = 1_700_000_000_000
    assert list(found.records) == [
        Pushed(key, time_ms, True, TEXT, b"m 1\n"),
        Failed(key, time_ms + 1000),
        Deleted(key, time_ms + 2000),
        Wiped(time_ms + 3000),
    ]
    assert found.torn_bytes == 0


@pytest.mark.parametrize(
    "write",
    [lambda j: j.append([change(1)]), lambda j: j.rewrite([change(0), change(1)])],
    ids=["append", "rewrite"],
)
def test_a_journal_that_is_closed_while_it_is_written(write):
    """Whoever closes it waits until what is being written is durable; from then on nothing is written any more."""
    disk, done = MemDisk(), []
    journal = PushJournal(disk)
    journal.rewrite([change(0)])
    lock = journal._writing = WatchedLock()
    create, opened = disk.create, journal._file

    def close():
        journal.close()
        done.append("closed")

    def watched(file):
        sync = file.sync

        def overtaken():
            lock.meanwhile(close)
            sync()
            done.append("durable")

        file.sync = overtaken
        return file

    watched(opened)
    disk.create = lambda name: watched(create(name))
    write(journal)
    lock.join()
    assert done == ["durable", "closed"]
    assert journal.size == 0
    with pytest.raises(StorageError, match="closed"):
        journal.append([change(2)])
    assert list(PushJournal(disk).open().records) == [change(0), change(1)]
