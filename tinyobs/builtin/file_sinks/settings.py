"""The section `tinyobs.file_sinks`: a list of files."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from ...config.fields import FilePath, setting
from ...model.durations import DurationMs
from ...model.sizes import SizeBytes
from ...sinks.settings import SinkSettings

SECTION: Final = "file_sinks"


class Compression(StrEnum):
    """How files that are full are compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@frozen(kw_only=True)
class FileSinkSettings(SinkSettings):
    """One file."""

    path: FilePath = setting()
    """The file; its folder must exist."""
    rotate_bytes: SizeBytes = setting("rotate_size", default=SizeBytes(100 << 20), low=4096, high=1 << 40)
    """Size at which the file is followed by the next; default 100MiB."""
    rotate_ms: DurationMs = setting("rotate_every", default=DurationMs(0), low=0)
    """Age at which it is; default 0s, never."""
    keep: int = setting(default=10, low=0, high=100_000)
    """How many files that are full are kept; default 10."""
    compress: Compression = setting(default=Compression.NONE)
    """How they are compressed: `none`, `gzip` or `zstd`; default none."""


SCHEMA: Final[Any] = tuple[FileSinkSettings, ...]
"""The type of the section; called, it gives the default, no file."""
