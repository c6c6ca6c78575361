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
from tinyobs.builtin.file_sd import FileDiscoverer, WatchedFiles, read_groups
from tinyobs.config.discovery import FileSdConfig
from tinyobs.config.fields import FilePath
from tinyobs.config.loader import load
from tinyobs.config.schema import Config
from tinyobs.discovery import inotify
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
    """The first groups come before the start is reported, later ones at once."""
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
    assert trio.current_time() - before < 1
    statistics = discoverer.statistics()
    assert statistics.mtime_seconds == {str(file): 2.0}
    assert statistics.scans_total.points[1].value >= 2
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
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, no_inotify: None
) -> None:
    """A change that nobody tells of, and that leaves time and size as they were, is seen at the refresh interval."""
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


@pytest.fixture
def no_inotify(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without inotify, or with no more of it."""
    monkeypatch.setattr(inotify, "_library", lambda: None)


async def following(nursery: trio.Nursery, *patterns: str) -> tuple[FileDiscoverer, list[str]]:
    """Start a discovery of files; return it and the addresses that there are now, which change with time."""
    discoverer = FileDiscoverer(
        FileSdConfig(files=tuple(map(FilePath, patterns)), refresh_interval_ms=DurationMs(3_600_000)),
        DiscovererContext("job", 0, "", FixedClock()),
    )
    groups: dict[str, TargetGroup] = {}
    addresses: list[str] = []

    async def publish(changed: Sequence[TargetGroup]) -> None:
        groups.update({g.source: g for g in changed})
        addresses[:] = sorted(t["__address__"] for g in groups.values() for t in g.targets)

    await nursery.start(discoverer.run, publish)
    return discoverer, addresses


async def until_is(addresses: list[str], *expected: str) -> None:
    """Wait until these are the addresses."""
    with trio.fail_after(90):
        while addresses != sorted(expected):  # noqa: ASYNC110
            await trio.sleep(0.01)


def put(path: Path, *addresses: str) -> None:
    """Write a file of targets in place."""
    path.write_text(json.dumps([{"targets": addresses}]))


def replace(path: Path, *addresses: str) -> None:
    """Write a file of targets beside its place, and move it there."""
    put(path.with_suffix(".tmp"), *addresses)
    path.with_suffix(".tmp").rename(path)


async def test_every_kind_of_change_is_told(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Written, replaced, linked, moved in and out, deleted, also two files in one go and of two directories."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    discoverer, addresses = await following(nursery, f"{one}/*.json", f"{two}/t.json")
    put(one / "a.json", "a:1")
    await until_is(addresses, "a:1")
    put(one / "a.json", "a:2")
    put(two / "t.json", "t:1")
    await until_is(addresses, "a:2", "t:1")
    replace(two / "t.json", "t:2")
    await until_is(addresses, "a:2", "t:2")
    put(tmp_path / "b.json", "b:1")
    (one / "b.json").hardlink_to(tmp_path / "b.json")
    await until_is(addresses, "a:2", "b:1", "t:2")
    (one / "b.json").rename(tmp_path / "c.json")
    await until_is(addresses, "a:2", "t:2")
    (one / "a.json").unlink()
    await until_is(addresses, "t:2")
    assert discoverer.statistics().watcher_errors_total == 0
    assert discoverer.statistics().read_errors_total == 0
    nursery.cancel_scope.cancel()


async def test_links_are_followed(tmp_path: Path, nursery: trio.Nursery) -> None:
    """A change of the file that a link leads to is told, and a link to another folder, as Kubernetes makes them."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        put(tmp_path / version / "t.json", f"{version}:1")
    place = tmp_path / "conf"
    place.mkdir()
    (place / "..data").symlink_to(tmp_path / "v1")
    (place / "t.json").symlink_to("..data/t.json")
    _, addresses = await following(nursery, f"{place}/*.json")
    assert addresses == ["v1:1"]
    put(tmp_path / "v1" / "t.json", "v1:2")
    await until_is(addresses, "v1:2")
    (place / "..new").symlink_to(tmp_path / "v2")
    (place / "..new").rename(place / "..data")
    await until_is(addresses, "v2:1")
    put(tmp_path / "v2" / "t.json", "v2:2")
    await until_is(addresses, "v2:2")
    nursery.cancel_scope.cancel()


async def test_a_file_that_is_being_written_is_not_read(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Only when it is closed; until then its last good targets stay, and no error is counted."""
    file = tmp_path / "a.json"
    put(file, "a:1")
    discoverer, addresses = await following(nursery, str(file))
    new = tmp_path / "b.json"
    with file.open("w") as f, new.open("w") as g:
        f.write('[{"targets": ["a:2"')
        f.flush()
        g.write("[")
        g.flush()
        put(tmp_path / "other.txt", "x")
        await trio.sleep(0.2)
        assert addresses == ["a:1"]
        f.write("]}]")
    await until_is(addresses, "a:2")
    assert discoverer.statistics().read_errors_total == 0
    nursery.cancel_scope.cancel()


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look every now and then where nobody tells of changes."""
    monkeypatch.setattr(file_sd, "LOOK_EVERY_SECONDS", 0.05)


async def test_a_directory_that_comes_later(tmp_path: Path, nursery: trio.Nursery, looks_often: None) -> None:
    """It is looked for every few seconds, then watched; also after it was removed and made anew."""
    place = tmp_path / "later"
    discoverer, addresses = await following(nursery, f"{place}/*.json")
    for n in (1, 2):
        place.mkdir()
        put(place / "a.json", f"a:{n}")
        await until_is(addresses, f"a:{n}")
        (place / "a.json").unlink()
        place.rmdir()
        await until_is(addresses)
    assert discoverer.statistics().watcher_errors_total >= 1
    nursery.cancel_scope.cancel()


async def test_without_inotify_files_are_looked_at(
    tmp_path: Path, nursery: trio.Nursery, no_inotify: None, looks_often: None
) -> None:
    """Every few seconds; the lack is counted."""
    file = tmp_path / "a.json"
    discoverer, addresses = await following(nursery, str(file))
    put(file, "a:1")
    await until_is(addresses, "a:1")
    assert discoverer.statistics().watcher_errors_total == 1
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
