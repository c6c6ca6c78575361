"""Metrics that other programs leave in files: every `*.prom` of a directory, in the classic text format.

Names as node_exporter's `textfile` collector.  A file that cannot be read or parsed, or that has timestamps, is left
out whole and sets `node_textfile_scrape_error`; the other files count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

import structlog
from attrs import define, field

from ...errors import ExpositionError
from ...exposition.formats import Format
from ...exposition.scrape_parser import NO_TIMESTAMP, ScrapeParser
from ...model.labels import NAME, Labels, drop, metric_name
from ...model.metadata import MetricMetadata, MetricType
from .gathering import Gathering
from .settings import Host

FILES_MAX: Final = 1000
"""Most files read in one collection."""
FILE_BYTES_MAX: Final = 16 << 20
"""Longest file, in bytes."""
_SUFFIXES: Final = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
_NAMES: Final = frozenset((NAME,))

_log = structlog.get_logger("tinyobs.host")


@define
class TextfileCollector:
    """Remembers what was wrong with each file, so that it is logged once."""

    _faults: dict[str, str] = field(factory=dict, init=False)

    def __call__(self, host: Host, out: Gathering) -> None:
        """Add the metrics of all files and what became of the files."""
        directory = host.settings.textfile_directory
        failed = False
        names: list[str] = []
        try:
            names = sorted(n for n in os.listdir(directory) if n.endswith(".prom")) if directory else []
        except OSError as e:
            failed = True
            self._note(directory, str(e))
        for name in names[:FILES_MAX]:
            path = os.path.join(directory, name)
            try:
                changed = add_file(path, out)
            except (OSError, ExpositionError, ValueError) as e:
                failed = True
                self._note(path, str(e))
                continue
            self._faults.pop(path, None)
            help = "When the file was last changed, in seconds since 1970."
            out.gauge("node_textfile_mtime_seconds", help, changed, (("file", path),))
        out.gauge("node_textfile_scrape_error", "Whether a file or the directory could not be read.", failed)

    def _note(self, path: str, reason: str) -> None:
        if self._faults.get(path) != reason:
            self._faults[path] = reason
            _log.warning("text file left out", file=path, reason=reason)


def add_file(path: str, out: Gathering) -> float:
    """Add the metrics of a file and return when it was changed; raises `OSError`, `ExpositionError`, `ValueError`."""
    with open(path, "rb") as f:
        body = f.read(FILE_BYTES_MAX + 1)
        changed = os.fstat(f.fileno()).st_mtime
    if len(body) > FILE_BYTES_MAX:
        raise ValueError(f"longer than {FILE_BYTES_MAX} bytes")
    parsed = ScrapeParser(Format.TEXT_0_0_4).parse(body)
    if parsed.timestamps_ms is not None and (parsed.timestamps_ms != NO_TIMESTAMP).any():
        raise ValueError("timestamps are not supported in text files")
    families = _families(parsed.metadata)
    for number, value in zip(parsed.series.tolist(), parsed.values.tolist(), strict=True):
        _add(out, parsed.new[number], value, families, f"Metric read from {path}")
    return changed


def _families(metadata: Mapping[str, MetricMetadata]) -> dict[str, tuple[str, MetricMetadata]]:
    """Return, for every name that a sample may have, its family and the family's metadata."""
    found: dict[str, tuple[str, MetricMetadata]] = {}
    for family, about in metadata.items():
        for suffix in ("", *_SUFFIXES.get(about.type, ())):
            found[family + suffix] = (family, about)
    return found


def _add(
    out: Gathering, series: Labels, value: float, families: dict[str, tuple[str, MetricMetadata]], default_help: str
) -> None:
    name = metric_name(series)
    family, about = families.get(name, (name, MetricMetadata()))
    labels = drop(series, _NAMES)
    out.add(about.type, family, about.help or default_help, value, labels, name.removeprefix(family))
