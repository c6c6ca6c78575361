"""The Parquet sink: files that others read, by time, each sample once over failures and restarts."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tinyobs.abc import Logged, LogPosition
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError
from tinyobs.interchange.chunks import Refusals
from tinyobs.interchange.parquet_reader import ParquetReader
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.model.staleness import STALE_NAN
from tinyobs.sinks.group import Counts, TryAgain
from tinyobs.testing.services import FakeServices

from tinyobs_parquet_sink import ParquetOutlet
from tinyobs_parquet_sink.settings import ParquetSinkSettings

DAY = 86_400_000
T0 = int(datetime(2026, 11, 28, 23, 59, tzinfo=UTC).timestamp() * 1000)


class Scene:
    """An outlet over a folder; positions count up."""

    def __init__(self, folder, text=""):
        self.folder = folder
        self.services = FakeServices()
        self.counts = Counts()
        self.settings = decode_text(ParquetSinkSettings, f"{{name: a, path: {folder}, {text}}}", "f.yml")
        self.outlet = ParquetOutlet(self.services, self.settings, self.counts)
        self.place = 0

    def logged(self, samples, in_doubt=False):
        """Return a record of samples: [(labels, ms, value), ...]."""
        refs = self.services.registry.intern_many([from_mapping(labels) for labels, _, _ in samples])
        natives = [v for _, _, v in samples if isinstance(v, Histogram)]
        values = np.array([0.0 if isinstance(v, Histogram) else v for _, _, v in samples])
        at = [i for i, (_, _, v) in enumerate(samples) if isinstance(v, Histogram)]
        values.view(np.uint64)[at] = handles(0, len(natives)).view(np.uint64)
        self.place += 100
        times = np.array([t for _, t, _ in samples], np.int64)
        table = histograms_of(natives) if natives else None
        return Logged(Batch(refs, times, values, histograms=table), LogPosition(1, self.place), in_doubt)

    async def write(self, samples):
        await self.outlet.take([self.logged(samples)])
        await self.outlet.flush()

    def files(self):
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*.parquet"))

    def values(self):
        return sorted(
            v for f in self.files() for v in pq.read_table(self.folder / f, partitioning=None)["value"].to_pylist()
        )


def series(name="x", **labels):
    return {"__name__": name, **labels}


async def test_files_are_read_by_duckdb_and_pandas(tmp_path):
    """The folders are Hive partitions; every label is a column, and times are times."""
    s = Scene(tmp_path)
    samples = [(series(job="node", n=str(n)), T0 + n * 30_000, n / 2) for n in range(4)]
    await s.write([*samples, (series("y", job="db"), T0, 9.0)])
    first, second = s.files()
    assert first.startswith("date=2026-11-28/a.20261128T235900Z-")
    assert second.startswith("date=2026-11-29/a.20261129T000000Z-")
    pattern = f"{tmp_path}/**/*.parquet"
    query = f"select date, count(*), sum(value), min(job) from read_parquet('{pattern}', union_by_name=true) group by date order by date"
    found = duckdb.sql(query).fetchall()
    assert [(str(day), *rest) for day, *rest in found] == [("2026-11-28", 3, 9.5, "db"), ("2026-11-29", 2, 2.5, "node")]
    frame = pd.read_parquet(tmp_path / second)
    assert list(frame["value"]) == [1.0, 1.5]
    assert list(frame["n"]) == ["2", "3"]
    assert frame["timestamp"][0] == pd.Timestamp("2026-11-29T00:00:00Z")
    assert (s.counts.sends, s.counts.samples) == (2, 5)
    assert s.counts.bytes == sum((tmp_path / f).stat().st_size for f in s.files())


async def test_files_can_be_imported_again(tmp_path):
    """Rows stand by series and time; native histograms and special values are exact."""
    native = Histogram(0, 0.001, 1, 7, 12.5, ((0, 2),), (4, 2), is_integer=True)
    s = Scene(tmp_path, "partition: none, stale_markers: true")
    samples = [
        (series(a="2"), 2000, 1.0),
        (series(a="1"), 3000, STALE_NAN),
        (series(a="1"), 1000, -0.0),
        (series("h"), 1000, native),
    ]
    await s.write(samples)
    (file,) = s.files()
    registry = SeriesRegistry()
    with (tmp_path / file).open("rb") as stream:
        (chunk,) = ParquetReader().read(stream, registry, Refusals(file))
    rows = [
        (dict(registry.labels(r)), t)
        for r, t in zip(chunk.batch.refs.tolist(), chunk.batch.timestamps_ms.tolist(), strict=True)
    ]
    assert rows == [(series(a="2"), 2000), (series(a="1"), 1000), (series(a="1"), 3000), (series("h"), 1000)]
    bits = chunk.batch.values.view(np.uint64)[:3].tolist()
    assert bits == np.array([1.0, -0.0, STALE_NAN]).view(np.uint64).tolist()
    assert chunk.batch.histograms.one(0) == native


async def test_the_ends_of_series_are_left_out(tmp_path):
    """Unless they are asked for: few programs know the marker."""
    s = Scene(tmp_path)
    await s.write([(series(), T0, 1.0), (series(), T0 + 1, STALE_NAN)])
    assert s.values() == [1.0]
    await s.write([(series(), T0 + 2, STALE_NAN)])
    assert len(s.files()) == 1


@pytest.mark.parametrize(
    ("partition", "folders"),
    [
        ("none", ["."]),
        ("day", ["date=2026-11-28", "date=2026-11-29"]),
        ("hour", ["date=2026-11-28/hour=23", "date=2026-11-29/hour=00"]),
    ],
)
async def test_partitions(tmp_path, partition, folders):
    """By day, by hour, or none."""
    s = Scene(tmp_path, f"partition: {partition}")
    await s.write([(series(), T0, 1.0), (series(), T0 + 60_000, 2.0)])
    assert sorted({os.path.dirname(f) or "." for f in s.files()}) == folders


async def test_many_rows_are_several_row_groups(tmp_path, monkeypatch):
    """A series is not torn apart."""
    monkeypatch.setattr("tinyobs_parquet_sink.folder.ROW_GROUP_SAMPLES", 10)
    s = Scene(tmp_path, "partition: none")
    await s.write([(series(n=str(n)), 1000 * t, float(t)) for n in range(5) for t in range(4 if n else 30)])
    (file,) = s.files()
    metadata = pq.read_metadata(tmp_path / file)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [30, 8, 8]


async def test_rows_are_gathered_up_to_a_limit(tmp_path):
    """Then a flush is due; selectors choose."""
    s = Scene(tmp_path, "rows_max: 3, match: ['x']")
    assert s.outlet.gather_seconds == 300
    assert not await s.outlet.take([s.logged([(series(), T0, 1.0), (series("y"), T0, 5.0)])])
    assert not await s.outlet.take([s.logged([(series(), T0 + 1, 2.0)])])
    assert await s.outlet.take([s.logged([(series(), T0 + 2, 3.0)])])
    await s.outlet.flush()
    assert s.values() == [1, 2, 3]
    await s.outlet.flush()
    assert len(s.files()) == 1


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.mkdir"])
async def test_a_failure_is_tried_again_and_leaves_no_half_file(tmp_path, monkeypatch, broken):
    """Nothing is there under its name before it is whole."""
    s = Scene(tmp_path)
    await s.outlet.take([s.logged([(series(), T0, 1.0), (series(), T0 + 60_000, 2.0)])])

    def fail(*args, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(TryAgain, match="No space left"):
            await s.outlet.flush()
    assert s.files() == []
    await s.outlet.flush()
    assert s.values() == [1, 2]
    assert not list(tmp_path.rglob("*.tmp"))


async def again(before, text="", place=0, in_doubt=True):
    """Return a scene of the next process, that reads again from behind a place."""
    s = Scene(before.folder, text)
    s.place = place
    first = s.logged([(series(), T0, 1.0)], in_doubt)
    await s.outlet.begin(first)
    s.place = place
    return s


async def test_what_was_written_before_a_crash_is_not_there_twice(tmp_path):
    """The files from the place on at which the next process begins are replaced by its own."""
    s = Scene(tmp_path)
    for n in range(3):
        await s.write([(series(), T0 + n * 50_000, float(n)), (series(n="b"), T0 + n * 50_000, n + 10.0)])
    (tmp_path / "date=2026-11-28" / ".a.half.parquet.tmp").write_bytes(b"half")
    (tmp_path / "date=2026-11-28" / ".other.half.parquet.tmp").write_bytes(b"of another sink")
    s = await again(s, place=100)
    assert s.values() == [0, 10]
    assert s.counts.duplicates == 4
    assert [p.name for p in tmp_path.rglob("*.tmp")] == [".other.half.parquet.tmp"]
    await s.write([(series(), T0 + 50_000, 1.0)])
    s = await again(s, place=200)
    assert s.values() == [0, 1, 10]


async def test_a_new_log_removes_nothing(tmp_path):
    """Its places mean something else, and nothing in it is in doubt."""
    s = Scene(tmp_path)
    await s.write([(series(), T0, 1.0)])
    s = await again(s, place=0, in_doubt=False)
    assert s.values() == [1]
    s = await again(s, place=0, in_doubt=True)
    assert s.values() == [1]


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"end": [1, 50], "files": ["../outside.parquet"]}]'])
async def test_a_damaged_file_of_places_harms_nothing(tmp_path, text):
    """It is written anew."""
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "outside.parquet").write_bytes(b"mine")
    s = Scene(folder)
    await s.write([(series(), T0, 1.0)])
    (folder / ".a.places").write_text(text)
    s = await again(s)
    assert s.values() == [1]
    assert (tmp_path / "outside.parquet").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: a}", "missing key 'path'"),
        ("{name: a/b, path: /tmp}", "letters, digits, _ and - are allowed"),
        ("{name: a, path: /tmp, partition: week}", "expected one of none, day, hour"),
        ("{name: a, path: /tmp, rows_max: 0}", "must be between"),
    ],
)
def test_faults_have_a_message(text, message):
    """Each names what is wrong."""
    with pytest.raises(ConfigError) as e:
        decode_text(ParquetSinkSettings, text, "f.yml")
    assert message in str(e.value)
