"""Requests that came before byte for byte are recognised, and nothing else is taken for them."""

from __future__ import annotations

import numpy as np

from tinyobs.exposition import remote_write_v2_recent
from tinyobs.exposition.remote_write_v2_decode import Decoder2
from tinyobs.exposition.remote_write_v2_numbers import ReferenceRows
from tinyobs.exposition.remote_write_v2_recent import RecentRequests
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.labels import from_mapping, to_text
from tinyobs.model.registry import SeriesRegistry


def request(series, symbols=None, value=1.0):
    """A request of label sets; symbols: numbers given to texts before."""
    message, numbers = Request2(), {"": 0} | (symbols or {})
    for i, labels in enumerate(series):
        one = message.timeseries.add()
        one.labels_refs.extend(numbers.setdefault(text, len(numbers)) for pair in labels for text in pair)
        one.samples.add(timestamp=1_700_000_000_000, value=value + i)
    message.symbols.extend(numbers)
    return message.SerializeToString()


def names(registry, decoded):
    """The series of a decoded request."""
    return [to_text(registry.labels(ref)) for ref in decoded.batch.refs.tolist()]


def sets(*values):
    """Label sets that differ in one label."""
    return [from_mapping({"__name__": "m", "x": value}) for value in values]


def rows(*given):
    """References as rows."""
    width = 8
    table = np.array([[*r, *[0] * (width - len(r))] for r in given], np.uint8)
    return ReferenceRows(table, np.array([len(r) for r in given]))


def test_the_same_request_with_other_values():
    """Its series are the same, and its samples those of now."""
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    for value in (1.0, 5.0, 9.0):
        decoded = decoder.decode_message(request(sets("a", "b"), value=value))
        assert names(registry, decoded) == ['m{x="a"}', 'm{x="b"}']
        assert decoded.batch.values.tolist() == [value, value + 1]


def test_the_same_symbols_with_other_references():
    """They are other series."""
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    symbols = {"__name__": 1, "m": 2, "x": 3, "a": 4, "b": 5, "c": 6}
    for series in (("a", "b"), ("b", "a"), ("c", "b"), ("a", "b"), ("a",), ("a", "b", "c")):
        decoded = decoder.decode_message(request(sets(*series), symbols))
        assert names(registry, decoded) == [f'm{{x="{value}"}}' for value in series]


def test_the_same_references_with_other_symbols():
    """They are other series."""
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    for series in (("a", "b"), ("c", "d"), ("a", "b")):
        decoded = decoder.decode_message(request(sets(*series)))
        assert names(registry, decoded) == [f'm{{x="{value}"}}' for value in series]


def test_a_request_with_a_fault_that_comes_again():
    """The series whose references cannot be is refused each time, and the other stays."""
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    message = Request2()
    message.ParseFromString(request(sets("a", "b")))
    message.timeseries[0].labels_refs[-1] = 99
    for _ in range(3):
        decoded = decoder.decode_message(message.SerializeToString())
        assert names(registry, decoded) == ['m{x="b"}']
        assert decoded.refused_series == 1


def test_metadata_of_a_request_that_comes_again():
    """It is still looked at now and then."""
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    found = {}
    for help_text in ("old", "new!"):
        message = Request2()
        message.ParseFromString(request(sets("a"), {"old!": 1, "new!": 2, "old": 3}))
        message.timeseries[0].metadata.type = 2
        message.timeseries[0].metadata.help_ref = 1 if help_text == "old" else 2
        for _ in range(20):
            decoded = decoder.decode_message(message.SerializeToString())
            found |= decoded.batch.metadata
            decoded.stored()
    assert found["m"].help == "new!"


def test_zeros_at_the_end_are_no_padding():
    """A reference to "" is one, though rows end with zeros."""
    recent = RecentRequests()
    keys, sound = np.array([7], np.uint64), np.array([True])
    for _ in range(2):
        recent.remember(b"s", rows([1, 2]), keys, sound)
    assert recent.find(b"s", rows([1, 2])) == (keys, sound)
    assert recent.find(b"s", rows([1, 2, 0])) is None
    assert recent.find(b"s", rows([1, 3])) is None
    assert recent.find(b"s", rows([1, 2], [1, 2])) is None
    assert recent.find(b"t", rows([1, 2])) is None


def test_what_is_remembered_is_bounded():
    """The first go first; what is too large is not remembered at all; one with the same symbols takes its place."""
    recent = RecentRequests(bytes_max=1000)
    keys, sound = np.array([7], np.uint64), np.array([True])
    for i in range(200):
        recent.remember(bytes([i // 2]), rows([1, i // 2]), keys, sound)
    assert 500 < recent._bytes <= 1000
    assert recent.find(b"\x00", rows([1, 0])) is None
    assert recent.find(b"\x63", rows([1, 99])) is not None
    before = recent._bytes
    recent.remember(b"\x63", rows([1, 98]), keys, sound)
    assert recent._bytes == before
    for _ in range(2):
        recent.remember(bytes(2000), rows([1, 2]), keys, sound)
    assert recent.find(bytes(2000), rows([1, 2])) is None


def test_requests_are_kept_when_their_symbols_come_again(monkeypatch):
    """Those of a sender whose symbols never repeat are not; of their symbols so many are remembered by a hash."""
    monkeypatch.setattr(remote_write_v2_recent, "SEEN_MAX", 3)
    recent = RecentRequests()
    keys, sound = np.array([7], np.uint64), np.array([True])
    for symbols in (b"a", b"b", b"c", b"d", b"a", b"d"):
        recent.remember(symbols, rows([1, 2]), keys, sound)
    assert [s for s in (b"a", b"b", b"c", b"d") if recent.find(s, rows([1, 2]))] == [b"d"], "a was forgotten"
    assert len(recent._seen) == 3
