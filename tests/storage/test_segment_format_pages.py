"""The format pages: their worked examples are what the readers read."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from segment_disk import MemoryDisk

from tinyobs.codec.pages import decode_page
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.segment_format import FOOTER_BYTES
from tinyobs.storage.segment_reader import SegmentReader

DOCS = Path(__file__).resolve().parents[2] / "docs" / "format"


def example(page):
    """Return the bytes of the hex dump in a format page."""
    block = re.search(r"```hex\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return bytes.fromhex("".join(line.partition(" ")[2] for line in block.group(1).splitlines()))


def test_the_page_of_the_format_document():
    """The worked example of page.md decodes to the samples that it claims."""
    offsets, times, values, *_ = decode_page(example("page.md")).read()
    assert offsets.tolist() == [0, 4, 8]
    assert times.tolist() == [1000, 16000, 31000, 46000] * 2
    assert values.tolist() == [0.5, 0.75, 1.5, 1.25, 7, 7, 7, 7]


def of_version_1(data):
    """The same segment as an older release wrote it."""
    body = data[:8] + b"\x01" + data[9:-16] + b"\x01" + data[-15:-12]
    return body + zlib.crc32(body[len(data) - FOOTER_BYTES :]).to_bytes(4, "little") + data[-8:]


@pytest.mark.parametrize("version", [1, 2])
def test_the_segment_of_the_format_document(version):
    """The worked example of segment.md is a sound segment with the series that it claims; version 1 is read too."""
    disk = MemoryDisk()
    data = example("segment.md")
    disk.files["example.seg"] = data if version == 2 else of_version_1(data)
    assert disk.files["example.seg"][8] == version
    reader = SegmentReader(disk, "example.seg", PageCache())
    reader.verify()
    got = reader.read(np.array([0], np.uint32), 0, 5000)
    assert got.labels == [(("__name__", "up"),)]
    assert got.timestamps_ms.tolist() == [1000, 2000]
    assert got.values.tolist() == [1.0, 1.0]
    assert (reader.info.mint_ms, reader.info.maxt_ms, reader.info.sample_count) == (1000, 2000, 2)
