"""Every fault that an operator can meet: what the engine says, and that all else goes on.

The texts are those of the table in docs/operations.md.
"""

from __future__ import annotations

import errno
import json
import random
import struct
import zlib

import attrs
import pytest
from damage_cases import SERIES, copy, first_segment, page_table, written
from engine_cases import (
    BLOCK_MS,
    OPTIONS,
    START_MS,
    Clock,
    append,
    contents,
    exemplars_of,
    histogram,
    labels,
    maintain_all,
    open_engine,
)
from life_cases import without
from tier_cases import DAY0_MS, days, load, open_tiered, tiers_of, with_options

from tinyobs.codec import pages
from tinyobs.errors import CorruptionError, DiskFullError, FormatVersionError, ReadOnlyError, StorageError
from tinyobs.model.batch import Refused
from tinyobs.model.matchers import equal
from tinyobs.storage import segment_format
from tinyobs.storage.adoption import LOOK_EVERY_MS
from tinyobs.storage.layout import INCOMING_FOLDER, MANIFEST, segment_name, wal_name
from tinyobs.storage.manifest import read_manifest
from tinyobs.storage.options import DAY_MS, HOUR_MS
from tinyobs.storage.retention import newest_beyond_doubt
from tinyobs.storage.upkeep import LOOK_EVERY_MS as LOOK_FOR_MISSING_MS
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.storage.verify import verify_directory
from tinyobs.storage.wal_format import VERSION as WAL_VERSION
from tinyobs.storage.wal_format import encode_file_header
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import MemDisk

A, B, H = labels("a"), labels("b"), labels("h")
NOW = START_MS
REPAIR = "run `tinyobs tsdb verify`, which says what is lost; then `tinyobs tsdb repair`, or restore a backup"


@pytest.fixture(scope="module")
def sound():
    return written()


def rewrite(disk, name, data):
    """Replace a file."""
    disk.remove(name)
    disk.create(name).append(data)


def edit_manifest(disk, change):
    """Change the manifest and let its checksum fit."""
    plain = json.loads(disk.read(MANIFEST).splitlines()[0])
    change(plain)
    text = json.dumps(plain, separators=(",", ":")).encode()
    rewrite(disk, MANIFEST, text + b"\n%08x\n" % zlib.crc32(text))


def first_log(disk):
    return wal_name(read_manifest(disk).wal_first)


def texts(engine):
    """What the operator was told since the last time."""
    return [n.text for n in engine.take_notices()]


# -- faults that keep the engine from opening ------------------------------------------------------------------


def damage_log(disk):
    disk.damage(first_log(disk), 100)
    return CorruptionError, rf"{first_log(disk)}: damaged at byte \d+: .*; {REPAIR}"


def damage_log_header(disk):
    disk.damage(first_log(disk), 9)
    return CorruptionError, rf"{first_log(disk)}: damaged at byte 0: not a log file, or one that was renamed; {REPAIR}"


def lose_log_file(disk):
    name = first_log(disk)
    disk.remove(name)
    return CorruptionError, rf"{name}: damaged at byte 0: the log file is missing; {REPAIR}"


def damage_footer(disk):
    name = segment_name(first_segment(disk).sequence)
    place = disk.size(name) - segment_format.FOOTER_BYTES
    disk.damage(name, place + 3)
    return CorruptionError, rf"{name}: damaged at byte {place}: footer does not fit its checksum; {REPAIR}"


def cut_segment(disk):
    name = segment_name(first_segment(disk).sequence)
    disk.truncate(name, disk.size(name) - 5)
    return CorruptionError, rf"{name}: damaged at byte 0: the end is missing; {REPAIR}"


def lose_segment(disk):
    name = segment_name(first_segment(disk).sequence)
    disk.remove(name)
    return StorageError, (
        rf"{name} is listed in MANIFEST but missing \(1 in all\); restore it from a copy of the directory or from a "
        "backup, or let `tinyobs tsdb repair` go on without it"
    )


def damage_manifest(disk):
    disk.damage(MANIFEST, 30, mask=1)
    return CorruptionError, rf"MANIFEST: damaged at byte 0: its checksum does not fit; {REPAIR}"


def lose_manifest(disk):
    disk.remove(MANIFEST)
    return (
        StorageError,
        "MANIFEST is missing, but there is data; restore it .* or let `tinyobs tsdb repair` write it anew",
    )


def newer_manifest(disk):
    edit_manifest(disk, lambda plain: plain.update(format=9))
    return FormatVersionError, "MANIFEST: the data directory has format 9; this release reads up to 2: upgrade TinyObs"


def unknown_field(disk):
    edit_manifest(disk, lambda plain: plain.update(shards=3))
    return FormatVersionError, "MANIFEST has fields that this release does not know: shards; upgrade TinyObs"


def newer_log(disk):
    name = first_log(disk)
    data = disk.read(name)
    _, number, session, _ = struct.unpack_from("<8sQQI", data)
    header = encode_file_header(number, session, WAL_VERSION + 1)
    rewrite(disk, name, header + data[len(header) :])
    return FormatVersionError, f"{name} has log format 3; this release reads up to 2: upgrade TinyObs"


def newer_segment(disk):
    name = segment_name(first_segment(disk).sequence)
    data = bytearray(disk.read(name))
    data[8:12] = data[-16:-12] = struct.pack("<I", segment_format.VERSION + 1)
    rewrite(disk, name, bytes(data))
    newer, known = segment_format.VERSION + 1, segment_format.VERSION
    return FormatVersionError, f"{name} has segment format {newer}; this release reads up to {known}: upgrade TinyObs"


AT_START = [damage_log, damage_log_header, lose_log_file, damage_footer, cut_segment, lose_segment, damage_manifest]
AT_START += [lose_manifest, newer_manifest, unknown_field, newer_log, newer_segment]


@pytest.mark.parametrize("spoil", AT_START)
def test_a_start_that_is_refused_names_file_place_and_remedy(sound, spoil):
    """Nothing is changed, the lock is given back, and the message says what to do."""
    disk = copy(sound)
    kind, message = spoil(disk)
    names = {folder: disk.list(folder) for folder in ("", "wal", "segments")}
    for _ in range(2):
        with pytest.raises(kind, match=message):
            open_engine(disk)
    assert {folder: disk.list(folder) for folder in ("", "wal", "segments")} == names


@pytest.mark.parametrize("spoil", AT_START)
def test_verify_finds_what_a_start_refuses(sound, spoil):
    """Damage is a finding with its loss; a newer format is refused in the same words as by the start."""
    disk = copy(sound)
    kind, message = spoil(disk)
    if kind is FormatVersionError:
        with pytest.raises(FormatVersionError, match=message):
            verify_directory(disk)
    else:
        damage = verify_directory(disk).damage
        assert damage
        assert all(f.lost and "repair" in f.advice for f in damage[:1])


# -- what a start tidies up ------------------------------------------------------------------------------------


def test_a_torn_tail_is_told_with_its_place(sound):
    """File, byte and the fact that nothing was lost; the next start has nothing to tell."""
    disk = copy(sound)
    name = f"wal/{disk.list('wal')[-1]}"
    size = disk.size(name)
    disk.open_append(name).append(b"\x40\x00\x00\x00 half a record")
    engine = open_engine(disk)
    (notice,) = engine.take_notices()
    assert notice.text == (
        f"{name}: cut off 18 bytes at byte {size} that were never completely written, as is normal after a crash; "
        "nothing that was acknowledged is lost"
    )
    assert not notice.is_fault
    engine.close()
    assert texts(open_engine(disk)) == []


def test_unlisted_files_are_told(sound):
    """What a crash left unfinished goes, and the log says so."""
    disk = copy(sound)
    disk.create("segments/00000999.seg").append(b"unfinished")
    engine = open_engine(disk)
    expected = "removed 1 file that MANIFEST does not list, as is normal after a crash: segments/00000999.seg"
    assert texts(engine) == [expected]


# -- faults while it runs --------------------------------------------------------------------------------------


def test_a_damaged_page_fails_what_needs_it_and_nothing_else(sound):
    """The query says where; the operator is told once, with the remedy; other series, appends and cuts go on."""
    disk = copy(sound)
    name = segment_name(first_segment(disk).sequence)
    offset = int(page_table(disk, name).offsets[0])
    disk.damage(name, offset + 30)
    engine = open_engine(disk, clock=Clock(START_MS + 2_000_000))
    for _ in range(3):
        with pytest.raises(CorruptionError, match=f"{name}: damaged at byte {offset}: checksum does not fit") as caught:
            contents(engine)
        assert (caught.value.file, caught.value.offset) == (name, offset)
    (notice,) = engine.take_notices()
    assert notice.is_fault
    assert notice.text.startswith(f"{name}: damaged at byte {offset}: ")
    assert "all else goes on; run `tinyobs tsdb verify --while-running`" in notice.text
    assert "`tinyobs tsdb repair`, or restore a backup" in notice.text
    assert engine.statistics().corruptions_total == 3
    late = START_MS + 1_000_000
    for i in range(30):
        append(engine, [(A, late + i * 10_000, float(i))])
    maintain_all(engine, late)
    assert len(contents(engine, [equal("__name__", "a")])[A]) == 30
    assert engine.statistics().cuts_total == 1
    assert len(contents(engine, mint=late - BLOCK_MS)[A]) == 30


def test_a_page_of_a_newer_release_is_no_damage(sound, monkeypatch):
    """The message names file, byte and version; it is not counted as damage."""
    disk = copy(sound)
    name = segment_name(first_segment(disk).sequence)
    offset = int(page_table(disk, name).offsets[0])
    data = bytearray(disk.read(name))
    data[offset + 1] = 7
    size = struct.unpack_from("<I", data, offset + 8)[0]
    head = data[offset : offset + 4] + data[offset + 8 : offset + pages.HEADER.size]
    checksum = zlib.crc32(bytes(data[offset + pages.HEADER.size :][:size]), zlib.crc32(bytes(head)))
    data[offset + 4 : offset + 8] = struct.pack("<I", checksum)
    rewrite(disk, name, bytes(data))
    engine = open_engine(disk)
    with pytest.raises(FormatVersionError, match=f"{name} at byte {offset}: page of version 7, .*: upgrade TinyObs"):
        contents(engine)
    assert engine.statistics().corruptions_total == 0


def test_a_segment_removed_under_the_daemon(sound):
    """It is told and counted, can be read all the while, is written anew, and the next start is as ever."""
    disk = copy(sound)
    engine = open_engine(disk)
    maintain_all(engine, START_MS)
    expected = contents(engine)
    name = segment_name(engine.segments.entries[0].sequence)
    disk.remove(name)
    assert contents(engine) == expected
    engine.maintain(START_MS + LOOK_FOR_MISSING_MS + 1)
    assert engine.statistics().segments_missing == 1
    (notice,) = engine.take_notices()
    assert notice.is_fault
    assert notice.text.startswith(f"{name} was removed while it was in use (1 in all); it is written anew")
    assert "restore it from a copy of the directory before the next start" in notice.text
    maintain_all(engine, START_MS + LOOK_FOR_MISSING_MS + 2)
    assert contents(engine) == expected
    engine.close()
    engine = open_engine(disk)
    assert contents(engine) == expected


def test_a_segment_removed_that_cannot_be_written_anew(sound):
    """Without room for it the next start refuses, naming the file and the remedy."""
    disk = FaultDisk(copy(sound))
    engine = open_engine(disk)
    maintain_all(engine, START_MS)
    name = segment_name(engine.segments.entries[0].sequence)
    disk.remove(name)
    disk.full = True
    maintain_all(engine, START_MS + LOOK_FOR_MISSING_MS + 1)
    told = texts(engine)
    assert any("background work failed: " in t and "No space left" in t and "tried again in 60 s" in t for t in told)
    disk.full = False
    engine.close()
    with pytest.raises(StorageError, match=rf"{name} is listed in MANIFEST but missing .*restore it"):
        open_engine(disk)


def test_an_import_that_is_no_segment_is_told(sound):
    """The name it got, why, and that it has to be imported again."""
    disk = copy(sound)
    disk.make_folder(INCOMING_FOLDER)
    disk.create(f"{INCOMING_FOLDER}/x.seg").append(b"nothing")
    engine = open_engine(disk)
    maintain_all(engine, START_MS + LOOK_EVERY_MS)
    (text,) = texts(engine)
    assert text.startswith("incoming/x.seg was put aside as incoming/x.bad: incoming/x.seg: damaged at byte 0: ")
    assert text.endswith("nothing of it was taken in: import it again")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO])
def test_a_file_system_that_becomes_read_only(number):
    """Samples are refused with the file and the remedy, nothing is lost, queries go on, and a restart resumes."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    for i in range(30):
        append(engine, [(A, NOW + i * 10_000, float(i)), (H, NOW + i * 10_000, histogram(i))], [(H, (), 1.0, NOW + i)])
    expected, exemplars = contents(engine), exemplars_of(engine)
    file = wal_name(engine.wal.sequence)
    disk.faults = dict.fromkeys(range(disk.change_count, disk.change_count + 1000), number)
    for _ in range(2):
        with pytest.raises(
            ReadOnlyError, match=rf"writing at byte \d+ of {file} failed: .*nothing that was acknowledged"
        ):
            append(engine, [(A, NOW + 400_000, 1.0)])
    with pytest.raises(StorageError):
        engine.delete([[equal("__name__", "a")]], NOW, NOW + 10**6)
    with pytest.raises(StorageError):
        engine.snapshot()
    maintain_all(engine, NOW)
    assert contents(engine) == expected
    assert exemplars_of(engine) == exemplars
    assert engine.statistics().read_only == 1
    engine.close()
    disk.faults = {}
    engine = open_engine(disk)
    assert contents(engine) == expected
    assert exemplars_of(engine) == exemplars
    assert append(engine, [(A, NOW + 400_000, 1.0)]).stored == 1


def test_a_full_disk_names_the_file():
    """The sender and the operator get to know that nothing is lost and that it goes on by itself."""
    disk = FaultDisk(MemDisk())
    engine = open_engine(disk)
    append(engine, [(A, NOW, 1.0)])
    disk.full = True
    with pytest.raises(
        DiskFullError, match=r"the disk is full: wal/\d+ cannot grow, .* until there is space; nothing that"
    ):
        append(engine, [(A, NOW + 1, 2.0)])
    for i in range(1, 30):
        disk.full = False
        append(engine, [(A, NOW + i * 10_000, float(i))])
    disk.full = True
    maintain_all(engine, NOW)
    (text,) = texts(engine)
    assert text.startswith("background work failed: ")
    assert "disk is full: wal/00000002 cannot be created" in text
    assert "tried again in 60 s" in text
    disk.full = False
    maintain_all(engine, NOW + PAUSE_MS)
    assert engine.statistics().cuts_total == 1
    assert texts(engine) == []


# -- clocks ----------------------------------------------------------------------------------------------------


def test_a_minute_with_a_wrong_clock_costs_nothing():
    """Samples taken in while the clock is ten years ahead expire nothing; back in time, series and tiers go on."""
    clock = Clock(DAY0_MS)
    options = with_options(retention_ms=20 * DAY_MS, tiers=((300_000, 40 * DAY_MS),), out_of_order_window_ms=HOUR_MS)
    engine = open_tiered(MemDisk(), options, clock)
    points = days(range(3 * 288), 300_000)
    load(engine, {"g": points}, clock)
    series = labels("g", s="g")
    before, tiers = contents(engine), tiers_of(engine)
    assert tiers
    clock.now_ms += 3650 * DAY_MS
    for i in range(5):
        assert append(engine, [(series, clock.now_ms + i * 15_000, -1.0)]).stored == 1
        maintain_all(engine, clock.now_ms + i * 15_000)
    assert without(contents(engine), series, clock.now_ms, clock.now_ms + HOUR_MS) == before
    assert tiers_of(engine) == tiers
    clock.now_ms = points[-1][0]
    later = days(range(2 * 288), 300_000, start_ms=points[-1][0] + 300_000)
    for t, v in later:
        clock.now_ms = t
        assert append(engine, [(series, t, v)]).stored == 1
        if t % HOUR_MS < 300_000:
            maintain_all(engine, t)
    maintain_all(engine, clock.now_ms)
    assert contents(engine, maxt=clock.now_ms)[series] == points + later
    assert engine.statistics().cuts_total > 3


def test_an_old_clock_refuses_and_then_goes_on():
    """While the clock is years behind, samples are refused as too far ahead and counted; nothing stored goes."""
    clock = Clock()
    engine = open_engine(MemDisk(), clock=clock)
    for i in range(30):
        append(engine, [(A, NOW + i * 10_000, float(i))])
    before = contents(engine)
    clock.now_ms -= 5000 * DAY_MS
    assert append(engine, [(A, NOW + 300_000, 1.0)]).refused == {Refused.OUT_OF_BOUNDS: 1}
    maintain_all(engine, clock.now_ms)
    assert contents(engine) == before
    assert append(engine, [(A, clock.now_ms, 1.0)]).refused == {Refused.TOO_OLD: 1}
    clock.now_ms = NOW + 310_000
    assert append(engine, [(A, NOW + 300_000, 1.0)]).stored == 1


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 1)], 1),
        ([(0, 10), (10 + 8 * DAY_MS, 20 + 8 * DAY_MS)], 10),
        ([(0, 10), (10 + 7 * DAY_MS, 20 + 7 * DAY_MS)], 20 + 7 * DAY_MS),
        ([(0, 10), (10 + 8 * DAY_MS, 10 + 9 * DAY_MS)], 10 + 9 * DAY_MS),
        ([(0, 10), (10 + 8 * DAY_MS,) * 2, (30 * DAY_MS,) * 2], 10),
        ([(0, 9 * DAY_MS), (8 * DAY_MS, 8 * DAY_MS), (3 * DAY_MS, 9 * DAY_MS + 5)], 9 * DAY_MS + 5),
    ],
)
def test_what_lies_behind_a_jump_needs_proof(spans, expected):
    """Half the retention without samples is a jump; a day of samples behind it is proof."""
    assert newest_beyond_doubt(spans, 15 * DAY_MS) == expected


@pytest.mark.parametrize("seed", range(4))
def test_a_clock_that_jumps_back_and_forth_loses_nothing(seed):
    """Whatever the clock does, what was counted as stored within the retention is there, across restarts too."""
    rng, clock, disk = random.Random(seed), Clock(), MemDisk()
    options = attrs.evolve(OPTIONS, retention_ms=10 * DAY_MS, out_of_order_window_ms=2 * DAY_MS, future_ms=HOUR_MS)
    engine = open_engine(disk, options, clock)
    stored = {}
    for i in range(150):
        true_ms = NOW + i * 20_000
        clock.now_ms = true_ms + rng.choice([0, 0, 0, -HOUR_MS, HOUR_MS, -400 * DAY_MS, 4000 * DAY_MS])
        samples = [(s, clock.now_ms, float(i)) for s in SERIES[: 1 + i % 3]] + [(B, true_ms, float(i))]
        for sample in samples:
            if append(engine, [sample]).stored:
                stored.setdefault((sample[0], sample[1]), sample[2])
        maintain_all(engine, clock.now_ms)
        if i % 40 == 39:
            engine.close()
            engine = open_engine(disk, options, clock)
    got = {(s, t): v for s, found in contents(engine).items() for t, v in found}
    assert {k: v for k, v in stored.items() if k[1] > NOW - DAY_MS} == {
        k: v for k, v in got.items() if k[1] > NOW - DAY_MS
    }
    assert sum(s == B for s, _ in got) > 80
