"""The section `tinyobs.parquet_sinks`: a list of folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from tinyobs.config.fields import Fault, FilePath, setting
from tinyobs.model.durations import DurationMs
from tinyobs.sinks.settings import SinkSettings

SECTION: Final = "parquet_sinks"
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Partition(StrEnum):
    """How files are parted into folders, by the time of their samples (UTC)."""

    NONE = "none"
    DAY = "day"
    HOUR = "hour"


@frozen(kw_only=True)
class ParquetSinkSettings(SinkSettings):
    """One folder with files."""

    path: FilePath = setting()
    """The folder; it must exist."""
    partition: Partition = setting(default=Partition.DAY)
    """`day` for folders such as date=2026-11-28, `hour` for hour=07 within, `none` for no folders; default day."""
    flush_every_ms: DurationMs = setting("flush_every", default=DurationMs(300_000), low=100, high=86_400_000)
    """How long samples are gathered for a file; default 5m.  Until then the log keeps them."""
    rows_max: int = setting(default=1_000_000, low=1, high=20_000_000)
    """Rows that are gathered at most; default 1000000."""
    stale_markers: bool = setting(default=False)
    """Whether the ends of series are rows, with the staleness marker as their value; default false."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong."""
        yield from super().faults()
        if not _FILE_NAME.fullmatch(self.name):
            yield Fault("the name begins the names of files: letters, digits, _ and - are allowed", "name")


SCHEMA: Final[Any] = tuple[ParquetSinkSettings, ...]
"""The type of the section; called, it gives the default, no folder."""
