"""`tinyobs tsdb` on real directories: what the commands print, their exit codes, and that readers write nothing."""

from __future__ import annotations

import json
import re

import click
import pytest
from storage.engine_cases import OPTIONS, START_MS, Clock, append, labels, maintain_all

from tinyobs.cli.main import run, tinyobs
from tinyobs.cli.tsdb.figures import counted, size_text
from tinyobs.cli.tsdb.parameters import Time
from tinyobs.cli.tsdb.progress import byte_bar, progress_bar
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import Engine
from tinyobs.storage.layout import segment_name
from tinyobs.storage.manifest import read_manifest
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.storage.segment_reader import SegmentReader

SERIES = [labels("m", i=str(i)) for i in range(5)] + [labels("other", i="0")]
STEPS = 40


def fill(path):
    disk = PosixDisk(path)
    engine = Engine.open(disk, SeriesRegistry(), OPTIONS, Clock())
    for i in range(STEPS):
        append(engine, [(s, START_MS + i * 10_000, i + k / 2) for k, s in enumerate(SERIES)])
    maintain_all(engine, START_MS)
    engine.close()


@pytest.fixture
def data(tmp_path):
    """A sound directory with segments and a log."""
    fill(tmp_path / "data")
    return tmp_path / "data"


def files(path):
    """Name -> content of all files below a folder."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def first(path):
    return read_manifest(PosixDisk(path)).segments[0]


def damage_page(path):
    """Flip a byte in the first page of the first segment; return the name of the file."""
    name = segment_name(first(path).sequence)
    offset = int(SegmentReader(PosixDisk(path), name, PageCache()).pages.offsets[0]) + 30
    content = bytearray((path / name).read_bytes())
    content[offset] ^= 0xFF
    (path / name).write_bytes(content)
    return name


def at(path):
    return f"--storage.tsdb.path={path}"


# -- verify and repair -------------------------------------------------------------------------------------------


def test_a_sound_directory(data, capsys):
    """Exit code 0, one line with what was looked at, nothing is written."""
    before = files(data)
    assert run(["tsdb", "verify", at(data)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{data}: sound (")
    assert "segments with " in out
    assert "log file" in out
    assert run(["tsdb", "verify", "--quick", "--json", at(data)]) == 0
    assert json.loads(capsys.readouterr().out)["sound"] is True
    assert files(data) == before


def test_damage_is_told_repaired_and_kept(data, capsys):
    """verify ends with 1, repair shows a plan first, keeps the original, and then verify ends with 0."""
    name = damage_page(data)
    broken = files(data)
    assert run(["tsdb", "verify", at(data)]) == 1
    out = capsys.readouterr().out
    assert f"damage: {name} at byte " in out
    assert "lost: " in out
    assert run(["tsdb", "verify", "--json", at(data)]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["file"] == name
    for arguments in (["--dry-run"], []):
        assert run(["tsdb", "repair", *arguments, at(data)]) == 1
        assert "write it anew" in capsys.readouterr().out
        assert {n: c for n, c in files(data).items() if n != "LOCK"} == {n: c for n, c in broken.items() if n != "LOCK"}
    assert run(["tsdb", "repair", "--yes", at(data)]) == 0
    assert "damaged/" in capsys.readouterr().out
    assert broken[name] in files(data / "damaged").values()
    assert run(["tsdb", "verify", at(data)]) == 0
    assert run(["tsdb", "repair", at(data)]) == 0
    assert capsys.readouterr().out.endswith("nothing to repair\n")


def test_what_reads_a_damaged_directory_says_what_to_do(data, tmp_path, capsys):
    """File and byte, and the command that goes on from there; a backup of it is found damaged, with its reason."""
    name = damage_page(data)
    assert run(["tsdb", "export", at(data)]) == 3
    assert re.search(rf"{name}: damaged at byte \d+: .*`tinyobs tsdb verify`", capsys.readouterr().err)
    assert run(["tsdb", "backup", f"--to={tmp_path / 'b'}", at(data)]) == 0
    assert run(["tsdb", "backup", "verify", f"--from={tmp_path / 'b'}"]) == 1
    assert f"lost: {name} of 1 backup: " in (out := capsys.readouterr().out)
    assert "check the data directory that was backed up" in out


def test_what_cannot_be_checked_ends_with_2(data, tmp_path, capsys):
    """A directory that is in use, is none, or is missing; the message says what to do."""
    engine = Engine.open(PosixDisk(data), SeriesRegistry(), OPTIONS, Clock())
    assert run(["tsdb", "verify", at(data)]) == 2
    err = capsys.readouterr().err
    assert "in use by the process with pid" in err
    assert "snapshot" in err
    assert run(["tsdb", "verify", "--while-running", at(data)]) == 0
    assert run(["tsdb", "repair", at(data)]) == 3
    assert run(["tsdb", "dump", at(data)]) == 3
    assert "snapshot" in capsys.readouterr().err
    engine.close()
    (tmp_path / "empty").mkdir()
    assert run(["tsdb", "verify", at(tmp_path / "empty")]) == 2
    assert run(["tsdb", "verify", at(tmp_path / "gone")]) == 2
    assert "there is no directory" in capsys.readouterr().err
    for command in ("repair", "list", "analyze", "dump", "compact"):
        assert run(["tsdb", command, at(tmp_path / "gone")]) == 3
        assert not (tmp_path / "gone").exists()


# -- looking -----------------------------------------------------------------------------------------------------


def test_listing(data, capsys):
    """A line a segment, log files and totals; the same as JSON; also while a daemon has it open."""
    entries = read_manifest(PosixDisk(data)).segments
    engine = Engine.open(PosixDisk(data), SeriesRegistry(), OPTIONS, Clock())
    assert run(["tsdb", "list", at(data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SEGMENT", "TIER", "LEVEL", "FROM", "TO", "SERIES", "SAMPLES", "BYTES", "BYTES/SAMPLE"]
    assert lines[1].split()[:2] == [str(entries[0].sequence), "raw"]
    assert lines[1 + len(entries)].startswith(f"{len(entries)} segments: {sum(e.samples for e in entries)} samples")
    engine.close()
    assert run(["tsdb", "list", "--json", at(data)]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["totals"]["samples"] == sum(e.samples for e in entries)
    assert len(plain["segments"]) == len(entries)
    assert plain["log_files"]


def test_analyzing(data, capsys):
    """Metrics, labels and pairs with their figures, for all segments or one."""
    entries = read_manifest(PosixDisk(data)).segments
    assert run(["tsdb", "analyze", "--json", at(data)]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["series"] == len(SERIES)
    assert plain["series_by_metric"] == [["m", 5], ["other", 1]]
    assert plain["values_by_label"] == [["i", 5], ["__name__", 2]]
    assert plain["samples"] == sum(e.samples for e in entries)
    assert sum(n for _, n in plain["samples_by_metric"]) == plain["samples"]
    assert 0 < plain["index_bytes"] < plain["bytes"]
    assert plain["churning_series"] == 0
    assert run(["tsdb", "analyze", f"--segment={entries[0].sequence}", at(data)]) == 0
    out = capsys.readouterr().out
    assert "Metrics with most series:" in out
    assert "segments      1," in out
    assert run(["tsdb", "analyze", "--segment=999", at(data)]) == 2


def test_dumping(data, capsys):
    """Every sample in promtool's form, those of the log as well; nothing is written."""
    before = files(data)
    assert run(["tsdb", "dump", at(data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == STEPS * len(SERIES)
    assert lines[0] == f'{{__name__="m", i="0"}} 0 {START_MS}'
    assert lines[STEPS + 1] == f'{{__name__="m", i="1"}} 1.5 {START_MS + 10_000}'
    arguments = [
        f"--min-time={START_MS + 10_000}",
        "--max-time=2023-11-14T22:14:20Z",
        "--match=other",
        "--match={i='0'}",
    ]
    assert run(["tsdb", "dump", *arguments, "--format=json", at(data)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f["metric"]["__name__"] for f in found] == ["other", "m"]
    assert found[1]["timestamps_ms"] == [START_MS + 10_000, START_MS + 20_000]
    assert found[1]["values"] == ["1", "2"]
    assert files(data) == before
    assert run(["tsdb", "dump", "--match={", at(data)]) == 2
    assert "--match" in capsys.readouterr().err


# -- working -----------------------------------------------------------------------------------------------------


def test_compacting(data, capsys):
    """All work that waits is done; no sample is lost, and figures before and after are printed."""
    run(["tsdb", "dump", at(data)])
    before = capsys.readouterr().out
    assert run(["tsdb", "compact", at(data)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("before: ")
    assert out[-1].startswith("after: ")
    run(["tsdb", "dump", at(data)])
    assert capsys.readouterr().out == before
    assert run(["tsdb", "compact", "--storage.tsdb.retention.time=1s", at(data)]) == 2


def test_compacting_by_a_configuration(data, tmp_path, capsys):
    """Tiers and retention are those of the file; a flag goes before the file, and faults in the file are told."""
    later = tmp_path / "later.csv"
    later.write_text("__name__,timestamp_ms,value\nm,1700200000000,1\n")  # ages count from the newest sample
    assert run(["tsdb", "import", str(later), at(data)]) == 0
    file = tmp_path / "prometheus.yml"
    file.write_text("tinyobs: {storage: {retention_by_selector: [{match: 'other', retention: 1h}]}}\n")
    assert run(["tsdb", "compact", f"--config.file={file}", at(data)]) == 0
    capsys.readouterr()
    run(["tsdb", "dump", at(data)])
    assert {x.partition(",")[0] for x in capsys.readouterr().out.splitlines()} == {
        '{__name__="m"',
        '{__name__="m"} 1 1700200000000',
    }
    assert run(["tsdb", "compact", f"--config.file={file}", "--storage.tsdb.retention.time=1h", at(data)]) == 0
    assert "after: 1 segment, 1 samples" in capsys.readouterr().out
    file.write_text("tinyobs: {storage: {tiers: {7m: 1d}}}\n")
    assert run(["tsdb", "compact", f"--config.file={file}", at(data)]) == 1
    assert "there is no tier '7m'" in capsys.readouterr().err


def test_what_waits_to_be_taken_in_is_told(data, tmp_path, capsys):
    """Commands that leave an import out say so; a directory of which nothing else is there is no mistyped path."""
    table = tmp_path / "t.csv"
    table.write_text("__name__,timestamp_ms,value\nnew,1700000000000,1\n")
    fresh = tmp_path / "fresh"
    assert run(["tsdb", "import", str(table), "--create", "--storage.tsdb.retention.time=200y", at(fresh)]) == 0
    assert run(["tsdb", "import", str(table), "--storage.tsdb.retention.time=200y", at(data)]) == 0
    assert capsys.readouterr().out.count("; 1 segment\n") == 2
    for command in (["export"], ["dump"], ["list"], ["analyze"], ["snapshot"], ["backup", f"--to={tmp_path / 'b'}"]):
        assert run(["tsdb", *command, at(data)]) == 0
        assert "left out: 1 segment of an import" in capsys.readouterr().err
    assert run(["tsdb", "list", at(fresh)]) == 3
    assert "tinyobs tsdb compact" in capsys.readouterr().err
    assert run(["tsdb", "compact", at(fresh)]) == 0
    capsys.readouterr()
    assert run(["tsdb", "dump", at(fresh)]) == 0
    assert capsys.readouterr() == ('{__name__="new"} 1 1700000000000\n', "")


def test_analyzing_what_has_no_segments_yet(tmp_path, capsys):
    """It is said instead of empty figures from 1970."""
    Engine.open(PosixDisk(tmp_path), SeriesRegistry(), OPTIONS, Clock()).close()
    assert run(["tsdb", "analyze", at(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("no segments:")


def test_deleting_everything_has_to_be_meant(data, capsys):
    """A selector that excludes nothing is refused, as by the API."""
    assert run(["tsdb", "delete", "--match={}", "--yes", at(data)]) == 2
    assert '{__name__=~".+"}' in capsys.readouterr().err


def test_deleting(data, capsys):
    """Nothing goes without consent; then the samples are gone and the others are there."""
    arguments = ["tsdb", "delete", "--match=other", "--match={i='3'}", "--start=1700000050", at(data)]
    assert run(arguments) == 2
    assert "--yes" in capsys.readouterr().err
    assert run([*arguments, "--yes"]) == 0
    assert capsys.readouterr().out == "deleted\n"
    run(["tsdb", "dump", at(data)])
    lines = capsys.readouterr().out.splitlines()
    assert len([x for x in lines if "other" in x or 'i="3"' in x]) == 2
    assert len(lines) == STEPS * 4 + 2
    assert run(["tsdb", "verify", at(data)]) == 0


def test_snapshots(data, capsys):
    """The path is printed; what lies there is a directory of its own."""
    assert run(["tsdb", "snapshot", at(data)]) == 0
    path = capsys.readouterr().out.strip()
    assert path.startswith(f"{data}/snapshots/")
    assert run(["tsdb", "verify", at(path)]) == 0
    capsys.readouterr()
    run(["tsdb", "dump", at(path)])
    got = capsys.readouterr().out
    run(["tsdb", "dump", at(data)])
    assert capsys.readouterr().out == got


# -- backups -----------------------------------------------------------------------------------------------------


def test_backing_up_and_restoring(data, tmp_path, capsys):
    """The second backup copies little; list, verify and prune work; what is restored is what was there."""
    store, restored = tmp_path / "store", tmp_path / "restored"
    assert run(["tsdb", "backup", f"--to={store}", at(data)]) == 0
    assert run(["tsdb", "backup", f"--to={store}", at(data)]) == 0
    first_line, second_line = capsys.readouterr().out.splitlines()
    assert second_line.endswith("of which 0 B were new")
    assert run(["tsdb", "backup", "list", f"--from={store}"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [r.split()[0] for r in rows] == ["BACKUP", first_line.partition(":")[0], second_line.partition(":")[0]]
    assert run(["tsdb", "backup", "verify", f"--from={store}"]) == 0
    assert run(["tsdb", "backup", "list", "--json", f"--from={store}"]) == 0
    capsys.readouterr()
    assert run(["tsdb", "restore", f"--from={store}", f"--to={restored}"]) == 0
    assert "restored" in capsys.readouterr().out
    run(["tsdb", "dump", at(data)])
    expected = capsys.readouterr().out
    run(["tsdb", "dump", at(restored)])
    assert capsys.readouterr().out == expected
    assert run(["tsdb", "restore", f"--from={store}", f"--to={restored}"]) == 3
    assert "not empty" in capsys.readouterr().err


def test_restoring_to_a_time(data, tmp_path, capsys):
    """No sample after the time is there, all others are."""
    store, restored = tmp_path / "store", tmp_path / "restored"
    run(["tsdb", "backup", f"--to={store}", at(data)])
    assert run(["tsdb", "restore", f"--from={store}", f"--to={restored}", "--at=2023-11-14T22:15:35Z"]) == 0
    assert "up to 2023-11-14T22:15:35.000Z" in capsys.readouterr().out
    run(["tsdb", "dump", at(restored)])
    got = capsys.readouterr().out
    run(["tsdb", "dump", "--max-time=2023-11-14T22:15:35Z", at(data)])
    assert capsys.readouterr().out == got
    assert run(["tsdb", "restore", f"--from={store}", f"--to={tmp_path / 'x'}", "--at=2999-01-01T00:00:00Z"]) == 2


def test_pruning(data, tmp_path, capsys):
    """Says what to keep, shows it, and does it."""
    store = tmp_path / "store"
    for _ in range(3):
        run(["tsdb", "backup", f"--to={store}", at(data)])
    capsys.readouterr()
    assert run(["tsdb", "backup", "prune", f"--from={store}"]) == 2
    assert run(["tsdb", "backup", "prune", f"--from={store}", "--keep-last=1", "--dry-run"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["remove", "remove", "keep"]
    assert run(["tsdb", "backup", "prune", f"--from={store}", "--keep-last=1"]) == 0
    assert capsys.readouterr().out == "removed 2 backups and 0 files, 0 B; kept 1\n"
    assert run(["tsdb", "backup", "verify", f"--from={store}"]) == 0


def test_a_damaged_backup_is_told(data, tmp_path, capsys):
    """verify ends with 1 and names the file; restoring it ends with 3."""
    store = tmp_path / "store"
    run(["tsdb", "backup", f"--to={store}", at(data)])
    victim = sorted((store / "objects").glob("*.seg"))[0]
    victim.write_bytes(victim.read_bytes()[:-1])
    capsys.readouterr()
    assert run(["tsdb", "backup", "verify", f"--from={store}"]) == 1
    assert victim.name in capsys.readouterr().out
    assert run(["tsdb", "restore", f"--from={store}", f"--to={tmp_path / 'r'}"]) == 3


def test_one_damaged_description_does_not_hide_the_others(data, tmp_path, capsys):
    """The others are listed and restored; verify names it, and prune removes nothing while it is there."""
    store = tmp_path / "store"
    for _ in range(2):
        run(["tsdb", "backup", f"--to={store}", at(data)])
    victim = sorted((store / "backups").iterdir())[1]
    victim.write_text("{")
    capsys.readouterr()
    assert run(["tsdb", "backup", "list", f"--from={store}"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert victim.name in shown.err
    assert run(["tsdb", "backup", "verify", f"--from={store}"]) == 1
    assert victim.name in capsys.readouterr().out
    assert run(["tsdb", "backup", "prune", f"--from={store}", "--keep-last=1"]) == 3
    assert run(["tsdb", "restore", f"--from={store}", f"--to={tmp_path / 'r'}"]) == 0
    assert run(["tsdb", "restore", f"--from={store}", f"--to={tmp_path / 's'}", f"--backup={victim.stem}"]) == 3


def test_mistakes_with_backups(data, tmp_path, capsys):
    """No target, a directory in use, a folder without backups, an unknown name."""
    assert run(["tsdb", "backup", at(data)]) == 2
    engine = Engine.open(PosixDisk(data), SeriesRegistry(), OPTIONS, Clock())
    assert run(["tsdb", "backup", f"--to={tmp_path / 's'}", at(data)]) == 3
    assert "--url" in capsys.readouterr().err
    engine.close()
    (tmp_path / "none").mkdir()
    assert run(["tsdb", "backup", "list", f"--from={tmp_path / 'none'}"]) == 2
    run(["tsdb", "backup", f"--to={tmp_path / 's'}", at(data)])
    assert run(["tsdb", "restore", f"--from={tmp_path / 's'}", f"--to={tmp_path / 'r'}", "--backup=x"]) == 2
    assert "there is no backup 'x'" in capsys.readouterr().err


def test_what_the_system_refuses_is_told(data, tmp_path, capsys):
    """A name that is too long, a file where a directory should be: a message and exit code 3, never a traceback."""
    assert run(["tsdb", "list", at("x" * 5000)]) == 3
    (tmp_path / "file").write_text("x")
    assert run(["tsdb", "backup", f"--to={tmp_path / 'file'}", at(data)]) == 3
    assert "Traceback" not in capsys.readouterr().err


# -- parts -------------------------------------------------------------------------------------------------------


def test_every_command_explains_itself():
    """Each has a help text, and so has each of its options."""
    group = tinyobs.commands["tsdb"]
    assert isinstance(group, click.Group)
    for command in group.commands.values():
        assert command.help
        assert all(p.help for p in command.params if isinstance(p, click.Option)), command.name


def test_times():
    """RFC 3339 with a zone, or Unix time in the unit of the option; anything else is told."""
    assert Time().convert("1700000000.5", None, None) == 1_700_000_000_500
    assert Time().convert("1700000000", None, None) == 1_700_000_000_000
    assert Time(1).convert("-5", None, None) == -5
    assert Time().convert("2023-11-14T23:13:20+01:00", None, None) == 1_700_000_000_000
    assert Time().convert("9" * 30, None, None) == (1 << 63) - 1
    for bad in ("yesterday", "2023-11-14T23:13:20", ""):
        with pytest.raises(click.BadParameter):
            Time().convert(bad, None, None)


def test_bars_are_drawn_on_a_terminal_only(monkeypatch, capsys):
    """Nothing is written to a pipe; on a terminal the bar ends full."""
    with progress_bar("working") as show:
        show(0.5, "x")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with byte_bar("working") as told:
        told("a", 50, 100)
        told("b", 100, 100)
    assert "working" in capsys.readouterr().err


def test_a_repair_shows_how_far_it_is(data, monkeypatch, capsys):
    """Looking, working and checking each have a bar that gets to its end."""
    damage_page(data)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert run(["tsdb", "repair", "--yes", at(data)]) == 0
    shown = capsys.readouterr().err
    assert all(label in shown for label in ("looking for damage", "repairing", "checking"))


def test_a_consent_at_the_terminal(data, monkeypatch):
    """At a terminal the command asks, and yes is yes."""
    damage_page(data)
    monkeypatch.setattr("tinyobs.cli.tsdb.repair._agreed", lambda: True)
    assert run(["tsdb", "repair", at(data)]) == 0


def test_figures():
    """Sizes have one digit behind the point, nouns their plural."""
    assert [size_text(n) for n in (0, 512, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 1 << 50)] == [
        "0 B", "512 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "1024.0 TiB"
    ]  # fmt: skip
    assert (counted(1, "file"), counted(0, "file")) == ("1 file", "0 files")
