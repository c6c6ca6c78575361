"""Requests that came before byte for byte are recognised, and nothing else is taken for them."""

from __future__ import annotations

import numpy as np

from tinyobs.exposition import remote_write_v2_recent
from tinyobs.exposition.remote_write_v2_decode import Decoder2
from tinyobs.exposition.remote_write_v2_recent import RecentRequests
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.block_hash import PADDING_BYTES, Blocks, blocks_of
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


def refs(*given):
    """Packed references, before each series a byte as in a request."""
    data = b"".join(b"\x01" + bytes(r) for r in given) + bytes(PADDING_BYTES)
    lengths = np.array([len(r) for r in given], np.int64)
    return Blocks(np.frombuffer(data, np.uint8), np.cumsum(lengths + 1) - lengths, lengths)


def texts(*given):
    """Symbols."""
    return blocks_of(given)


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
    keys, symbols = np.array([7], np.uint64), texts(b"", b"s")
    for _ in range(2):
        recent.remember(symbols, refs([1, 2]), keys)
    assert recent.find(symbols, refs([1, 2])) is keys
    assert recent.find(symbols, refs([1, 2, 0])) is None
    assert recent.find(symbols, refs([1, 3])) is None
    assert recent.find(symbols, refs([1, 2], [1, 2])) is None
    assert recent.find(texts(b"", b"t"), refs([1, 2])) is None
    assert recent.find(texts(), refs([1, 2])) is None


def test_only_the_same_symbols_are_the_same():
    """Others with the same number, size, beginning and end have the same mark, and are told apart."""
    recent = RecentRequests()
    keys = np.array([7], np.uint64)
    for middle in (b"x", b"y"):
        symbols = texts(b"a" * 300, middle, b"b" * 300)
        assert recent.find(symbols, refs([1, 2])) is None
        recent.remember(symbols, refs([1, 2]), keys)
    assert recent.find(texts(b"a" * 300, b"y", b"b" * 300), refs([1, 2])) is keys
    assert recent.find(texts(b"a" * 300, b"x", b"b" * 300), refs([1, 2])) is None


def test_what_is_remembered_is_bounded(monkeypatch):
    """The first go first; what is too large is not remembered at all; one with the same symbols takes its place."""
    recent = RecentRequests(bytes_max=1000)
    keys = np.array([7], np.uint64)
    for i in range(200):
        recent.remember(texts(bytes([i // 2])), refs([1, i // 2]), keys)
    assert 500 < recent._bytes <= 1000
    assert recent.find(texts(b"\x00"), refs([1, 0])) is None
    assert recent.find(texts(b"\x63"), refs([1, 99])) is keys
    before = recent._bytes
    recent.remember(texts(b"\x63"), refs([1, 98]), keys)
    assert recent._bytes == before
    for _ in range(2):
        recent.remember(texts(bytes(2000)), refs([1, 2]), keys)
    assert recent.find(texts(bytes(2000)), refs([1, 2])) is None
    monkeypatch.setattr(remote_write_v2_recent, "ROWS_BYTES_MAX", 15)
    for _ in range(2):
        recent.remember(texts(b"many"), refs([1, 2], [1, 2]), keys)
    assert recent.find(texts(b"many"), refs([1, 2], [1, 2])) is None


def test_requests_are_kept_when_their_symbols_come_again(monkeypatch):
    """Those of a sender whose symbols never repeat are not; of their symbols so many are remembered by a mark."""
    monkeypatch.setattr(remote_write_v2_recent, "SEEN_MAX", 3)
    recent = RecentRequests()
    keys = np.array([7], np.uint64)
    for symbols in (b"a", b"b", b"c", b"d", b"a", b"d"):
        recent.remember(texts(symbols), refs([1, 2]), keys)
    found = [s for s in (b"a", b"b", b"c", b"d") if recent.find(texts(s), refs([1, 2])) is not None]
    assert found == [b"d"], "a was forgotten"
    assert len(recent._seen) == 3
