"""Parquet files of one sink in a folder: written aside, made durable, then given their names.

Format of a file: a column for each label that its series have, `timestamp` (ms, UTC), `value`, `histogram`; as
`tinyobs tsdb export` writes it and `tinyobs tsdb import` reads it (`tinyobs/interchange/parquet_writer.py`).  Rows stand
by series and time.

`.NAME.places` says which files belong to which place in the log, before they have their names.  When an earlier process
ended between the two, or before the log had noted the place, its last files are removed, since the log is read again from
there.  Files of a log that is no more are left alone: nothing that is read from a new log is in doubt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from attrs import define, field, frozen
from numpy.typing import NDArray
from tinyobs.abc import LogPosition
from tinyobs.interchange.parquet_writer import ParquetWriter
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histograms
from tinyobs.model.registry import SeriesRegistry

from .settings import ParquetSinkSettings, Partition

PLACES_KEPT: Final = 32
"""Flushes that are remembered; the log notes a place well within a second."""
ROW_GROUP_SAMPLES: Final = 250_000
"""About how many rows a row group has."""
_DAY_MS: Final = 86_400_000
_PERIODS: Final = {Partition.DAY: _DAY_MS, Partition.HOUR: 3_600_000}


@frozen(eq=False)
class Rows:
    """Samples to write: refs uint32[n], times in ms int64[n], values float64[n] with handles, and what those stand for."""

    refs: NDArray[np.uint32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    histograms: Histograms | None


@define(eq=False)
class Folder:
    """The files of a sink.  Synchronous; methods raise `OSError`."""

    settings: ParquetSinkSettings
    registry: SeriesRegistry
    _places: list[dict[str, Any]] = field(factory=list)

    def go_back(self, first: LogPosition, in_doubt: bool) -> int:
        """Remove what was written from a place on; return the rows in it.  Call it before the first `write`.

        first: the end of the first record that is read.  in_doubt: whether an earlier process may have written it.
        """
        for path in self._root.glob(f"**/.{self.settings.name}.*.parquet.tmp"):
            path.unlink()
        if not in_doubt:
            self._places_path.unlink(missing_ok=True)
            return 0
        self._places = _read_places(self._places_path)
        again = [p for p in self._places if LogPosition(*p["end"]) >= first]
        rows = 0
        for place in again:
            for name in place["files"]:
                path = self._root / name
                if ".." not in path.parts and path.suffix == ".parquet" and path.exists():
                    rows += pq.read_metadata(path).num_rows
                    path.unlink()
                    _sync_folder(path.parent)
        self._places = [p for p in self._places if p not in again]
        return rows

    def write(self, rows: Rows, end: LogPosition) -> tuple[int, int]:
        """Write rows that reach up to a place in the log; return how many files and bytes that made."""
        made: list[tuple[Path, Path]] = []
        try:
            for start_ms, part in self._parted(rows):
                path = self._path(start_ms, int(part.times.min()), end)
                self._make_folder(path.parent)
                aside = path.with_name(f".{path.name}.tmp")
                made.append((aside, path))
                self._write_one(aside, part)
            self._note(end, [str(path.relative_to(self._root)) for _, path in made])
            size = sum(aside.stat().st_size for aside, _ in made)
            for aside, path in made:
                aside.replace(path)
            for parent in {path.parent for _, path in made}:
                _sync_folder(parent)
        except OSError:
            for aside, _ in made:
                aside.unlink(missing_ok=True)
            raise
        return len(made), size

    # -- private -----------------------------------------------------------------------------------------------

    @property
    def _root(self) -> Path:
        return Path(self.settings.path)

    @property
    def _places_path(self) -> Path:
        return self._root / f".{self.settings.name}.places"

    def _parted(self, rows: Rows) -> Iterator[tuple[int, Rows]]:
        """Yield (begin of the period in ms, its rows)."""
        period = _PERIODS.get(self.settings.partition)
        if period is None:
            yield 0, rows
            return
        periods = rows.times // period
        for number in np.unique(periods).tolist():
            at = np.flatnonzero(periods == number)
            yield number * period, Rows(rows.refs[at], rows.times[at], rows.values[at], rows.histograms)

    def _path(self, start_ms: int, first_ms: int, end: LogPosition) -> Path:
        folder, begin = self._root, datetime.fromtimestamp(start_ms / 1000, UTC)
        if self.settings.partition is not Partition.NONE:
            folder = folder / f"date={begin:%Y-%m-%d}"
        if self.settings.partition is Partition.HOUR:
            folder = folder / f"hour={begin:%H}"
        first = datetime.fromtimestamp(first_ms / 1000, UTC)
        return folder / f"{self.settings.name}.{first:%Y%m%dT%H%M%SZ}-{end.file:08d}-{end.offset:012d}.parquet"

    def _make_folder(self, folder: Path) -> None:
        if folder == self._root or folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def _write_one(self, path: Path, rows: Rows) -> None:
        order = np.lexsort((rows.times, rows.refs))
        refs, times, values = rows.refs[order], rows.times[order], rows.values[order]
        series, first = np.unique(refs, return_index=True)
        offsets = np.append(first, len(refs)).astype(np.int64)
        labels = [self.registry.labels(ref) for ref in series.tolist()]
        names = sorted({name for one in labels for name, _ in one})
        with path.open("wb") as out:
            writer = ParquetWriter(out, names)
            begin = 0
            while begin < len(series):
                end = int(np.searchsorted(offsets, offsets[begin] + ROW_GROUP_SAMPLES, "right")) - 1
                end = min(max(end, begin + 1), len(series))
                low, high = int(offsets[begin]), int(offsets[end])
                own = offsets[begin : end + 1] - low
                group = SeriesColumns(labels[begin:end], own, times[low:high], values[low:high], rows.histograms)
                writer.write(group)
                begin = end
            writer.close()
            out.flush()
            os.fsync(out.fileno())

    def _note(self, end: LogPosition, files: list[str]) -> None:
        """Note, durably, which files belong to a place."""
        self._places = [*self._places[1 - PLACES_KEPT :], {"end": [end.file, end.offset], "files": files}]
        aside = self._places_path.with_name(self._places_path.name + ".tmp")
        with aside.open("w") as out:
            json.dump(self._places, out)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(self._places_path)
        _sync_folder(self._root)


def _read_places(path: Path) -> list[dict[str, Any]]:
    """Return the places noted in a file, none where it is not there or damaged: it is replaced as a whole."""
    try:
        found = json.loads(path.read_text())
        return [{"end": [int(n) for n in p["end"]], "files": [str(f) for f in p["files"]]} for p in found]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return []


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
