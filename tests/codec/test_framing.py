"""Framed records: round trip, torn tails, and damage below what was acknowledged."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.codec.framing import HEADER, Damage, Frame, encode_frame, frames

RECORDS = st.lists(st.tuples(st.integers(1, 31), st.binary(min_size=1, max_size=60)), min_size=1, max_size=8)


def joined(records, *, synced):
    """The bytes of records, each written when everything before it was durable (or nothing was)."""
    out = b""
    for kind, payload in records:
        out += encode_frame(kind, payload, len(out) if synced else 0)
    return out


def sound(data):
    found = list(frames(memoryview(data), 0))
    damage = found.pop() if found and isinstance(found[-1], Damage) else None
    return [(f.type, bytes(f.payload)) for f in found], damage


@given(RECORDS)
def test_records_come_back(records):
    """What is framed is found again, with its place."""
    data = joined(records, synced=True)
    assert sound(data) == (records, None)
    ends = [f.end for f in frames(memoryview(data), 0) if isinstance(f, Frame)]
    assert ends[-1] == len(data)


@given(RECORDS, st.data())
def test_a_cut_file_is_a_torn_tail(records, data):
    """A file that ends anywhere gives its whole records and a damage that was not acknowledged."""
    whole = joined(records, synced=True)
    cut = data.draw(st.integers(0, len(whole)))
    found, damage = sound(whole[:cut])
    assert found == records[: len(found)]
    if damage is None:
        assert joined(found, synced=True) == whole[:cut]
    else:
        assert not damage.acknowledged


@given(RECORDS, st.data())
@settings(max_examples=200)
def test_a_flipped_bit_is_never_data(records, data):
    """Damage anywhere yields only sound records before it, and later durable records betray it."""
    whole = bytearray(joined(records, synced=True))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    found, damage = sound(bytes(whole))
    assert found == records[: len(found)]
    assert damage is not None
    assert damage.offset <= at
    if len(found) + 1 < len(records):
        assert damage.acknowledged, "the next record says that everything before it was durable"


def test_damage_among_unsynced_records_is_a_torn_tail():
    """Records of one unfinished write may be lost in any order; that is no corruption."""
    data = bytearray(joined([(1, b"one"), (2, b"two"), (3, b"three")], synced=False))
    data[2] ^= 1
    found, damage = sound(bytes(data))
    assert found == []
    assert damage is not None
    assert not damage.acknowledged


@given(st.binary(max_size=300))
def test_noise_is_no_record(noise):
    """Random bytes and zeros are never taken for a record."""
    for data in (noise, bytes(len(noise))):
        found, damage = sound(data)
        assert found == []
        assert (damage is None) == (len(data) == 0)


def test_the_worked_example_of_the_format_page():
    """The bytes in docs/format/wal.md decode as the page says."""
    data = encode_frame(5, b"abc", 24)
    assert data.hex(" ") == "03 00 00 00 e3 56 ae 5e 18 00 00 00 05 61 62 63"
    assert HEADER.size == 13
