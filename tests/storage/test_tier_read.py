"""Remote read where raw samples are gone: what downsampling has kept."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import cramjam
from engine_cases import Clock
from tier_cases import DAY0_MS, FIVE_MS, OPTIONS, days, load, open_tiered

from tinyobs.exposition.remote_read import ReadQuery, encode_request
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.model.label_block import read_varint
from tinyobs.model.matchers import equal
from tinyobs.storage.options import DAY_MS
from tinyobs.testing.mem_disk import MemDisk
from tinyobs.web.api_v1.read import ReadApi
from tinyobs.web.options import WebOptions


async def times_of(engine, mint_ms, maxt_ms):
    """Return the times of the samples of the one series that remote read finds."""
    services = SimpleNamespace(queryable=engine, external_labels=tuple)
    body = encode_request([ReadQuery(mint_ms, maxt_ms, (equal("__name__", "x"),))])
    response = await ReadApi(services, WebOptions()).respond(bytes(cramjam.snappy.compress_raw(body)))
    data = bytes(cramjam.snappy.decompress_raw(response.body))
    size, at = read_varint(data, 1)  # the field of the one result, whose content has the form of a WriteRequest
    assert at + size == len(data)
    (series,) = WriteRequest.FromString(data[at:]).timeseries
    return [s.timestamp for s in series.samples]


async def test_old_samples_come_from_a_tier():
    """Some of each bucket where raw samples are gone, all of them after that, and none outside of the range."""
    engine = open_tiered(MemDisk(), attrs.evolve(OPTIONS, retention_ms=2 * DAY_MS), clock := Clock(DAY0_MS))
    load(engine, {"x": days(range(6 * 1440))}, clock)
    last = DAY0_MS + 6 * DAY_MS
    recent = await times_of(engine, last - DAY_MS, last)
    assert len(recent) > 1400
    first, end = DAY0_MS + 7 * FIVE_MS + 60_000, DAY0_MS + DAY_MS
    old = await times_of(engine, first, end)
    assert old
    assert first <= old[0] < first + 2 * FIVE_MS
    assert old[-1] <= end
    assert len(old) < 1440
