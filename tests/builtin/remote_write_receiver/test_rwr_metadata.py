"""Remote write 2.0: what metadata does, and what series are refused for."""

from __future__ import annotations

import pytest
from remote_write_requests import Request, histogram, written
from rwr_agent import far, now_ms


def up(*more):
    """Return a body with one sample."""
    made = Request()
    made.series([("__name__", "up"), *more], (now_ms(), 1.0))
    return made.body()


async def test_metadata_that_points_nowhere_is_400(tmp_path):
    """Whether the series is known or not; the other series stay."""
    made = Request()
    bad = made.series([("__name__", "bad")], (now_ms(), 1.0))
    bad.metadata.help_ref = 77
    made.series([("__name__", "good")], (now_ms(), 1.0))
    async with far(tmp_path) as receiver:
        for _ in range(2):
            answer = await receiver.send(made.body())
            assert (answer.status_code, written(answer)) == (400, (1, 0, 0))
            assert "parsing metadata for series [1 2]: help 77, unit 0 outside of symbols table" in answer.text
            bad.metadata.Clear()
            assert written(await receiver.send(made.body())) == (2, 0, 0)
            bad.metadata.help_ref = 77


async def test_a_label_without_a_name_is_400_whatever_its_value(tmp_path):
    """Also where the series without that label is known."""
    async with far(tmp_path) as receiver:
        assert (await receiver.send(up())).status_code == 204
        for value in ("", "x"):
            answer = await receiver.send(up(("", value)))
            assert (answer.status_code, written(answer)) == (400, (0, 0, 0))
            assert "a label has no name" in answer.text


async def test_metadata_that_changes_is_seen_at_once_in_short_requests(tmp_path):
    """What a series says last of type, help and unit is what `/api/v1/metadata` says."""
    async with far(tmp_path) as receiver:
        for i, help in enumerate(("First.", "Second.", "Third.")):
            made = Request()
            series = made.series([("__name__", "a")], (now_ms() + i, 1.0))
            series.metadata.type, series.metadata.help_ref = 1, made.number(help)
            assert (await receiver.send(made.body())).status_code == 204
            found = await receiver.get("metadata", metric="a")
            assert found == {"a": [{"type": "counter", "help": help, "unit": ""}]}


@pytest.mark.parametrize("feature", [False, True])
async def test_types_and_units_are_labels_by_the_feature(tmp_path, feature):
    """`type-and-unit-labels`: what series tell as metadata; without it they are metadata only."""
    features = frozenset({"type-and-unit-labels"} if feature else ())
    async with far(tmp_path, features=features) as receiver:
        for i in range(2):
            made = Request()
            series = made.series([("__name__", "size"), ("job", "x")], (now_ms() + i, 1.0))
            series.metadata.type, series.metadata.unit_ref = 2, made.number("bytes")
            histogram(made.series([("__name__", "h"), ("job", "x")]), now_ms() + i)
            made.message.timeseries[1].metadata.type = 3
            assert written(await receiver.send(made.body())) == (1, 1, 0)
        want = {"__type__=gauge,__unit__=bytes,job=x", "__type__=histogram,job=x"} if feature else {"job=x"}
        assert set(await receiver.values('{__name__=~".+"}')) == want
