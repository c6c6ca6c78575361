"""Targets from files that others write."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.abc import DiscovererContext, TargetGroup
from tinyobs.builtin import file_sd
from tinyobs.builtin.file_sd import LOOK_EVERY_SECONDS, FileDiscoverer, WatchedFiles, read_groups
from tinyobs.config.discovery import FileSdConfig
from tinyobs.config.fields import FilePath
from tinyobs.config.loader import load
from tinyobs.config.schema import Config
from tinyobs.errors import ConfigError
from tinyobs.model.durations import DurationMs

YAML = "- targets: ['a:1', b]\n  labels: {env: prod, port: 5}\n- targets: [c]\n"


class FixedClock:
    """Always the same time."""

    def now_ms(self) -> int:
        """Return it."""
        return 0


def group(name: str | os.PathLike[str], index: int, *targets: str, **labels: str) -> TargetGroup:
    """Return the group that a file gives."""
    addresses = tuple({"__address__": t} for t in targets)
    return TargetGroup(f"{name}:{index}", addresses, {**labels, "__meta_filepath": str(name)} if targets else {})


def touch(path: Path, text: str, second: int) -> None:
    """Write a file with a modification time of its own, so that no test depends on the clock's grain."""
    path.write_text(text)
    os.utime(path, (second, second))


@pytest.mark.parametrize("suffix", [".yml", ".yaml", ".YAML"])
def test_yaml_files(tmp_path: Path, suffix: str) -> None:
    """Every group carries the file's name, and labels are texts."""
    file = tmp_path / f"t{suffix}"
    file.write_text(YAML)
    assert read_groups(str(file)) == (group(file, 0, "a:1", "b", env="prod", port="5"), group(file, 1, "c"))


def test_json_files(tmp_path: Path) -> None:
    """JSON may hold what YAML does not, such as tabs between tokens."""
    file = tmp_path / "t.json"
    file.write_text('\t[{"targets":\t["a:1"], "labels": {"env": "pr\\u006fd"}},\n\t{"targets": []}]')
    first, second = read_groups(str(file))
    assert first == group(file, 0, "a:1", env="prod")
    assert second.targets == ()


@pytest.mark.parametrize("name", ["t.json", "t.yml"])
@pytest.mark.parametrize(
    "content", ["{}", '[{"target": ["a"]}]', "[null]", "[[1]]", '[{"targets": "a"}]', '[{"targets": [["a"]]}]', "[{]"]
)
def test_bad_files(tmp_path: Path, name: str, content: str) -> None:
    """What is no list of groups is refused as a whole."""
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError):
        read_groups(str(tmp_path / name))


def test_deep_json_is_refused(tmp_path: Path) -> None:
    """Nesting is bounded."""
    file = tmp_path / "t.json"
    for depth in (100, 200_000):
        file.write_text("[" * depth + "]" * depth)
        with pytest.raises(ConfigError, match="invalid JSON"):
            read_groups(str(file))


def test_only_changes_are_reported(tmp_path: Path) -> None:
    """A file is read when its time changed; a group that is gone is reported without targets."""
    file = tmp_path / "a.yml"
    watched = WatchedFiles((str(tmp_path / "*.yml"),))
    assert watched.look(True) == []
    touch(file, YAML, 1)
    assert watched.look(False) == [group(file, 0, "a:1", "b", env="prod", port="5"), group(file, 1, "c")]
    assert watched.look(False) == []
    assert watched.look(True) == []
    touch(file, "[{targets: [x]}]", 2)
    assert watched.look(False) == [group(file, 0, "x"), group(file, 1)]
    assert watched.mtimes == {str(file): 2.0}
    file.unlink()
    assert watched.look(False) == [group(file, 0)]
    assert watched.mtimes == {}


def test_a_bad_file_keeps_its_last_good_groups(tmp_path: Path) -> None:
    """The failure is counted each time the file is read; what was good stands until it is good again."""
    file = tmp_path / "a.yml"
    touch(file, "[{targets: [x]}]", 1)
    watched = WatchedFiles((str(file),))
    assert watched.look(True) == [group(file, 0, "x")]
    touch(file, "[{targets: [x", 2)
    assert watched.look(False) == []
    assert watched.look(False) == []
    assert watched.read_errors == 1
    assert watched.look(True) == []
    assert watched.read_errors == 2
    touch(file, "[{targets: [x]}, {targets: [y]}]", 3)
    assert watched.look(False) == [group(file, 1, "y")]


def test_a_file_that_two_patterns_match_is_read_once(tmp_path: Path) -> None:
    """Groups have unique sources."""
    touch(tmp_path / "a.yml", "[{targets: [x]}]", 1)
    watched = WatchedFiles((str(tmp_path / "a.yml"), str(tmp_path / "*.yml")))
    assert len(watched.look(True)) == 1


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More files than the limit are an error that is counted; the first ones are read."""
    monkeypatch.setattr(file_sd, "FILES_MAX", 2)
    for name in "abc":
        touch(tmp_path / f"{name}.yml", "[{targets: [x]}]", 1)
    watched = WatchedFiles((str(tmp_path / "*.yml"),))
    assert len(watched.look(True)) == 2
    assert watched.read_errors == 1


async def test_changes_are_published(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The first groups come before the start is reported, later ones within the time between two looks."""
    file = tmp_path / "a.json"
    touch(file, json.dumps([{"targets": ["x"]}]), 1)
    sender, receiver = trio.open_memory_channel[Sequence[TargetGroup]](10)
    config = FileSdConfig(files=(FilePath(f"{tmp_path}/*.json"),), refresh_interval_ms=DurationMs(60_000))
    (kind,) = file_sd.tinyobs_discoverers()
    discoverer = kind.make(config, DiscovererContext("job", 0, "", FixedClock()))
    assert isinstance(discoverer, FileDiscoverer)
    await nursery.start(discoverer.run, sender.send)
    assert receiver.receive_nowait() == [group(file, 0, "x")]
    touch(file, json.dumps([{"targets": ["y"]}]), 2)
    before = trio.current_time()
    assert await receiver.receive() == [group(file, 0, "y")]
    assert trio.current_time() - before <= LOOK_EVERY_SECONDS
    assert discoverer.statistics().mtime_seconds == {str(file): 2.0}
    nursery.cancel_scope.cancel()


def written_configuration() -> Config:
    """Write a configuration and a file of targets into a folder of the current one; return what was read."""
    Path("conf").mkdir()
    Path("conf/a.yml").write_text("[{targets: [x]}]")
    Path("conf/main.yml").write_text("scrape_configs: [{job_name: j, file_sd_configs: [{files: [a.yml]}]}]")
    return load("conf/main.yml")


async def test_a_relative_path_starts_at_the_configuration_file(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the configuration file itself is named by a relative path."""
    monkeypatch.chdir(tmp_path)
    config = written_configuration()
    ((_, (entry,)),) = config.scrape_configs[0].discovery
    published: list[Sequence[TargetGroup]] = []

    async def publish(groups: Sequence[TargetGroup]) -> None:
        published.append(groups)

    await nursery.start(FileDiscoverer(entry, DiscovererContext("j", 0, config.folder, FixedClock())).run, publish)
    nursery.cancel_scope.cancel()
    assert published == [[group("conf/a.yml", 0, "x")]]


async def test_everything_is_read_again_at_the_interval(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A change that leaves time and size as they were is seen at the refresh interval."""
    file = tmp_path / "a.yml"
    touch(file, "[{targets: [x]}]", 1)
    sender, receiver = trio.open_memory_channel[Sequence[TargetGroup]](10)
    config = FileSdConfig(files=(FilePath(str(file)),), refresh_interval_ms=DurationMs(60_000))
    discoverer = FileDiscoverer(config, DiscovererContext("job", 0, "", FixedClock()))
    await nursery.start(discoverer.run, sender.send)
    assert receiver.receive_nowait()
    before = trio.current_time()
    touch(file, "[{targets: [y]}]", 1)
    assert await receiver.receive() == [group(file, 0, "y")]
    assert 55 <= trio.current_time() - before <= 65
    nursery.cancel_scope.cancel()


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='[]{}":, targetslb1\n\t', max_size=60).map(str.encode))
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """No content of a file stops the discovery."""
    folder = tmp_path_factory.getbasetemp()
    for name in ("f.json", "f.yml"):
        (folder / name).write_bytes(data)
        watched = WatchedFiles((str(folder / name),))
        watched.look(True)
        assert watched.read_errors in (0, 1)
