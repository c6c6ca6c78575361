"""Targets of one kind share what they know of their bodies, and still notice every difference."""

from __future__ import annotations

import gc

import pytest

from tinyobs.exposition.formats import Format
from tinyobs.exposition.layout import READY_USERS_MIN, Layout, _shapes
from tinyobs.exposition.scrape_parser import ScrapeParser

BODY = b'# TYPE a counter\n# HELP a says %d\na{b="1"} %d\na{b="2"} 7\nplain 1\n'


def parsers(count: int, body: bytes) -> list[ScrapeParser]:
    found = [ScrapeParser(Format.TEXT_0_0_4) for _ in range(count)]
    for parser in found:
        parser.parse(body)
    return found


def layout(parser: ScrapeParser) -> Layout:
    found = parser._layout
    assert found is not None
    return found


def test_equal_bodies_share_one_shape() -> None:
    """Parsers that have read bodies of one structure hold one shape; it goes when they do."""
    some = parsers(3, BODY % (0, 1)) + parsers(1, BODY % (0, 2))
    shapes = {id(layout(p).shape) for p in some}
    assert len(shapes) == 1
    gc.collect()  # what earlier tests left must not go in between
    before = len(_shapes)
    del some
    gc.collect()
    assert len(_shapes) == before - 1


def test_a_shape_of_few_stays_packed() -> None:
    """The prefixes are kept ready for use from a number of users on, and what is returned is the same."""
    few = parsers(READY_USERS_MIN - 1, BODY % (1, 1))
    alone = layout(few[0]).shape.prefixes()
    assert layout(few[0]).shape._ready is None
    many = parsers(1, BODY % (1, 1))
    assert layout(many[0]).shape.prefixes() == alone
    assert layout(many[0]).shape._ready == alone


@pytest.mark.parametrize("count", [1, READY_USERS_MIN + 1])
def test_every_difference_is_noticed_packed_or_ready(count: int) -> None:
    """Another comment, a series more or less, a line that becomes a sample: each is read as a new parser reads it."""
    bodies = [
        BODY % (2, 1),
        BODY % (2, 5),
        BODY % (3, 5),
        (BODY % (3, 5)).replace(b"plain 1", b"plain 1\nmore 3"),
        (BODY % (3, 5)).replace(b"plain 1\n", b""),
        (BODY % (3, 5)).replace(b"# HELP a says 3", b"helpful_a_says 3"),
        (BODY % (3, 5)).replace(b'b="2"', b'b="3"'),
        BODY % (2, 9),
    ]
    some = parsers(count, BODY % (2, 0))
    for _ in range(2):  # the second time all shapes are known, and ready where many share them
        for body in bodies:
            fresh = ScrapeParser(Format.TEXT_0_0_4)
            expected = fresh.parse(body)
            for parser in some:
                parsed = parser.parse(body)
                assert parsed.values.tolist() == expected.values.tolist()
                assert [parser.labels(n) for n in parsed.series.tolist()] == list(expected.new.values())
