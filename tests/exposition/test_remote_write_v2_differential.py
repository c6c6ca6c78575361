"""Requests of remote write 2.0 of any shape are what the protobuf library alone makes of them, warm as cold.

Symbols may repeat, be empty, stand before, between and behind the series; references point anywhere, in any number; series
hold samples in all shapes, histograms, exemplars and metadata, their fields twice or in another order, and unknown ones.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from remote_write_reference import decoded_2
from remote_write_requests import Request, histogram

from tinyobs.exposition import remote_write_v2_numbers, remote_write_v2_split
from tinyobs.exposition.remote_write_v2_decode import Decoder2
from tinyobs.exposition.remote_write_v2_schema import Request2, TimeSeries2
from tinyobs.exposition.remote_write_v2_split import split
from tinyobs.model.block_hash import PADDING_BYTES
from tinyobs.model.histograms import numbers_of
from tinyobs.model.label_block import varint
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry

NOW = 1_790_000_000_000
NAMES = ["", "__name__", "m", "n", "job", "a", "*\n\n", '"\x01"\x01', "é" * 70]
UNKNOWN = [b"\x30\x05", b"\x39" + bytes(8), b"\x45" + bytes(4), b"\x4a\x03abc"]
REFS = [
    *(
        [1, 2],
        [1, 3],
        [1, 2, 4, 5],
        [4, 5, 1, 2],
        [1, 2, 4, 0],
        [1, 2, 1, 0],
        [1, 2, 1, 2],
        [1, 2, 4, 99],
        [1, 2, 4],
        [],
    ),
    *([1, 2, 4, 70_000], [1, 2, 1 << 21, 4], [(1 << 32) - 1, 2], [1, 2] * 130, [0, 2, 1, 2]),
]
TIMES = [NOW - 2, NOW, NOW, NOW + 1, 0, -1, 127, 1 << 40, (1 << 63) - 1]


def some_refs(rng):
    """References of one series."""
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(REFS)
    if kind < 0.8:
        return [1, rng.choice([2, 3, 5]), *(rng.randrange(1, 14) for _ in range(2 * rng.randrange(3)))]
    return [rng.randrange(17) for _ in range(rng.randrange(9))]


def one_series(rng):
    """One series as bytes; most are usual."""
    one = TimeSeries2(labels_refs=some_refs(rng))
    for _ in range(rng.choice([1, 1, 1, 1, 0, 2, 5])):
        time, value = rng.choice(TIMES if rng.random() < 0.2 else TIMES[:4]), rng.choice([0.0, 1.5, -0.0, 1e300, 34.0])
        one.samples.add(timestamp=time, value=value, start_timestamp=rng.choice([0, 0, 0, NOW - 9, 5]))
    if rng.random() < 0.5:
        one.metadata.type, one.metadata.help_ref = rng.randrange(10), rng.choice([0, 1, 4, 14, 40])
        one.metadata.unit_ref = rng.choice([0, 0, 5, 300])
    kind = rng.randrange(16)
    if kind == 0:
        histogram(one, NOW, rng.choice([0, NOW - 9]))
    if kind == 1:
        one.exemplars.add(timestamp=NOW, value=1.0, labels_refs=some_refs(rng))
    data = one.SerializeToString()
    odd = rng.choice([*UNKNOWN, b"\x0a\x02\x04\x05", b"\x2a\x02\x08\x01"])
    return {2: data + odd, 3: odd + data, 4: data + data}.get(kind, data)


def field(tag, content):
    """A field with a length."""
    return bytes([tag]) + varint(len(content)) + content


def one_request(rng, symbols):
    """A request as bytes; the order of its symbols stays, and that of its series."""
    texts = [field(0x22, text.encode()) for text in symbols]
    series = [field(0x2A, one_series(rng)) for _ in range(rng.randrange(8))]
    half = rng.randrange(len(texts) + 1)
    order = rng.randrange(4)
    if order < 3:
        return b"".join([texts + series, series + texts, texts[:half] + series + texts[half:]][order])
    parts, out = [texts, series, [rng.choice(UNKNOWN)]], []
    while any(parts):
        out.append(rng.choice([p for p in parts if p]).pop(0))
    return b"".join(out)


def found(decoder, data, **more):
    """What a decoder makes of a request, in the form of `decoded_2`."""
    decoded = decoder.decode_message(data, **more)
    decoded.stored()
    batch, labels = decoded.batch, decoder._registry.labels
    starts = [0] * len(batch) if batch.starts_ms is None else batch.starts_ms.tolist()
    bits = batch.values.view(np.uint64).tolist()
    values = ["histogram" if n >= 0 else v for n, v in zip(numbers_of(batch.values).tolist(), bits, strict=True)]
    rows = list(zip(map(labels, batch.refs.tolist()), batch.timestamps_ms.tolist(), values, starts, strict=True))
    exemplars = sorted((labels(e.ref), e.labels, e.value) for e in batch.exemplars)
    return rows, exemplars, (decoded.refused_series, decoded.refused_samples, decoded.refused_exemplars)


@pytest.mark.parametrize("seed", range(8))
def test_requests_are_what_the_library_makes_of_them(seed):
    """Each finds series that others over the same symbols have made known, and all again; symbols repeat, and some are empty."""
    rng = Random(seed)
    for _ in range(40):
        symbols = [
            "",
            *NAMES[1:6],
            *(rng.choice([*NAMES, chr(rng.randrange(32, 900))]) for _ in range(rng.randrange(12))),
        ]
        decoder = Decoder2(SeriesRegistry())
        for _ in range(4):
            request = one_request(rng, symbols)
            for _ in range(2):
                assert found(decoder, request) == decoded_2(request)


def test_a_name_that_stands_twice_is_refused_also_where_one_is_empty():
    """Though the series without the empty label is known."""
    decoder = Decoder2(SeriesRegistry())
    request = Request("__name__", "m", "job")
    request.series((), (NOW, 1.0), refs=[1, 2])
    request.series((), (NOW, 1.0), refs=[1, 2, 1, 0])
    request.series((), (NOW, 1.0), refs=[1, 2, 3, 0])
    for _ in range(3):
        decoded = decoder.decode_message(request.bytes())
        assert (len(decoded.batch), decoded.refused_series) == (2, 1)
        assert "not unique" in decoded.reasons[0]


def test_empty_labels_make_no_end_of_entries():
    """One series with ever other empty labels is remembered a few times only."""
    decoder = Decoder2(SeriesRegistry())
    for i in range(50):
        request = Request("__name__", "m", f"label_{i}")
        request.series((), (NOW, 1.0), refs=[1, 2, 3, 0])
        assert decoder.decode_message(request.bytes()).batch.refs.tolist() == [0]
    assert len(decoder._memory) == 2


@pytest.mark.parametrize("steps", [64, 300, 1 << 20])
def test_references_are_read_in_steps(monkeypatch, steps):
    """However many series one step has; a long one and one that cannot be are among them."""
    monkeypatch.setattr(remote_write_v2_numbers, "AT_ONCE_BYTES", steps)
    decoder = Decoder2(SeriesRegistry())
    request = Request(*map(str, range(17_000)))
    for i in range(60):
        request.series(from_mapping({"__name__": "m", "i": str(i), "j": str(16_999 - i)}), (NOW, float(i)))
        if i % 20 == 7:
            request.series((), (NOW, 9.0), refs=[1, 2, 3])
            request.series(from_mapping({"__name__": "m"} | {f"l{j}": "x" for j in range(130)}), (NOW, 7.0))
            request.message.timeseries[-1].metadata.help_ref = 3
    for _ in range(3):
        assert found(decoder, request.bytes()) == decoded_2(request.bytes())


def parts(data):
    """The symbols and series of a request as they are cut."""
    cut = split(np.frombuffer(data + bytes(PADDING_BYTES), np.uint8), len(data))
    return [[blocks.one(i) for i in range(len(blocks))] for blocks in (cut.symbols, cut.series)]


@pytest.mark.parametrize("order", ["first", "last", "split", "between"])
@pytest.mark.parametrize("breaks_max", [0, 64])
def test_symbols_are_found_wherever_they_stand(monkeypatch, order, breaks_max):
    """Without a walk; texts and references that look like the beginnings of fields are among them."""
    monkeypatch.setattr(remote_write_v2_split, "_walk", lambda *a: pytest.fail("it is followed"))
    monkeypatch.setattr(remote_write_v2_split, "_BREAKS_MAX", breaks_max)
    request = Request(
        "__name__", *(text * n for n in range(1, 9) for text in ('"', '"\x02ab', "*\x03\x0a\x01\x02", "*ab"))
    )
    for i in range(200):
        labels = {"__name__": f"m{i % 3}", "i": str(i), "*" * (i % 40): '"' * (i % 7)}
        request.series(from_mapping(labels), (NOW, float(i)))
    for refs in ([34, 1, 34, 1, 34, 1], [42, 1, 10, 1, 42, 10], [42, 4, 10, 2, 1, 1]):
        request.series((), (NOW, 1.0), refs=refs)
    texts = [text.encode() for text in request.message.symbols]
    series = [one.SerializeToString() for one in request.message.timeseries]
    first, second = (b"".join(field(0x22, t) for t in some) for some in (texts[:20], texts[20:]))
    left, right = (b"".join(field(0x2A, one) for one in some) for some in (series[:90], series[90:]))
    orders = {
        "first": (first, second, left, right),
        "last": (left, right, first, second),
        "split": (first, left, right, second),
        "between": (left, first, second, right),
    }
    assert parts(b"".join(orders[order])) == [texts, series]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_followed_is_what_a_walk_finds(seed):
    """Bytes that are mostly tags and small lengths: the same parts, or the same error, with and without a guess."""
    rng = Random(seed)
    for _ in range(400):
        one_cut(bytes(rng.choices([0x22, 0x2A, 0x0A, 0, 1, 2, 3, 5, 0x80, 0x30], k=rng.randrange(40))))
        one_cut(
            b"".join(rng.choices([b"\x22\x00", b"\x22\x02*\x01", b"\x2a\x02\x0a\x00", b"\x2a\x03\x0a\x01\x22"], k=30))
        )


def one_cut(data):
    """Cut some bytes in all ways and compare."""
    padded = np.frombuffer(data + bytes(PADDING_BYTES), np.uint8)
    outcomes = []
    for breaks_max in (64, 0, None):
        with pytest.MonkeyPatch.context() as patch:
            if breaks_max is None:
                patch.setattr(remote_write_v2_split, "_follow", lambda *a: None)
            else:
                patch.setattr(remote_write_v2_split, "_BREAKS_MAX", breaks_max)
            try:
                cut = split(padded, len(data))
            except Exception as e:  # whichever: it must be the same
                outcomes.append((type(e), str(e)))
            else:
                outcomes.append(
                    [b.tolist() for blocks in (cut.symbols, cut.series) for b in (blocks.starts, blocks.lengths)]
                )
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_metadata_behind_which_something_hides_is_not_usual():
    """A length of two bytes that a reader of one byte would take for the rest of the series."""
    decoder = Decoder2(SeriesRegistry())
    request = Request("__name__", "m")
    one = request.series((), (NOW, 1.0), refs=[1, 2]).SerializeToString()
    sample = b"\x12\x10\x09" + bytes(7) + b"\x40\x10" + varint(NOW)
    hidden = sample * 7  # 126 bytes
    odd = one + b"\x2a\x82\x00" + b"\x08\x01" + hidden + b"\x30\x05"
    data = Request2(symbols=["", "__name__", "m"]).SerializeToString() + field(0x2A, odd)
    for _ in range(3):
        assert len(found(decoder, data)[0]) == 8
        assert found(decoder, data) == decoded_2(data)
