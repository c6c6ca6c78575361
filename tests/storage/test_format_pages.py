"""The worked examples of the format pages, decoded from the pages themselves."""

from __future__ import annotations

import re
from pathlib import Path

from engine_cases import contents, exemplars_of, labels, open_engine

from tinyobs.abc import LogPosition
from tinyobs.model.histograms import Histogram
from tinyobs.model.matchers import equal
from tinyobs.storage.cursor_file import Place, decode_places, read_places
from tinyobs.storage.deletes import Delete
from tinyobs.storage.layout import MANIFEST, cursor_file, wal_name
from tinyobs.storage.manifest import Manifest, SegmentEntry, decode_manifest, encode_manifest
from tinyobs.testing.mem_disk import MemDisk

PAGES = Path(__file__).parents[2] / "docs" / "format"


def example(page, language=""):
    """The last fenced block of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)[-1]


def test_the_log_of_the_page_replays():
    """The bytes on the page are a log with a float, two histograms that count since a time, and an exemplar."""
    log = bytes.fromhex(example("wal.md", "hex"))
    disk = MemDisk({wal_name(42): log, MANIFEST: encode_manifest(Manifest(42))})
    disk.make_folder("wal")
    engine = open_engine(disk)
    up, h = labels("up", job="node"), labels("h", job="node")
    first, second = (Histogram(3, 0.0, 1, 3 + k, 2.5, ((0, 2),), (1, 1 + k), is_integer=True) for k in (0, 1))
    times, since = [1_700_000_000_000, 1_700_000_015_000, 1_700_000_030_000], 1_699_999_999_000
    assert contents(engine, starts=True) == {
        up: [(t, 1.0, 0) for t in times],
        h: [(times[1], first, since), (times[2], second, since)],
    }
    assert exemplars_of(engine) == {h: [((("trace", "ab"),), 0.5, times[2], True)]}
    assert engine.statistics().replay_torn_bytes == 0


def test_the_manifest_of_the_page_decodes():
    """The text on the page is a manifest with one segment and one delete."""
    entry = SegmentEntry(17, 1, 1_700_000_000_000, 1_700_007_199_999, 3, 1440, 4096)
    delete = Delete(18, 1_700_000_000_000, 1_700_000_060_000, ((equal("job", "debug"),),))
    assert decode_manifest(example("manifest.md").encode()) == Manifest(42, 19, (entry,), (delete,))


def test_the_cursor_of_the_page_decodes():
    """The bytes on the page are a cursor with two places, of which the last counts."""
    data = bytes.fromhex(example("cursor.md", "hex"))
    places = [Place(41, LogPosition(42, offset)) for offset in (1234, 2000)]
    assert decode_places(data) == places
    disk = MemDisk({cursor_file("a/b"): data})
    assert read_places(disk) == {"a/b": places[-1]}
    for size in range(8 + 44, len(data)):
        assert decode_places(data[:size]) == places[:1]
