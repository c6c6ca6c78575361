"""The golden directories: every format that was released opens, sound and damaged, with exactly what it held.

Made by tests/golden/make.py; tests/golden/README.md says when.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from golden.content import plain_content
from golden.make import NOW_MS, OPTIONS, Clock

from tinyobs.errors import CorruptionError, FormatVersionError
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import Engine
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.storage.read_only_disk import ReadOnlyDisk
from tinyobs.storage.verify import verify_directory

ROOT = Path(__file__).resolve().parents[1] / "golden"
VERSIONS = sorted(p.name for p in ROOT.glob("v*"))
DAMAGES = [(v, d) for v in VERSIONS for d in json.loads((ROOT / v / "damage.json").read_text())]


def opened(folder):
    clock = Clock()
    clock.now_ms = NOW_MS
    return Engine.open(PosixDisk(folder), SeriesRegistry(), OPTIONS, clock)


def expected(version):
    return json.loads((ROOT / version / "content.json").read_text())


def read(folder):
    """Open a directory and return what it holds, as JSON would give it back."""
    engine = opened(folder)
    try:
        return json.loads(json.dumps(plain_content(engine)))
    finally:
        engine.close()


@pytest.fixture
def copied(request, tmp_path):
    version = request.param
    shutil.copytree(ROOT / version / "data", tmp_path / "data")
    return version, tmp_path / "data"


@pytest.mark.parametrize("copied", VERSIONS, indirect=True)
def test_a_golden_directory_is_sound_and_holds_what_it_held(copied):
    """Every sample, tier, exemplar and metadata is there to the bit; opening again gives the same."""
    version, folder = copied
    report = verify_directory(ReadOnlyDisk(folder))
    assert report.findings == []
    assert report.segments > 10
    assert report.log_records > 20
    want = expected(version)
    for _ in range(2):
        got = read(folder)
        for key in want:
            assert got[key] == want[key], key
    assert verify_directory(ReadOnlyDisk(folder)).damage == []


@pytest.mark.parametrize("copied", VERSIONS, indirect=True)
def test_a_golden_directory_can_be_worked_with(copied):
    """Merging, cleaning and building tiers anew changes no sample that can be asked for."""
    version, folder = copied
    engine = opened(folder)
    at = NOW_MS
    for _ in range(5):
        at += 120_000
        while engine.maintain(at):
            pass
    assert engine.statistics().maintenance_failures_total == 0
    assert engine.segments.deletes == ()
    got = json.loads(json.dumps(plain_content(engine)))
    engine.close()
    assert got["series"] == expected(version)["series"]
    assert verify_directory(ReadOnlyDisk(folder)).damage == []


def apply(damage, folder):
    path = folder / damage["file"]
    data = bytearray(path.read_bytes())
    for at, digits in damage.get("edits", ()):
        new = bytes.fromhex(digits)
        data[at : at + len(new)] = new
    data += bytes.fromhex(damage.get("append", ""))
    path.write_bytes(bytes(data[: damage.get("cut", len(data))]))


@pytest.mark.parametrize(("version", "damage"), DAMAGES, ids=[f"{v}-{d['name']}" for v, d in DAMAGES])
def test_damage_to_a_golden_directory_is_told(version, damage, tmp_path):
    """The message names file, byte and reason; what is normal after a crash costs nothing; the rest is never repaired."""
    folder = tmp_path / "data"
    shutil.copytree(ROOT / version / "data", folder)
    apply(damage, folder)
    file = damage["file"]
    if "newer" in damage:
        with pytest.raises(FormatVersionError, match=f"{file} has {damage['newer']}; .*upgrade TinyObs"):
            opened(folder)
        return
    report = verify_directory(ReadOnlyDisk(folder))
    if "torn" in damage:
        assert not report.damage
        (finding,) = report.findings
        assert finding.file == file
        assert read(folder) == expected(version)
        return
    assert {f.file for f in report.damage} == {file}
    assert report.damage[0].lost
    place = damage.get("offset")
    with pytest.raises(CorruptionError, match=re.escape(damage["says"])) as caught:
        read(folder)
    assert caught.value.file == file
    assert place is None or caught.value.offset == place
    assert place is None or report.damage[0].offset == place
