"""Log lines: one line an event whatever is in it, in both formats, from a level up."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from tinyobs.cli import logs


@pytest.fixture
def configured(monkeypatch):
    """Return a function that configures logging; conftest.py puts everything back."""

    def give(level="info", format="logfmt"):
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        logs.configure(level, format)
        return structlog.get_logger("part")

    return give


@pytest.mark.parametrize("format", logs.FORMATS)
def test_an_event_is_one_line(configured, capsys, format):
    """Newlines, quotes and blanks in values do not break the line."""
    configured(format=format).info("a message", text='a\nb "c" = d', number=1)
    (line,) = capsys.readouterr().err.splitlines()
    if format == "json":
        entry = json.loads(line)
        assert entry["text"] == 'a\nb "c" = d'
        assert (entry["msg"], entry["component"], entry["level"], entry["number"]) == ("a message", "part", "info", 1)
    else:
        assert 'level=info component=part msg="a message"' in line
        assert "number=1" in line


@pytest.mark.parametrize("format", logs.FORMATS)
def test_an_exception_is_one_line(configured, capsys, format):
    """Its text is a field of its own, its traceback another."""
    try:
        raise ValueError("two\nlines")
    except ValueError as e:
        configured(format=format).error("it failed", exc_info=e)
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: two" in line
    assert "Traceback" in line


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_shown(configured, capsys, level, shown):
    """Upstream's names of levels."""
    log = configured(level)
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert len(capsys.readouterr().err.splitlines()) == shown


def test_what_libraries_log_is_shown_from_warnings_up(configured, capsys):
    """Their chatter is not ours."""
    configured("debug", "json")
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("two\nlines %d", 1)
    try:
        raise ValueError("no")
    except ValueError:
        library.exception("it failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["component"], first["msg"]) == ("warning", "some.library", "two\nlines 1")
    assert (second["level"], second["error"]) == ("error", "ValueError: no")


def test_times_are_utc(configured, capsys):
    """In ISO 8601 with Z."""
    configured(format="json").info("x")
    assert json.loads(capsys.readouterr().err)["ts"].endswith("Z")
