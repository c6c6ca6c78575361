"""Numbers within a buffer are read as Python reads them, or left to whoever asked."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from tinyobs.exposition.number_columns import PADDING_BYTES, read_floats, read_integers

PLAIN = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
ANY = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def laid_out(texts):
    """Return (buffer, starts, ends) of texts with commas between."""
    lengths = np.array([len(t) for t in texts])
    ends = PADDING_BYTES + np.cumsum(lengths + 1) - 1
    return np.frombuffer(bytes(PADDING_BYTES) + b",".join(texts) + bytes(64), np.uint8), ends - lengths, ends


def texts(seed, junk):
    """Yield texts of all kinds of numbers, and such as are none."""
    rng = random.Random(seed)
    kinds = [
        lambda: str(rng.randrange(10 ** rng.randrange(1, 22))),
        lambda: repr(rng.random() * 10 ** rng.randrange(-12, 12)),
        lambda: f"{rng.random() * 10 ** rng.randrange(9):.{rng.randrange(1, 9)}f}",
        lambda: f"-{rng.randrange(10**5)}.{rng.randrange(10**6):06d}",
        lambda: rng.choice(
            ["0", "-0", "0.5", "9007199254740993", "9007199254740992", "99999999.9999999", "1e5", "1e-320"]
        ),
    ]
    if junk:
        kinds.append(lambda: "".join(rng.choice("0123456789.-+e/: ") for _ in range(rng.randrange(12))))
        kinds.append(
            lambda: rng.choice(
                ["true", "null", "--1", "1.", ".5", "007", "", "-", "1e999", "1 ", "[1]", '"1"', "x" * 40]
            )
        )
    return [rng.choice(kinds)().encode() for _ in range(3000)]


@pytest.mark.parametrize("junk", [False, True])
def test_floats(junk):
    """What is read is right to the last bit, junk is never read, and plain numbers always are, even beside junk."""
    given = texts(1, junk)
    values, good = read_floats(*laid_out(given))
    for text, value, read in zip(given, values.tolist(), good.tolist(), strict=True):
        if read:
            assert ANY.match(text), text
            assert repr(value) == repr(float(text)), text
        elif PLAIN.match(text):
            assert len(text) > 24 or abs(float(text)) == float("inf"), text


def test_integers():
    """Up to nineteen digits and nothing else."""
    given = texts(2, True)
    data, starts, ends = laid_out(given)
    values, good = read_integers(data, ends, ends - starts)
    assert good.tolist() == [t.isdigit() and len(t) <= 19 for t in given]
    assert [int(v) for v in values[good]] == [int(t) for t, g in zip(given, good, strict=True) if g]


def test_nothing():
    """No texts give no numbers."""
    none = np.empty(0, np.int64)
    assert [len(c) for c in read_floats(np.zeros(64, np.uint8), none, none)] == [0, 0]
    assert [len(c) for c in read_integers(np.zeros(64, np.uint8), none, none)] == [0, 0]
