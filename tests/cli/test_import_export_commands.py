"""`tinyobs tsdb import` and `export` as commands: every format there and back, and what they refuse."""

from __future__ import annotations

import gzip

import pytest

from tinyobs.cli import main
from tinyobs.cli.tsdb import import_

LINES = (
    '{"metric":{"__name__":"up","job":"a,\\"b"},"values":[1,0.1,-0.0,"Infinity"],"timestamps":[1600000000000,1600000015000,1600000030001,1600000045000]}\n'
    '{"metric":{"__name__":"load","host":"x"},"values":[3],"timestamps":[1600000000000]}\n'
)


@pytest.fixture(autouse=True)
def _not_nicer(monkeypatch):
    """The tests stay as important as they are."""
    monkeypatch.setattr(import_.os, "nice", lambda by: by)


def tsdb(*arguments: str) -> int:
    return main.run(["tsdb", *arguments])


def imported(tmp_path, name: str, file) -> str:
    """Import a file into a new directory and have it taken over; return the option that names the directory."""
    path = f"--storage.tsdb.path={tmp_path / name}"
    code = tsdb("import", "--create", path, str(file))
    assert code == 0
    from tinyobs.model.registry import SeriesRegistry
    from tinyobs.storage.engine import open_directory
    from tinyobs.storage.restore import KEEP_ALL

    engine = open_directory(tmp_path / name, SeriesRegistry(), lambda: 1_700_000_000_000, KEEP_ALL)
    while engine.maintain(1_700_000_000_000):
        pass
    engine.close()
    return path


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "jsonl.zst", "om", "rw", "parquet"])
def test_what_is_exported_is_imported_again(tmp_path, suffix, capsys):
    """Through a file of each format: the same lines in the end."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "first.jsonl").write_text(LINES)
    path = imported(tmp_path, "one", tmp_path / "first.jsonl")
    assert tsdb("export", path, "--output", str(tmp_path / f"x.{suffix}")) == 0
    again = imported(tmp_path, "two", tmp_path / f"x.{suffix}")
    assert tsdb("export", again, "--output", str(tmp_path / "last.jsonl")) == 0
    assert sorted((tmp_path / "last.jsonl").read_text().splitlines()) == sorted(LINES.splitlines())
    assert "exported 5 samples of 2 series" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.part"))


def test_selectors_and_times_choose_what_is_exported(tmp_path, capsysbinary):
    """A series that two selectors match is written once; both times are included."""
    (tmp_path / "first.jsonl").write_text(LINES)
    path = imported(tmp_path, "one", tmp_path / "first.jsonl")
    capsysbinary.readouterr()
    chosen = ("--match", "up", "--match", '{job=~"a.*"}', "--start", "1600000015", "--end", "1600000030.001")
    assert tsdb("export", path, "--format", "csv", *chosen) == 0
    out = capsysbinary.readouterr().out.decode()
    assert out == ('__name__,job,timestamp_ms,value\nup,"a,""b",1600000015000,0.1\nup,"a,""b",1600000030001,-0\n')
    assert tsdb("export", path, "--start", "5", "--end", "4") == 2
    assert tsdb("export", f"--storage.tsdb.path={tmp_path / 'none'}") == 3


def test_several_files_and_patterns_are_one_import(tmp_path, capsys):
    """Compressed or not; the journal knows them all, and the same again is refused without --again."""
    for i in range(3):
        data = f"# TYPE a gauge\na{i} 1 {1_600_000_000 + i}\n# EOF\n".encode()
        (tmp_path / f"f{i}.om.gz").write_bytes(gzip.compress(data))
    path = f"--storage.tsdb.path={tmp_path / 'data'}"
    assert tsdb("import", path, str(tmp_path / "*.om.gz")) == 3
    assert "no directory" in capsys.readouterr().err
    assert tsdb("import", "--create", path, str(tmp_path / "*.om.gz"), "--rate", "100000") == 0
    assert "imported 3 samples, 3 series" in capsys.readouterr().out
    assert tsdb("import", path, str(tmp_path / "*.om.gz")) == 2
    assert "--again" in capsys.readouterr().err
    assert tsdb("import", path, "--again", str(tmp_path / "*.om.gz")) == 0
    assert tsdb("import", path, str(tmp_path / "nothing*.csv")) == 2
    assert tsdb("import", path, str(tmp_path / "absent.csv")) == 2
    assert tsdb("import", path, str(tmp_path / "f0.om.gz"), "-") == 2


def test_old_samples_bring_a_warning_with_the_retention(tmp_path, capsys):
    """A daemon would drop them at once; with a long retention nothing is said."""
    (tmp_path / "a.om").write_text("a 1 1600000000\n# EOF\n")
    path = f"--storage.tsdb.path={tmp_path / 'data'}"
    assert tsdb("import", "--create", path, str(tmp_path / "a.om")) == 0
    assert "older than 15d" in capsys.readouterr().err
    assert tsdb("import", path, "--again", "--storage.tsdb.retention.time=100y", str(tmp_path / "a.om")) == 0
    assert "WARNING" not in capsys.readouterr().err


def test_one_import_at_a_time(tmp_path, capsys):
    """The second one names the first one's process."""
    from tinyobs.cli.tsdb.importing import incoming_disk

    (tmp_path / "a.om").write_text("a 1 1600000000\n# EOF\n")
    with incoming_disk(tmp_path / "data"):
        assert tsdb("import", f"--storage.tsdb.path={tmp_path / 'data'}", str(tmp_path / "a.om")) == 3
    assert "another import is running" in capsys.readouterr().err
