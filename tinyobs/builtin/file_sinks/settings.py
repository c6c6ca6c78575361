"""The section `tinyobs.file_sinks`: a list of files."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from ...abc import CursorStart
from ...config.fields import Fault, FilePath, setting
from ...errors import QueryParseError
from ...model.durations import DurationMs, parse_duration
from ...model.sizes import SizeBytes
from ...promql.parser import parse_selector

SECTION: Final = "file_sinks"
NOW: Final = "now"
OLDEST: Final = "oldest"
NAME_MAX: Final = 60


class Compression(StrEnum):
    """How files that are full are compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@frozen(kw_only=True)
class FileSinkSettings:
    """One file."""

    name: str = setting()
    """What the cursor, the logs and the metrics call it."""
    path: FilePath = setting()
    """The file; its folder must exist."""
    match: tuple[str, ...] = setting(default=())
    """Selectors; series that fulfil any of them are written.  Default: all."""
    start: str = setting(default=NOW)
    """Where a new sink begins: `now`, `oldest` (all that the log still has), or an age such as 1d; default now."""
    rotate_bytes: SizeBytes = setting("rotate_size", default=SizeBytes(100 << 20), low=4096, high=1 << 40)
    """Size at which the file is followed by the next; default 100MiB."""
    rotate_ms: DurationMs = setting("rotate_every", default=DurationMs(0), low=0)
    """Age at which it is; default 0s, never."""
    keep: int = setting(default=10, low=0, high=100_000)
    """How many files that are full are kept; default 10."""
    compress: Compression = setting(default=Compression.NONE)
    """How they are compressed: `none`, `gzip` or `zstd`; default none."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the name, the selectors and the start."""
        if not 0 < len(self.name) <= NAME_MAX:
            yield Fault(f"a name has 1 to {NAME_MAX} characters", "name")
        for text in self.match:
            try:
                parse_selector(text)
            except QueryParseError as e:
                yield Fault(f"{text!r} is not a series selector: {e}", "match")
        try:
            self.cursor_start()
        except ValueError as e:
            yield Fault(f"start: {NOW}, {OLDEST} or an age, not {self.start!r}: {e}", "start")

    def cursor_start(self) -> CursorStart:
        """Return where a new cursor begins."""
        if self.start == OLDEST:
            return CursorStart(None)
        return CursorStart(0 if self.start == NOW else parse_duration(self.start))


SCHEMA: Final[Any] = tuple[FileSinkSettings, ...]
"""The type of the section; called, it gives the default, no file."""
