"""The worked examples of the format pages, decoded from the pages themselves."""

from __future__ import annotations

import re
from pathlib import Path

from engine_cases import contents, labels, open_engine

from tinyobs.model.matchers import equal
from tinyobs.storage.deletes import Delete
from tinyobs.storage.layout import MANIFEST, wal_name
from tinyobs.storage.manifest import Manifest, SegmentEntry, decode_manifest, encode_manifest
from tinyobs.testing.mem_disk import MemDisk

PAGES = Path(__file__).parents[2] / "docs" / "format"


def example(page, language=""):
    """The last fenced block of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)[-1]


def test_the_log_of_the_page_replays():
    """The bytes on the page are a log with one sample."""
    log = bytes.fromhex(example("wal.md", "hex"))
    disk = MemDisk({wal_name(42): log, MANIFEST: encode_manifest(Manifest(42))})
    disk.make_folder("wal")
    engine = open_engine(disk)
    assert contents(engine) == {labels("up", job="node"): [(1_700_000_000_000, 1.0)]}
    assert engine.statistics().replay_torn_bytes == 0


def test_the_manifest_of_the_page_decodes():
    """The text on the page is a manifest with one segment and one delete."""
    entry = SegmentEntry(17, 1, 1_700_000_000_000, 1_700_007_199_999, 3, 1440, 4096)
    delete = Delete(18, 1_700_000_000_000, 1_700_000_060_000, ((equal("job", "debug"),),))
    assert decode_manifest(example("manifest.md").encode()) == Manifest(42, 19, (entry,), (delete,))
