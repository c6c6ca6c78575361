"""Decimals read as columns are the floats that Python reads."""

from __future__ import annotations

import random
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.interchange.decimals import COUNT_MIN, read_decimals
from tinyobs.interchange.numbers import read_values
from tinyobs.model.staleness import is_stale_value

ODD = [
    b"",
    b"-",
    b".",
    b"1.2.3",
    b"--1",
    b"1-",
    b"1e5",
    b"NaN",
    b"+Inf",
    b"x",
    b"1\0",
    b"\xff",
    b"1_0",
    b" 1",
    b"5.",
    b"-.5",
]
ODD += [b"9007199254740993", b"-0", b"0.1234567890123456", b"1" * 40]


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def decimal(rng: random.Random) -> bytes:
    """Return a decimal, mostly short, at times with as many digits as a float takes."""
    if not rng.randrange(8):
        return repr(struct.unpack("<d", struct.pack("<Q", rng.getrandbits(62)))[0]).encode()
    text = str(rng.getrandbits(rng.randrange(1, 50)))
    at = rng.randrange(len(text) + 1)
    return ("-" * rng.randrange(2) + text[:at] + "." * rng.randrange(2) + text[at:]).encode()


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_every_decimal_is_read_to_the_bit(seed):
    """Signs, zeros, points anywhere, many digits: what `float` gives."""
    rng = random.Random(seed)
    texts = [decimal(rng) for _ in range(100)]
    values, faults = read_values(texts)
    assert not faults
    assert [bits(v) for v in values.tolist()] == [bits(float(t)) for t in texts]


@given(st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_what_is_no_plain_decimal_is_left_over_or_refused(seed):
    """Nothing is misread because of its neighbours."""
    rng = random.Random(seed)
    texts = [rng.choice(ODD) if rng.random() < 0.1 else decimal(rng) for _ in range(COUNT_MIN + rng.randrange(30))]
    values, faults = read_values(texts)
    for i, text in enumerate(texts):
        one, fault = read_values([text])
        assert (i in faults) == bool(fault)
        assert bits(float(values[i])) == bits(float(one[0]))


def test_the_staleness_marker_stands_beside_decimals():
    """Its word is read where it stands."""
    values, faults = read_values([b"1.5"] * COUNT_MIN + [b"StaleNaN"])
    assert not faults
    assert is_stale_value(float(values[-1]))
    assert read_decimals([b"1"] * (COUNT_MIN - 1)) is None
