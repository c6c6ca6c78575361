"""Verifying a directory: sound ones are called sound, and every kind of damage is found and told with its place."""

from __future__ import annotations

import attrs
import pytest
from damage_cases import SERIES, copy, files_of, first_segment, page_table, written
from engine_cases import START_MS, append, maintain_all, open_engine

from tinyobs.errors import FormatVersionError, LockedError, StorageError
from tinyobs.storage.findings import Severity
from tinyobs.storage.layout import MANIFEST, segment_name, wal_name
from tinyobs.storage.manifest import encode_manifest, read_manifest
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.storage.read_only_disk import ReadOnlyDisk
from tinyobs.storage.verify import verify_directory
from tinyobs.testing.mem_disk import MemDisk


@pytest.fixture(scope="module")
def sound():
    return written()


def test_a_sound_directory_has_no_findings_and_is_not_touched(sound):
    """Everything is counted, and no byte changes."""
    disk = copy(sound)
    before, told = files_of(disk), []
    report = verify_directory(disk, progress=lambda file, share: told.append(share))
    assert report.findings == []
    manifest = read_manifest(disk)
    assert report.segments == len(manifest.segments) > 1
    assert report.samples == sum(e.samples for e in manifest.segments)
    assert report.samples + report.log_samples >= 40 * len(SERIES)
    assert report.log_files >= 3
    assert files_of(disk) == before
    assert disk.changes == []
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_an_empty_directory_is_sound():
    """There is nothing that could be damaged."""
    assert verify_directory(MemDisk()).findings == []


def test_every_byte_of_a_segment_is_covered(sound):
    """A flipped byte anywhere in a segment is found, with the file and what is lost."""
    name = segment_name(first_segment(sound).sequence)
    for at in range(0, sound.size(name), 3):
        disk = copy(sound)
        disk.damage(name, at)
        try:
            damage = verify_directory(disk).damage
        except FormatVersionError:  # the byte is that of the version
            continue
        assert damage, at
        assert damage[0].file == name
        assert damage[0].lost
        assert "repair" in damage[0].advice


def test_a_damaged_page_is_told_with_its_place_and_its_loss(sound):
    """The offset is that of the page; series, samples and times are named."""
    name = segment_name(first_segment(sound).sequence)
    table = page_table(sound, name)
    disk = copy(sound)
    disk.damage(name, int(table.offsets[0]) + 30)
    (finding,) = verify_directory(disk).damage
    assert finding.offset == int(table.offsets[0])
    assert f"{int(table.samples[0])} samples of {int(table.counts[0])} series from 2023-" in finding.lost
    assert str(finding).startswith(f"damage: {name} at byte {finding.offset}: ")


def test_missing_and_cut_segments(sound):
    """A segment that is not there and one that ends too early cost all that they held."""
    entry = first_segment(sound)
    name = segment_name(entry.sequence)
    for spoil in (lambda d: d.remove(name), lambda d: d.truncate(name, 100), lambda d: d.truncate(name, 0)):
        disk = copy(sound)
        spoil(disk)
        (finding,) = verify_directory(disk).damage
        assert f"{entry.samples} samples of {entry.series} series" in finding.lost


def test_the_quick_check_reads_no_pages(sound):
    """It finds missing and cut files, and not what lies within."""
    name = segment_name(first_segment(sound).sequence)
    disk = copy(sound)
    disk.damage(name, int(page_table(sound, name).offsets[0]) + 30)
    assert verify_directory(disk, quick=True).findings == []
    disk.truncate(name, 200)
    assert verify_directory(disk, quick=True).damage


def test_a_damaged_or_missing_manifest(sound):
    """Either is damage; there is nothing to check against."""
    disk = copy(sound)
    disk.damage(MANIFEST, 20, mask=1)
    assert verify_directory(disk).damage[0].file == MANIFEST
    disk.remove(MANIFEST)
    assert "missing" in verify_directory(disk).damage[0].problem


def test_damage_in_the_log_tells_what_lies_behind_it(sound):
    """Samples of sound records that build on the damaged one are counted as lost; later sessions are not."""
    disk = copy(sound)
    first = read_manifest(disk).wal_first
    name = wal_name(first + 1)  # the second session
    disk.damage(name, 200)
    (finding,) = verify_directory(disk).damage
    assert finding.file == name
    assert 0 < finding.offset <= 200
    assert "further samples from 2023-" in finding.lost


def test_a_torn_tail_and_leftovers_are_normal(sound):
    """What a crash leaves behind is told, and is no damage."""
    disk = copy(sound)
    last = disk.list("wal")[-1]
    disk.truncate(f"wal/{last}", disk.size(f"wal/{last}") - 20)  # the mark of a stop in order, and a bit more
    disk.create("segments/00000999.seg").append(b"unfinished")
    disk.create("MANIFEST.tmp").append(b"x")
    report = verify_directory(disk)
    assert report.damage == []
    assert {f.file for f in report.findings} == {f"wal/{last}", "segments/00000999.seg", "MANIFEST.tmp"}
    assert {f.severity for f in report.findings} == {Severity.NORMAL}


def test_damaged_imports_are_told(sound):
    """A segment that waits to be taken in is checked as well."""
    disk = copy(sound)
    disk.make_folder("incoming")
    data = disk.read(segment_name(first_segment(disk).sequence))
    disk.create("incoming/good.seg").append(data)
    disk.create("incoming/bad.seg").append(data[:50])
    (finding,) = verify_directory(disk).damage
    assert finding.file == "incoming/bad.seg"


def test_a_directory_in_use_is_refused_and_can_be_checked_live(tmp_path):
    """The lock names its holder; a check of a live directory takes no lock and sees no leftovers."""
    disk = PosixDisk(tmp_path / "data")
    engine = open_engine(disk)
    append(engine, [(s, START_MS, 1.0) for s in SERIES])
    looking = ReadOnlyDisk(tmp_path / "data")
    with pytest.raises(LockedError, match="pid"):
        looking.lock()
    assert verify_directory(looking, live=True).damage == []
    engine.close()
    looking.lock()
    looking.unlock()


def test_a_read_only_disk_refuses_every_change(tmp_path):
    """Nothing can be written through it, and a directory that is not there is told."""
    (tmp_path / "x").write_text("x")
    disk = ReadOnlyDisk(tmp_path)
    for change in (
        lambda: disk.create("y"),
        lambda: disk.open_append("x"),
        lambda: disk.truncate("x", 0),
        lambda: disk.rename("x", "y"),
        lambda: disk.remove("x"),
        lambda: disk.make_folder("z"),
    ):
        with pytest.raises(OSError, match="reading only"):
            change()
    with pytest.raises(StorageError, match="there is no directory"):
        ReadOnlyDisk(tmp_path / "gone")


class Shifting(MemDisk):
    """A disk whose directory is compacted by someone else after so many looks at files."""

    def __init__(self, disk, change, looks):
        super().__init__(files_of(disk))
        self.change, self.looks = change, looks

    def map(self, name):
        self.looks -= 1
        if self.looks == 0:
            self.change(self)
        return super().map(name)


@pytest.mark.parametrize("looks", range(1, 9))
def test_files_may_come_and_go_while_a_live_directory_is_checked(sound, looks):
    """What a daemon merges or no longer needs meanwhile is no damage: the check begins anew."""

    def go_on(disk):
        engine = open_engine(disk)
        append(engine, [(s, START_MS + 500_000, 1.0) for s in SERIES])
        maintain_all(engine, START_MS)
        engine.close()

    report = verify_directory(Shifting(sound, go_on, looks), live=True)
    assert report.damage == []
    assert report.samples + report.log_samples >= 40 * len(SERIES)


def test_a_directory_that_never_rests_cannot_be_checked(sound):
    """After some attempts the operator is told to take a snapshot."""

    class Restless(MemDisk):
        count = 0

        def read(self, name):
            if name == MANIFEST:
                self.count += 1
                manifest = read_manifest(sound)
                return encode_manifest(attrs.evolve(manifest, next_segment=manifest.next_segment + self.count))
            return super().read(name)

    with pytest.raises(StorageError, match="snapshot"):
        verify_directory(Restless(files_of(sound)), live=True, quick=True)
