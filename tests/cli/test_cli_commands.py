"""The commands beside `run` and `query`: check, plugins, version, help; exit codes and messages."""

from __future__ import annotations

import json

import click
import pytest

import tinyobs
from tinyobs.cli import main
from tinyobs.cli.main import run
from tinyobs.errors import CorruptionError, FormatVersionError, LockedError, StorageError, UsageError
from tinyobs.plugin_manager import BUILTIN, ESSENTIAL

GOOD = "scrape_configs: [{job_name: a, static_configs: [{targets: [x:1]}]}]\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a file into the working directory and gives its name."""
    monkeypatch.chdir(tmp_path)

    def give(name, text):
        (tmp_path / name).write_text(text)
        return name

    return give


def test_a_good_configuration_is_called_fine(write, capsys):
    """Exit code 0, a line a file."""
    assert run(["check", "config", write("a.yml", GOOD), write("b.yml", "")]) == 0
    assert capsys.readouterr().out == "a.yml: fine, 1 scrape configs\nb.yml: fine, 0 scrape configs\n"


def test_every_fault_of_every_file_is_printed(write, capsys):
    """Exit code 1; each fault begins its line with file, line and column, and the last line counts."""
    assert run(["check", "config", write("a.yml", "globl: {}\nrule_file: []\n"), write("b.yml", "x: 1\n")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["a.yml:1:1", "a.yml:2:1", "b.yml:1:1", "tinyobs"]
    assert lines[-1] == "tinyobs: 3 faults in the configuration"


def test_a_missing_file_is_told(write, capsys):
    """The path is in the message."""
    write("x", "")
    assert run(["check", "config", "gone.yml"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "gone.yml: cannot be read: No such file or directory",
        "tinyobs: 1 fault in the configuration",
    ]


def test_what_has_no_effect_yet_is_a_warning(write, capsys):
    """The file is fine, but the operator learns what does nothing."""
    assert run(["check", "config", write("a.yml", "remote_read: [{url: 'http://x/y'}]\n")]) == 0
    assert "remote_read" in capsys.readouterr().err


def test_sections_of_plugin_files_are_known_to_check(write, capsys):
    """With `--plugin` the section is read, without it is a fault."""
    plugin = write(
        "lamp.py",
        "import attrs\nimport tinyobs\nfrom tinyobs.abc import ConfigSection\n"
        "@attrs.frozen(kw_only=True)\nclass Lamp:\n    colour: str = 'green'\n"
        "@tinyobs.hookimpl\ndef tinyobs_config_sections():\n    return [ConfigSection('lamp', Lamp)]\n",
    )
    file = write("a.yml", "tinyobs: {lamp: {colour: red}}\n")
    assert run(["check", "config", "--plugin", plugin, file]) == 0
    assert run(["check", "config", file]) == 1
    assert "lamp" in capsys.readouterr().err


def test_web_config_files_are_checked(write, capsys):
    """Good ones are fine, faults have positions."""
    assert run(["check", "web-config", write("w.yml", "http_server_config: {http2: true}\n")]) == 0
    assert run(["check", "web-config", write("v.yml", "http_server: {}\n")]) == 1
    assert capsys.readouterr().err.startswith("v.yml:1:1: ")


def test_check_without_a_file_is_a_wrong_command_line(capsys):
    """Exit code 2."""
    assert run(["check", "config"]) == 2
    assert "Missing argument 'FILES...'" in capsys.readouterr().err


def test_plugins_are_listed_as_a_table(capsys):
    """Name, version, origin, status and hooks, aligned."""
    assert run(["plugins", "--no-plugin", "host"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "VERSION", "ORIGIN", "STATUS", "HOOKS"]
    assert [row.split()[0] for row in rows if " off" not in row][: len(ESSENTIAL)] == list(ESSENTIAL)
    assert rows[-1].split() == ["host", "-", "built-in", "off"]


def test_plugins_are_listed_as_json(write, capsys):
    """All that is known of each, for programs; a plugin given as a file is among them."""
    file = write("mine.py", "import tinyobs\n@tinyobs.hookimpl\ndef tinyobs_sources():\n    return []\n")
    assert run(["plugins", "-o", "json", "--plugin", file]) == 0
    found = {p["name"]: p for p in json.loads(capsys.readouterr().out)}
    assert {*ESSENTIAL, *BUILTIN} <= set(found)
    assert found["mine"] == {
        "name": "mine", "version": "", "origin": "mine.py", "hooks": ["tinyobs_sources"], "status": "active",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--plugin", "gone.py"], "plugin file gone.py does not exist"),
        (["--no-plugin", "x"], "cannot switch off plugin 'x': choose from static_sd"),
    ],
)
def test_a_wrong_plugin_is_named(arguments, part, capsys):
    """Exit code 1 and a message."""
    assert run(["plugins", *arguments]) == 1
    assert part in capsys.readouterr().err


def test_the_version_is_shown_shortly_and_at_length(capsys):
    """`--version` is one line, `version` says what it runs on."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"tinyobs {tinyobs.__version__}\n"
    assert run(["version"]) == 0
    assert "numpy" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["check"], ["query"], ["plugins"], ["run"], ["query", "instant"]])
def test_every_command_has_help(arguments, capsys):
    """`--help` and `-h` print it and end with 0."""
    for flag in ("--help", "-h"):
        assert run([*arguments, flag]) == 0
        assert "Usage: tinyobs" in capsys.readouterr().out


def test_an_unknown_command_is_a_wrong_command_line(capsys):
    """Exit code 2."""
    assert run(["walk"]) == 2
    assert "No such command 'walk'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LockedError("locked"), 3),
        (CorruptionError("f", 1, "bad"), 3),
        (FormatVersionError("new"), 3),
        (StorageError("disk"), 3),
        (UsageError("flag"), 2),
        (ExceptionGroup("", [UsageError("a used port")]), 1),
        (ExceptionGroup("", [ExceptionGroup("", [LockedError("locked")]), StorageError("too")]), 3),
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130),
        (click.Abort(), 130),
    ],
)
def test_exit_codes(error, code, monkeypatch, capsys):
    """Each kind of failure has its code, alone or in a group; every error of ours is printed once."""

    def fail(**more):
        raise error

    monkeypatch.setattr(main.tinyobs, "main", fail)
    assert run([]) == code
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == sum(isinstance(e, Exception) and not isinstance(e, click.Abort) for e in main.leaves(error))
    assert all(line.startswith("tinyobs: ") for line in printed)


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), ExceptionGroup("", [LockedError("x"), KeyError("bug")])])
def test_a_bug_is_not_hidden(error, monkeypatch):
    """What is not ours goes on up, with its traceback."""

    def fail(**more):
        raise error

    monkeypatch.setattr(main.tinyobs, "main", fail)
    with pytest.raises(type(error)):
        run([])


def test_check_config_reads_the_expressions_of_rule_files(tmp_path, capsys):
    """With the features that are given, and with functions of plugins."""
    rules = "groups: [{name: g, rules: [{record: a, expr: 'info(b)'}, {record: c, expr: 'distinct_over_time(b[5m])'}]}]"
    (tmp_path / "rules.yml").write_text(rules)
    main = tmp_path / "main.yml"
    main.write_text("rule_files: [rules.yml]")
    assert run(["check", "config", str(main)]) == 1
    assert 'function "info" is not enabled' in capsys.readouterr().err
    assert run(["check", "config", "--enable-feature=promql-experimental-functions", str(main)]) == 0
