"""Mutated bodies of real senders: every way of reading them gives the same bits, the same sentences and the same lines of faults."""

from __future__ import annotations

import random
import struct

import pytest
from influx_reference import read

from tinyobs.exposition import influx
from tinyobs.exposition.influx import InfluxDecoder, InfluxOptions
from tinyobs.exposition.influx_names import NameRules, Origin
from tinyobs.exposition.influx_times import Precision
from tinyobs.model.registry import SeriesRegistry

NOW = 1_790_000_123_456
VALUES = [
    b"1", b"-0", b"-0.0", b"-0i", b"0i", b"-1i", b"+5i", b"007i", b"-00i", b"0u", b"-0u", b"+1u", b"18446744073709551615u",
    b"18446744073709551616u", b"9223372036854775807i", b"-9223372036854775808i", b"9223372036854775808i",
    b"-9223372036854775809i", b"9007199254740993i", b"-9007199254740993i", b"99999999999999999999999i", b"1e3", b"1E-3",
    b"-1.5e+300", b"1e309", b"-1e309", b"5e-324", b"1e-400", b".5", b"5.", b"+1.5", b"-.5", b"1.", b"1e", b"e1", b"--1", b"nan", b"NaN", b"inf",
    b"+Inf", b"-inf", b"infinity", b"0x10", b"1_000", b"1,5", b"t", b"F", b"True", b"FALSE", b"tRUE", b"truex", b"i", b"u", b"-i", b"", b"1.5i",
    b"1e3i", b"98.49246231155778", b"0.1000000000000000055511151231257827", b"123456789012345678", b"-12345678.12345678", b"1 2",
    b'"x"', b'""', b'"a, b=c d"', b'"q\\"q"', b'"b\\\\"', b'"\xc3\xbc"', b'"open', b'"x"y', b"\xd9\xa1", b"1\x00", b"1\t",
]  # fmt: skip
TIMES = [
    b"", b" ", b" 0", b" 1790000000000000000", b" 1790000010000000000", b" 1790000000000", b" 1790000000", b" -1", b" -1790000000000000000",
    b" 9223372036854775807", b" -9223372036854775807", b" -9223372036854775808", b" 9223372036854775808", b" 99999999999999999999",
    b" 9223372036854775", b" 1.5", b" 1e9", b" +1", b" x", b"  1790000000000000000", b" 1790000000000000000 ", b" 1 2", b" 00001790000000000000000", b" 0000000000000000000000000000001", b"\t1",
]  # fmt: skip
KEYS = [
    b"cpu", b"cpu,host=a", b"cpu,host=b,cpu=cpu-total", b"m\xc3\xbc,t\xc3\xa4g=w\xc3\xa9rt", b"a\\ b,c\\,d=e\\=f", b"cpu,host=a,host=b", b"cpu,host=",
    b"cpu,=a", b"cpu,host", b"cpu,", b",host=a", b"", b'cpu,q="x"', b"cpu,p=C:\\Temp\\", b"cpu\\\\,a=b", b"\xff", b"#cpu", b"cpu,db=own", b"cpu,a=b=c",
    b"cpu,__name__=x", b'cpu,q="a b"',
]  # fmt: skip
NAMES = [
    b"value",
    b"a",
    b"b",
    b"usage_user",
    b"a\\ b",
    b"\xc3\xbc",
    b"",
    b"x\\=y",
    b"long_name_of_more_than_thirty_two_bytes_in_all",
    b'"q"',
]
ENDS = [b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\n# c v=1\n", b"\r\n\r\n", b" \n"]
BYTES = b' ,=\\\n\r#\t0i1-+.eu"\xff\x00xtNI'


def of(rng: random.Random, usual: int, choices: list[bytes]) -> bytes:
    """Return one of the first two of them in most cases."""
    return rng.choice(choices[:2]) if rng.random() < usual / 100 else rng.choice(choices)


def line(rng: random.Random, usual: int) -> bytes:
    """Return a line of the lists above; usual: how many per cent of its parts are ordinary."""
    fields = [of(rng, usual, NAMES) + b"=" + of(rng, usual, VALUES) for _ in range(rng.choice((1, 1, 2, 3, 6)))]
    time = of(rng, usual, TIMES[3:5] + TIMES)
    return of(rng, usual, KEYS) + b" " + b",".join(fields) + time + of(rng, usual, ENDS)


def body(rng: random.Random) -> bytes:
    """Return a body whose lines are more or less strange, and which may be damaged."""
    found = bytearray().join(line(rng, rng.choice((40, 80, 97))) for _ in range(rng.randrange(1, 25)))
    for _ in range(rng.choice((0, 0, 1, 4))):
        at = rng.randrange(len(found) + 1)
        kind = rng.randrange(3)
        if kind == 0:
            found[at : at + 1] = bytes([rng.choice(BYTES)])
        elif kind == 1:
            del found[at : at + rng.randrange(1, 6)]
        else:
            found[at:at] = found[max(at - 12, 0) : at]
    return bytes(found)


class Way:
    """One way of reading, with a memory of its own."""

    def __init__(self, small_bytes_max: int, piece_bytes: int, rules: NameRules) -> None:
        self.limits = small_bytes_max, piece_bytes
        self.registry = SeriesRegistry()
        self.decoder = InfluxDecoder(self.registry, rules)

    def read(self, text: bytes, options: InfluxOptions):
        """Return all that a body gives: (labels, time, bits of the value) of samples, what was refused, and the sentences."""
        before = influx.SMALL_BYTES_MAX, influx.PIECE_BYTES
        influx.SMALL_BYTES_MAX, influx.PIECE_BYTES = self.limits
        try:
            pushed = self.decoder.decode(text, options)
        finally:
            influx.SMALL_BYTES_MAX, influx.PIECE_BYTES = before
        batch = pushed.batch
        columns = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
        samples = [(self.registry.labels(r), t, struct.pack("<d", v)) for r, t, v in columns]
        return samples, dict(pushed.refused), tuple(pushed.problems)


@pytest.mark.parametrize("precision", sorted(Precision))
@pytest.mark.parametrize(
    "rules", [NameRules(), NameRules(skip_single_field=True, keep_names=False)], ids=["usual", "other"]
)
def test_all_ways_give_the_same(precision, rules):
    """Line by line, as what came before, in bulk, and in pieces; in memories that have seen all bodies before this one."""
    rng = random.Random(f"{precision}{rules.keep_names}")
    options = InfluxOptions(NOW, precision, Origin("d", (("zone", "z"),)))
    ways = {"small": Way(1 << 20, 1 << 20, rules), "bulk": Way(-1, 1 << 20, rules), "pieces": Way(-1, 50, rules)}
    for _ in range(50):
        text = body(rng)
        alone = Way(1 << 20, 1 << 20, rules).read(text, options)  # nothing came before
        for again in range(2):
            found = {name: way.read(text, options) for name, way in ways.items()}
            assert found == dict.fromkeys(ways, alone), (again, text)


@pytest.mark.parametrize(
    "way", [Way(1 << 20, 1 << 20, NameRules()), Way(-1, 1 << 20, NameRules())], ids=["small", "bulk"]
)
def test_both_give_what_the_reference_gives(way):
    """Where no string goes beyond its line a parser that knows no shortcut gives the same bits, and refuses the same lines."""
    rng, options = random.Random(3), InfluxOptions(NOW, Precision.AUTO, Origin("d", (("zone", "z"),)))
    for _ in range(200):
        text = body(rng).replace(b'"', b"'")
        samples, refused, _ = read(text, options, NameRules())
        found, counts, problems = way.read(text, options)
        assert found == [(labels, t, struct.pack("<d", v)) for labels, t, v in samples], text
        assert counts.get("malformed", 0) == len(refused), text
        assert [int(p.rpartition("(line ")[2][:-1]) for p in problems] == refused[: len(problems)], text


def small_and_bulk():
    return Way(1 << 20, 1 << 20, NameRules()), Way(-1, 1 << 20, NameRules())


NAMED = b'cpu value="x",b=1 1\n'


@pytest.mark.parametrize(
    ("bodies", "name"),
    [
        ((NAMED, b"cpu value=1 1\n"), "cpu_value"),
        ((b"cpu value=1 1\n", NAMED), "cpu_b"),
        ((NAMED, b'cpu value="x",c=1 1\n'), "cpu_c"),
        ((NAMED, b"cpu value=1 1\n", NAMED), "cpu_b"),
    ],
)
def test_a_field_is_never_taken_for_another_behind_a_string_of_its_name(bodies, name):
    """What is known of one line says nothing of one that begins alike and has as many numbers."""
    for way in small_and_bulk():
        for text in bodies:
            samples, _, _ = way.read(text, InfluxOptions(NOW))
        assert dict(samples[0][0])["__name__"] == name


@pytest.mark.parametrize("value", [b"", b"i", b"-i", b"u"])
def test_a_value_that_is_missing_where_there_was_one(value):
    """It is refused, alone and beside others, and its batch has as many values as series."""
    for way in small_and_bulk():
        for text in (b"cpu v=1 1\n", b"cpu v=%b 1\n" % value, b"cpu v=1 1\ncpu v=%b 1\n" % value):
            samples, refused, problems = way.read(text, InfluxOptions(NOW))
            assert len(samples) == text.startswith(b"cpu v=1")
            assert refused.get("malformed", 0) == len(problems) == (not text.endswith(b"v=1 1\n"))


@pytest.mark.parametrize("before", [b"\0", b"\t", b" ", b"\t\0 "])
def test_what_stands_before_a_key(before):
    """Blanks, tabs and zeros are skipped, however a line is read."""
    for way in small_and_bulk():
        for _ in range(2):
            samples, refused, _ = way.read(b"a v=1 1\n" + before + b"a v=2 1\n", InfluxOptions(NOW))
            assert [dict(labels)["__name__"] for labels, _, _ in samples] == ["a_v", "a_v"]
            assert not refused


@pytest.mark.parametrize("text", [b"-0i", b"-00i", b"0i", b"0u"])
def test_an_integer_zero_has_no_sign(text):
    """However it is read: alone, beside others, small and in bulk; that of a float has."""
    for others in (b"", b"a v=1i\na v=-1.5\n"):
        for way in small_and_bulk():
            for _ in range(2):
                samples, _, _ = way.read(others + b"a v=" + text + b"\na v=-0\n", InfluxOptions(NOW))
                assert [s[2] for s in samples[-2:]] == [struct.pack("<d", 0.0), struct.pack("<d", -0.0)]
