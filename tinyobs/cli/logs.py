"""How the daemon logs: structlog to standard error, as logfmt or JSON, from a level up."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final

import structlog

LEVELS: Final = ("debug", "info", "warn", "error")
FORMATS: Final = ("logfmt", "json")


def configure(level: str, format: str) -> None:
    """Set up logging for the process; also takes what libraries log with the standard library."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any
    if format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.processors.LogfmtRenderer(
            key_order=["ts", "level", "component", "msg"], bool_as_flag=False
        )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_component,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.EventRenamer("msg"),
    ]
    structlog.configure(
        processors=[*shared, _one_line_traceback, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_NamedLogger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Forward()], force=True)


class _Forward(logging.Handler):
    """Gives what libraries log to structlog, so that every line has the one format."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record under the name of the library's logger."""
        error = record.exc_info[1] if record.exc_info else None
        more = {"exc_info": error} if error is not None else {}
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), **more)


class _NamedLogger(structlog.PrintLogger):
    """Writes to standard error and knows the name it was asked for."""

    def __init__(self, name: str = "") -> None:
        super().__init__(sys.stderr)
        self.name = name

    def msg(self, message: str) -> None:
        """Write a line; one that cannot be written (a full disk, a reader that is gone) is lost and stops nothing."""
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warning = error = critical = msg


def _add_component(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("component", logger.name)
    return event


def _one_line_traceback(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn an exception into its text and its traceback as values; a log line stays one line."""
    error = event.pop("exc_info", None)
    if isinstance(error, BaseException):
        import traceback

        event["error"] = f"{type(error).__name__}: {error}"
        event["traceback"] = "".join(traceback.format_exception(error))
    return event
