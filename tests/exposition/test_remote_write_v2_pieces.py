"""A large request of remote write 2.0 in pieces: the same series and samples, in their order, with the symbols of the whole."""

from __future__ import annotations

import cramjam
import pytest

from tinyobs.errors import LimitExceeded, WireError
from tinyobs.exposition.remote_write_v2_decode import Decoder2
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry

NOW = 1_790_000_000_000


def request(series, samples=1):
    """A request of so many series; each tells metadata, every tenth has an exemplar, and a few have references of two bytes."""
    symbols = ["", "__name__", "m", "i", "help of m", *(f"value {i}" for i in range(series))]
    message = Request2(symbols=symbols)
    for i in range(series):
        one = message.timeseries.add(labels_refs=[1, 2, 3, 5 + i])
        for k in range(samples):
            one.samples.add(timestamp=NOW + k, value=i + k / 100)
        if i % 10 == 0:
            one.exemplars.add(timestamp=NOW, value=i, labels_refs=[3, 5 + i])
        one.metadata.help_ref = 4
    return message


def packed(data):
    """A body."""
    return bytes(cramjam.snappy.compress_raw(data))


def rows(registry, decoded):
    """The samples and exemplars of what was decoded."""
    batch = decoded.batch
    samples = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
    return (
        [(to_text(registry.labels(ref)), at, value) for ref, at, value in samples],
        [(to_text(registry.labels(e.ref)), e.labels, e.value) for e in batch.exemplars],
    )


def whole_and_pieces(data, bytes_max):
    """Return what a body holds, decoded as one and in pieces; the latter twice, as the second time its series are known."""
    registry = SeriesRegistry()
    whole = rows(registry, Decoder2(registry).decode(packed(data)))
    found = []
    decoder = Decoder2(SeriesRegistry())
    for _ in range(2):
        pieces = []
        for decoded in decoder.decode_pieces(packed(data), bytes_max):
            pieces.append(rows(decoder._registry, decoded))
            decoded.stored()
        found.append(pieces)
    return whole, found


@pytest.mark.parametrize("bytes_max", [60, 300, 5000, 1 << 20])
@pytest.mark.parametrize("order", ["symbols first", "symbols last", "symbols in between"])
def test_pieces_hold_what_the_request_does(bytes_max, order):
    """Wherever the symbols stand; a piece may be one series."""
    message = request(200, samples=2)
    symbols = Request2(symbols=message.symbols).SerializeToString()
    first, rest = Request2(timeseries=message.timeseries[:90]), Request2(timeseries=message.timeseries[90:])
    parts = [first.SerializeToString(), rest.SerializeToString()]
    parts.insert(("symbols first", "symbols in between", "symbols last").index(order), symbols)
    whole, found = whole_and_pieces(b"".join(parts), bytes_max)
    for pieces in found:
        assert (len(pieces) > 1) == (bytes_max < 1 << 20)
        for i in range(2):
            assert [x for piece in pieces for x in piece[i]] == whole[i]


def test_a_series_that_is_too_long_is_cut_between_its_samples():
    """Its labels and metadata go with each part; its neighbours stay where they are."""
    message = request(3)
    for k in range(1, 2000):
        message.timeseries[1].samples.add(timestamp=NOW + k, value=k)
    whole, found = whole_and_pieces(message.SerializeToString(), 8000)
    for pieces in found:
        assert len(pieces) > 10
        assert max(len(samples) for samples, _ in pieces) < 500
        assert [x for piece in pieces for x in piece[0]] == whole[0]


def test_what_cannot_be_is_refused_in_its_piece():
    """References out of range and damage within a series; the offset is that in the request."""
    message = request(100)
    message.timeseries[70].labels_refs[3] = 1000
    decoder = Decoder2(SeriesRegistry())
    pieces = list(decoder.decode_pieces(packed(message.SerializeToString()), 500))
    assert sum(piece.refused_series for piece in pieces) == 1
    assert sum(len(piece.batch) for piece in pieces) == 99
    data = bytearray(message.SerializeToString())
    at = data.index(message.timeseries[80].SerializeToString())
    data[at + message.timeseries[80].ByteSize() - 2] = 0xFF  # within its metadata
    pieces, stored = decoder.decode_pieces(packed(bytes(data)), 500), []
    with pytest.raises(WireError, match="malformed series 80") as caught:
        stored.extend(len(piece.batch) for piece in pieces)
    assert caught.value.offset == at
    assert 50 < sum(stored) < 80


def test_damage_of_the_framing_is_found_before_anything_is_stored():
    """So are a first symbol with a text, and a series whose labels are too long to go with each part of it."""
    data = request(100).SerializeToString()
    with pytest.raises(WireError):
        next(Decoder2(SeriesRegistry()).decode_pieces(packed(data[:-1]), 500))
    with pytest.raises(WireError, match="first symbol"):
        next(Decoder2(SeriesRegistry()).decode_pieces(packed(data[2:]), 500))
    message = Request2(symbols=["", "a"])
    message.timeseries.add(labels_refs=[1] * 4000).samples.add(timestamp=NOW)
    with pytest.raises(LimitExceeded):
        next(Decoder2(SeriesRegistry()).decode_pieces(packed(message.SerializeToString()), 500))


def test_what_stays_beside_the_request_is_told():
    """Once, before anything is decoded; what cannot be held is not decoded."""
    told = []
    decoder = Decoder2(SeriesRegistry())
    assert len(list(decoder.decode_pieces(packed(request(100).SerializeToString()), 500, hold=told.append))) > 1
    assert told == [105 * 32 + 100 * 16]

    def refuse(size):
        raise LimitExceeded("held", "no room")

    with pytest.raises(LimitExceeded):
        next(Decoder2(SeriesRegistry()).decode_pieces(packed(request(1).SerializeToString()), 500, hold=refuse))
