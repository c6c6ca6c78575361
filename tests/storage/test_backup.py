"""Backups: incremental, complete by themselves, verifiable, pruned by policy, restored exactly, safe against crashes."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from damage_cases import SERIES, copy, files_of, written
from engine_cases import START_MS, append, contents, labels, maintain_all, open_engine

from tinyobs.errors import CorruptionError, FormatVersionError, StorageError, UsageError
from tinyobs.storage.backup import Rate, make_backup, prune_backups, verify_backups
from tinyobs.storage.backup_format import (
    BackedFile,
    Backup,
    backup_file,
    decode_backup,
    digest_of,
    encode_backup,
    find_backup,
    list_backups,
)
from tinyobs.storage.backup_prune import KeepPolicy, kept_backups
from tinyobs.storage.layout import MANIFEST
from tinyobs.storage.manifest import read_manifest
from tinyobs.storage.restore import choose_backup, cut_after, restore_backup
from tinyobs.storage.verify import verify_directory
from tinyobs.testing.mem_disk import Loss, MemDisk

NOW = START_MS + 1_000_000
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def sound():
    return written()


def flat(disk):
    """{(series, time): value} of everything in a directory."""
    engine = open_engine(copy(disk))
    found = {(s, t): v for s, samples in contents(engine).items() for t, v in samples}
    engine.close()
    return found


def restored(store, backup):
    target = MemDisk()
    restore_backup(store, backup, target)
    return target


def test_a_backup_restores_to_the_same_directory(sound):
    """Every sample is there, the directory is sound, and the source was not touched."""
    source, store = copy(sound), MemDisk()
    told = []
    backup = make_backup(source, store, NOW, lambda file, done, total: told.append((done, total)))
    assert source.changes == []
    assert backup == find_backup(store, backup.name) == list_backups(store)[0]
    assert backup.copied_bytes == backup.bytes
    assert told[-1][0] == told[-1][1] == backup.bytes
    target = restored(store, backup)
    assert flat(target) == flat(sound)
    assert verify_directory(target).findings == []


def test_the_second_backup_copies_only_what_is_new(sound):
    """Segments that both have are stored once; each restores by itself to what was there at its time."""
    source, store = copy(sound), MemDisk()
    first = make_backup(source, store, NOW)
    before = flat(source)
    again = make_backup(source, store, NOW + 1)
    assert again.copied_bytes == 0
    engine = open_engine(source)
    append(engine, [(s, START_MS + 410_000, 7.0) for s in SERIES])
    maintain_all(engine, START_MS)
    engine.close()
    second = make_backup(source, store, NOW + 2)
    assert 0 < second.copied_bytes < second.bytes
    assert flat(restored(store, first)) == before
    assert flat(restored(store, second)) == flat(source)


def test_two_backups_in_one_millisecond_have_two_names(sound):
    """Nothing is ever overwritten."""
    source, store = copy(sound), MemDisk()
    names = [make_backup(source, store, NOW).name for _ in range(3)]
    assert len(set(names)) == 3
    assert [b.name for b in list_backups(store)] == sorted(names)


def test_no_data_directory_is_told():
    """There is nothing to back up where there is no manifest."""
    with pytest.raises(StorageError, match="not a data directory"):
        make_backup(MemDisk(), MemDisk(), NOW)


def test_verifying_finds_changed_and_missing_objects(sound):
    """Both name the file and the backups that need it; damage that was copied is told as such."""
    source, store = copy(sound), MemDisk()
    backup = make_backup(source, store, NOW)
    assert verify_backups(store, [backup]) == []
    changed, missing = sorted({f.object for f in backup.files if f.object.endswith(".seg")})[:2]
    store.damage(changed, 60)
    store.remove(missing)
    found = {f.file: f for f in verify_backups(store, [backup])}
    assert "hash differs" in found[changed].problem
    assert found[missing].problem == "missing"
    assert backup.name in found[missing].lost
    bad = copy(sound)
    name = backup.files[0].name
    bad.damage(name, 40)
    store = MemDisk()
    (finding,) = verify_backups(store, [make_backup(bad, store, NOW)])
    assert "damaged before" in finding.problem


def test_a_damaged_object_is_not_restored(sound):
    """The copy is checked while it is made, and the directory without a manifest is refused by a start."""
    store = MemDisk()
    backup = make_backup(copy(sound), store, NOW)
    store.damage(backup.files[0].object, 60)
    target = MemDisk()
    with pytest.raises(CorruptionError, match="not what was stored"):
        restore_backup(store, backup, target)
    assert MANIFEST not in target.list("")
    with pytest.raises(StorageError, match="MANIFEST is missing"):
        open_engine(target)
    store.remove(backup.files[0].object)
    with pytest.raises(CorruptionError, match="missing"):
        restore_backup(store, backup, MemDisk())


def test_a_directory_with_files_is_not_restored_into(sound):
    """Restoring never mixes with what is there."""
    store = MemDisk()
    backup = make_backup(copy(sound), store, NOW)
    with pytest.raises(StorageError, match="not empty"):
        restore_backup(store, backup, copy(sound))


@pytest.mark.parametrize("loss", list(Loss))
def test_a_backup_may_be_interrupted_anywhere(sound, loss):
    """After a crash every listed backup is whole, and the next one can be made and restored."""
    source, store = copy(sound), MemDisk()
    make_backup(source, store, NOW)
    engine = open_engine(source)
    append(engine, [(s, START_MS + 410_000, 7.0) for s in SERIES])
    engine.close()
    done_first = len(store.changes)
    make_backup(source, store, NOW + 1)
    for count in range(done_first, len(store.changes) + 1):
        found = store.after_crash(count, loss, seed=count)
        backups = list_backups(found)
        assert verify_backups(found, backups) == []
        assert NOW in {b.created_ms for b in backups}
        latest = make_backup(source, found, NOW + 2)
        assert flat(restored(found, latest)) == flat(source)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_restore_may_be_interrupted_anywhere(sound, loss):
    """The manifest comes last: a directory that has one is whole, one that has none is refused or empty."""
    store = MemDisk()
    backup = make_backup(copy(sound), store, NOW)
    target, expected = restored(store, backup), flat(sound)
    whole = 0
    for count in range(len(target.changes) + 1):
        found = target.after_crash(count, loss, seed=count)
        if MANIFEST in found.list(""):
            whole += 1
            assert flat(found) == expected
        else:
            assert not any(samples_found(found))
    assert whole


def samples_found(disk):
    """What a start would show of a directory without a manifest: nothing, or it is refused."""
    try:
        return flat(disk)
    except StorageError:
        return ()


@pytest.mark.parametrize("loss", list(Loss))
def test_pruning_may_be_interrupted_anywhere(sound, loss):
    """What is kept stays restorable; descriptions that go, go before their objects."""
    source, store = copy(sound), MemDisk()
    make_backup(source, store, NOW)
    engine = open_engine(source)
    append(engine, [(s, START_MS + 410_000, 7.0) for s in SERIES])
    maintain_all(engine, START_MS)
    engine.close()
    kept = make_backup(source, store, NOW + 1)
    before = len(store.changes)
    pruned = prune_backups(store, {kept.name})
    assert len(pruned.backups) == 1
    assert pruned.objects > 0
    for count in range(before, len(store.changes) + 1):
        found = store.after_crash(count, loss, seed=count)
        assert verify_backups(found, list_backups(found)) == []
        prune_backups(found, {kept.name})
        assert [b.name for b in list_backups(found)] == [kept.name]
        assert flat(restored(found, kept)) == flat(source)
        assert len(found.list("objects")) == len({f.object for f in kept.files})


def test_nothing_is_removed_while_a_description_cannot_be_read(sound):
    """Its objects are not known, so none may go."""
    store = MemDisk()
    backup = make_backup(copy(sound), store, NOW)
    store.damage(backup_file(backup.name), 50)
    before = files_of(store)
    with pytest.raises(CorruptionError):
        prune_backups(store, set())
    assert files_of(store) == before


def made_at(*times):
    return [Backup(f"b{t}", t, 0, ()) for t in times]


def test_the_policy_keeps_the_newest_of_each_period():
    """Periods without a backup do not count; one backup may be kept for several reasons."""
    hours = made_at(*[20_000 * DAY_MS + i * 6 * 3_600_000 for i in range(40)])  # ten days, four a day
    assert kept_backups(hours, KeepPolicy(last=3)) == {b.name for b in hours[-3:]}
    assert kept_backups(hours, KeepPolicy(daily=3)) == {hours[i].name for i in (31, 35, 39)}
    assert kept_backups(hours, KeepPolicy(weekly=10)) >= {hours[-1].name}
    assert len(kept_backups(hours, KeepPolicy(weekly=10))) in (2, 3)
    assert len(kept_backups(hours, KeepPolicy(monthly=12))) in (1, 2)
    gap = made_at(0, 10 * DAY_MS, 40 * DAY_MS)
    assert kept_backups(gap, KeepPolicy(daily=2)) == {"b" + str(10 * DAY_MS), "b" + str(40 * DAY_MS)}
    assert kept_backups(hours, KeepPolicy()) == set()
    assert KeepPolicy().is_empty


def test_the_backup_for_a_point_in_time_is_the_first_at_or_after_it():
    """A later one may lack what was deleted since; without a time it is the newest."""
    backups = made_at(1000, 2000, 3000)
    assert choose_backup(backups, None).created_ms == 3000
    assert choose_backup(backups, 1500).created_ms == 2000
    assert choose_backup(backups, 2000).created_ms == 2000
    with pytest.raises(UsageError, match="older than"):
        choose_backup(backups, 3001)
    with pytest.raises(UsageError, match="no backups"):
        choose_backup([], None)
    with pytest.raises(UsageError, match="as old as"):
        choose_backup([Backup("b", 1000, 500, ())], 400)


def test_restoring_to_a_point_in_time(sound):
    """Samples up to the time are there, that of the time itself included, and no others."""
    store = MemDisk()
    backup = make_backup(copy(sound), store, NOW)
    for time_ms in (START_MS + 95_000, START_MS + 390_000, START_MS - 1):
        target = restored(store, backup)
        cut_after(target, time_ms, NOW)
        assert flat(target) == {k: v for k, v in flat(sound).items() if k[1] <= time_ms}
        assert verify_directory(target).damage == []
        assert all(e.maxt_ms <= time_ms for e in read_manifest(target).segments)


def test_descriptions_are_checked():
    """A changed byte, a newer format and names that lie outside a data directory are refused."""
    good = Backup("20260101T000000.000Z", 1, None, (BackedFile(MANIFEST, 3, digest_of(b"abc")),))
    assert decode_backup("f", encode_backup(good)) == good
    data = encode_backup(good)
    for at in range(0, len(data) - 1, 7):
        changed = bytearray(data)
        changed[at] ^= 1
        with contextlib.suppress(CorruptionError):
            assert decode_backup("f", bytes(changed)) == good
    plain = json.loads(data)["backup"]

    def described(**more):
        changed = {**plain, **more}
        text = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
        return json.dumps({"backup": changed, "hash": digest_of(text)}).encode()

    with pytest.raises(FormatVersionError):
        decode_backup("f", described(format=3))
    for name in ("../x", "/etc/passwd", "wal/../x", "segments/x.seg"):
        with pytest.raises(CorruptionError, match="no file of a data directory"):
            decode_backup("f", described(files=[{**plain["files"][0], "name": name}]))
    with pytest.raises(CorruptionError):
        decode_backup("f", described(name="../../x"))


def test_the_rate_bounds_what_is_read():
    """So many bytes take so many seconds, whatever the size of the pieces."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    rate = Rate(1000, sleep, lambda: now[0])
    for _ in range(11):
        rate.spend(500)
    assert now[0] == pytest.approx(5.0)
    Rate(0, sleep).spend(1 << 40)


def test_labels_of_many_kinds_survive(sound):
    """A directory that grew in several sessions restores with all of its series."""
    source, store = copy(sound), MemDisk()
    engine = open_engine(source)
    append(engine, [(labels("ü", zone="a b"), START_MS + 400_000, 1.0)])
    engine.close()
    assert flat(restored(store, make_backup(source, store, NOW))) == flat(source)


def test_the_worked_example_of_the_backup_page():
    """The description in docs/format/backup.md decodes as the page says, and is written the same way."""
    page = (Path(__file__).parents[2] / "docs" / "format" / "backup.md").read_text()
    example = re.search(r"```json\n(.*?)```", page, re.DOTALL)[1]
    backup = decode_backup("example", example.encode())
    assert backup == Backup(
        "20260101T000000.000Z", 1_767_225_600_000, None, (BackedFile(MANIFEST, 3, digest_of(b"abc")),), 3
    )
    assert encode_backup(backup).decode() == example
