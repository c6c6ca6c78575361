"""The Influx line protocol: names, escapes, values, times, and faults that cost nobody else anything."""

from __future__ import annotations

import re

import pytest

from tinyobs.exposition import influx, influx_recall
from tinyobs.exposition.influx import InfluxDecoder, InfluxOptions, samples_about
from tinyobs.exposition.influx_names import NameRules, Origin
from tinyobs.exposition.influx_times import PRECISIONS, Precision
from tinyobs.model.labels import get
from tinyobs.model.registry import SeriesRegistry

NOW = 1_790_000_123_456


@pytest.fixture(autouse=True, params=["small", "bulk"])
def way(request, monkeypatch):
    """Bodies are read line by line, as small ones are, and in bulk."""
    if request.param == "bulk":
        monkeypatch.setattr(influx, "SMALL_BYTES_MAX", -1)


class Reader:
    """A decoder whose samples can be looked at."""

    def __init__(self, series_max: int = 1000, **rules: object) -> None:
        self.registry = SeriesRegistry()
        self.decoder = InfluxDecoder(self.registry, NameRules(**rules), series_max)

    def read(self, body: bytes, **options):
        """Return (samples as (labels, time, value), what was refused)."""
        options.setdefault("now_ms", NOW)
        pushed = self.decoder.decode(body, InfluxOptions(**options))
        batch = pushed.batch
        columns = zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True)
        return [(self.registry.labels(r), t, v) for r, t, v in columns], pushed


def values(body: bytes, **options):
    """Return metric name -> value."""
    samples, pushed = Reader().read(body, **options)
    assert "malformed" not in pushed.refused, pushed.problems
    return {get(labels, "__name__"): v for labels, _, v in samples}


@pytest.mark.parametrize(
    ("body", "count"),
    [(b"", 1), (b"a v=1", 1), (b"a\\ b,c=d v=1,w=2 1\n" * 9, 20), (b"nonsense\n" * 9, 10), (b"# x=1\n\n", 3)],
)
def test_how_many_samples_there_are_about(body, count):
    """Told without decoding: the fields of the first line, for each line; one at least."""
    assert samples_about(body) == count


def test_a_field_is_a_series_named_after_measurement_and_field():
    """Tags are labels, the database is one as well, and the timestamp counts nanoseconds."""
    samples, pushed = Reader().read(
        b"cpu,host=a,cpu=0 user=1.5,sys=2i 1790000000000000000\n", origin=Origin("telegraf")
    )
    tags = (("cpu", "0"), ("db", "telegraf"), ("host", "a"))
    assert samples == [
        ((("__name__", "cpu_user"), *tags), 1_790_000_000_000, 1.5),
        ((("__name__", "cpu_sys"), *tags), 1_790_000_000_000, 2.0),
    ]
    assert not pushed.refused


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("-1.5", -1.5), ("1e3", 1000.0), ("1.5E-7", 1.5e-7), (".5", 0.5), ("5.", 5.0), ("+1", 1.0),
        ("007", 7.0), ("-0.25", -0.25), ("12345678.12345678", 12345678.12345678), ("98.49246231155778", 98.49246231155778),
        ("3i", 3.0), ("-3i", -3.0), ("3u", 3.0), ("9223372036854775807i", 2.0**63), ("-9223372036854775808i", -(2.0**63)),
        ("18446744073709551615u", 2.0**64), ("9007199254740993", 9007199254740992.0), ("1234567890123456789", 1.2345678901234568e18),
        ("t", 1.0), ("T", 1.0), ("true", 1.0), ("True", 1.0), ("TRUE", 1.0),
        ("f", 0.0), ("F", 0.0), ("false", 0.0), ("False", 0.0), ("FALSE", 0.0),
    ],
)  # fmt: skip
def test_values(text, value):
    """Floats, integers with their letter, and booleans, alone and among others."""
    assert values(b"m v=%s\n" % text.encode()) == {"m_v": value}
    body = b"".join(b"m%d a=1,v=%s,b=2.5\n" % (i, text.encode()) for i in range(3))
    assert [values(body)[f"m{i}_v"] for i in range(3)] == [value] * 3


@pytest.mark.parametrize(
    "text",
    [
        "", "NaN", "nan", "inf", "-Inf", "1e999", "1x", "1.2.3", "--1", "-", ".", "i", "-i", "1.5i", "1e3i", "-1u", "1ii",
        "9223372036854775808i", "18446744073709551616u", "tRUE", "yes", "0x1", "1_000", "1=2", "'a'", '"open', '"a"b', "1\t",
    ],
)  # fmt: skip
def test_what_is_no_value_costs_its_line_and_no_other(text):
    """The line is refused with its number; those around it are stored."""
    samples, pushed = Reader().read(b"a v=1\nb w=2,v=%s 1790000000000000000\nc v=3\n" % text.encode())
    assert [get(labels, "__name__") for labels, _, _ in samples] == ["a_v", "c_v"]
    assert pushed.refused == {"malformed": 1}
    assert re.fullmatch(r"unable to parse .* \(line 2\)", pushed.problems[0], re.DOTALL)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"cpu", "missing fields"), (b"cpu ", "missing fields"), (b"cpu,host=a", "missing fields"),
        (b"cpu,host v=1", "missing tag value"), (b"cpu,,a=b v=1", "missing tag value"), (b"cpu, v=1", "missing tag value"),
        (b"cpu v", "invalid field format"), (b"cpu =1", "invalid field format"), (b"cpu v=1,", "invalid field format"),
        (b"cpu ,v=1", "invalid field format"), (b"cpu v=1,,w=2", "invalid field format"), (b"cpu v=1 x", "bad timestamp"),
        (b"cpu v=1 1 2", "bad timestamp"), (b"cpu v=1 9223372036854775808", "timestamp out of range"),
        (b"c\xffpu v=1", "not UTF-8"), (b"cpu,a=\xff v=1", "not UTF-8"), (b"cpu \xff=1", "not UTF-8"),
        (b'cpu v="open', "unbalanced quotes"),
    ],
)  # fmt: skip
def test_what_is_no_line(line, reason):
    """The sentence says what is missing and where; known neighbours do not hide it."""
    reader = Reader()
    for _ in range(2):
        samples, pushed = reader.read(b"a v=1\n%s\nb v=2\n" % line)
        assert len(samples) == 2
        assert pushed.problems[0].endswith(f": {reason} (line 2)")


def test_escapes():
    """A backslash makes a space, comma, equals sign or backslash ordinary, and else stands for itself."""
    body = rb"""esc\ a\,b\=c\\d,t\ x=y\=z\,\"q,p=C:\\ f\ g=1,h\,i=2""" + b"\n" + rb"two\ words,path=C:\Temp v=3" + b"\n"
    samples, pushed = Reader().read(body)
    assert not pushed.refused
    tags = (("p", "C:\\"), ("t x", 'y=z,\\"q'))
    assert [labels for labels, _, _ in samples] == [
        (("__name__", "esc a,b=c\\d_f g"), *tags),
        (("__name__", "esc a,b=c\\d_h,i"), *tags),
        (("__name__", "two words_v"), ("path", "C:\\Temp")),
    ]


def test_strings_are_left_out_and_counted():
    """Commas, spaces, quotes and line breaks within a string do not end it."""
    body = b'a s="x, y=2 \\" z",v=1\nb s="one\ntwo\n# three",v=2 1790000000000000000\nc s="only"\nd v=4\n'
    samples, pushed = Reader().read(body)
    assert [(get(labels, "__name__"), v) for labels, _, v in samples] == [("a_v", 1.0), ("b_v", 2.0), ("d_v", 4.0)]
    assert pushed.refused == {"string_field": 3}
    assert not pushed.problems


def test_a_quote_that_is_never_closed_costs_its_own_line_only(monkeypatch):
    """The lines behind it are read as if it were not there, however many such quotes there are."""
    monkeypatch.setattr(influx, "OPEN_STRINGS_MAX", 3)
    body = b"".join(b'm%d v="open\nm%d v=1\nm v="x"\n' % (i, i) for i in range(10))
    samples, pushed = Reader().read(body)
    assert len(samples) == 10
    assert pushed.refused == {"malformed": 10, "string_field": 10}


def test_line_endings_comments_and_spaces():
    """Empty lines, comments, carriage returns and spaces around the parts are nothing to complain about."""
    body = b'# text\n\n  \na v=1\r\n  b  v=2   1790000000000000000  \r\n#c v=1 "\n\r\nd v=4 \ne v="s"\r\nf v=5i'
    samples, pushed = Reader().read(body)
    assert [v for _, _, v in samples] == [1.0, 2.0, 4.0, 5.0]
    assert "malformed" not in pushed.refused


def test_empty_and_repeated_tags():
    """An empty tag is none, of two with one name the last one counts, and labels of the request go before tags."""
    samples, _ = Reader().read(b",a=1,b=,=x,a=2,c=3 v=1\n", origin=Origin("", (("c", "9"),)))
    assert samples[0][0] == (("__name__", "v"), ("a", "2"), ("c", "9"))


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ({}, ["cpu_a", "cpu_b", "mem_v"]),
        ({"separator": ":"}, ["cpu:a", "cpu:b", "mem:v"]),
        ({"skip_single_field": True}, ["cpu_a", "cpu_b", "mem"]),
        ({"skip_measurement": True}, ["a", "b", "v"]),
        ({"skip_measurement": True, "skip_single_field": True}, ["a", "b", "v"]),
    ],
)
def test_rules_for_names(rules, names):
    """They are those of VictoriaMetrics; a line with a string has more than one field."""
    reader = Reader(**rules)
    for _ in range(2):
        samples, _ = reader.read(b"cpu a=1,b=2\nmem v=3\n")
        assert [get(labels, "__name__") for labels, _, _ in samples] == names
    samples, _ = reader.read(b'mem v=3,s="x"\n')
    assert get(samples[0][0], "__name__") == (
        "v" if "skip_measurement" in rules else f"mem{rules.get('separator', '_')}v"
    )


def test_the_label_of_the_database():
    """A tag of its name goes before it; it may have another name, or none."""
    body = b"a v=1\nb,db=own v=1\n"
    for name, expected in (("db", ["d", "own"]), ("", ["", "own"])):
        samples, _ = Reader(db_label=name).read(body, origin=Origin("d"))
        assert [get(labels, "db") for labels, _, _ in samples] == expected
    samples, _ = Reader(db_label="bucket").read(body, origin=Origin("d"))
    assert [get(labels, "bucket") for labels, _, _ in samples] == ["d", "d"]


def test_names_may_be_made_valid():
    """Characters that Prometheus 2 did not know become underscores where that is wanted."""
    body = "win-cpu.ü,host\\ name=a.b,0x=1 %\\ time=1\n1m v=2\n".encode()
    samples, _ = Reader(keep_names=False).read(body)
    assert get(samples[0][0], "_0x") == "1"
    assert get(samples[0][0], "__name__") == "win_cpu_____time"
    assert get(samples[0][0], "host_name") == "a.b"
    assert get(samples[1][0], "__name__") == "_1m_v"
    samples, _ = Reader().read(body)
    assert get(samples[0][0], "__name__") == "win-cpu.ü_% time"


@pytest.mark.parametrize(
    ("precision", "stamp", "expected"),
    [
        ("ns", "1790000000000999999", 1_790_000_000_000), ("n", "1790000000000999999", 1_790_000_000_000),
        ("us", "1790000000000999", 1_790_000_000_000), ("u", "1790000000000999", 1_790_000_000_000),
        ("ms", "1790000000000", 1_790_000_000_000), ("s", "1790000000", 1_790_000_000_000),
        ("m", "29833333", 1_789_999_980_000), ("h", "497222", 1_789_999_200_000), ("ns", "1000000", 1),
        ("auto", "1790000000000999999", 1_790_000_000_000), ("auto", "1790000000000999", 1_790_000_000_000),
        ("auto", "1790000000000", 1_790_000_000_000), ("auto", "1790000000", 1_790_000_000_000),
        ("ns", "-1500000", -1), ("auto", "-5", -5000), ("s", "-5", -5000),
        ("ns", "", NOW), ("ns", "0", NOW), ("auto", "", NOW), ("s", "", 1_790_000_123_000), ("h", "", 1_789_999_200_000),
    ],
)  # fmt: skip
def test_times(precision, stamp, expected):
    """Fractions are cut off; without a timestamp it is now, cut to whole units."""
    for body in (b"m v=1 %s\n", b'm v=1,s="" %s\n', b"x v=1 1790000000000000000\nm v=1 %s\n"):
        samples, _ = Reader().read(body % stamp.encode(), precision=PRECISIONS[precision])
        assert samples[-1][1] == expected


def test_times_that_cannot_be():
    """A timestamp in hours that no millisecond can count is refused."""
    samples, pushed = Reader().read(b"a v=1 9223372036854775\nb v=1 1\n", precision=Precision.HOURS)
    assert (len(samples), pushed.refused) == (1, {"malformed": 1})


def test_times_may_be_trimmed():
    """What is left when dividing by the unit is cut off."""
    samples, _ = Reader().read(b"m v=1 1790000012345000000\n", trim_ms=10_000)
    assert samples[0][1] == 1_790_000_010_000


def test_the_memory_of_series_is_bounded():
    """Beyond its size it begins anew, and all that is sent is still understood."""
    reader = Reader(series_max=10)
    for _ in range(2):
        for i in range(5):
            samples, _ = reader.read(b"".join(b"m%d v=%d\n" % (k, k) for k in range(4 * i, 4 * i + 4)))
            assert [v for _, _, v in samples] == [4 * i + k for k in range(4)]
            assert len(reader.decoder.memory) <= 10
    samples, _ = reader.read(b"".join(b"many%d v=%d\n" % (k, k) for k in range(30)))
    assert len(samples) == 30
    assert len(reader.decoder.memory) <= 10


def test_the_memory_of_lines_is_bounded(monkeypatch):
    """It begins anew as well, and what is forgotten is still understood; what a line is does not depend on it."""
    monkeypatch.setattr(influx_recall, "LINES_BYTES_MAX", 2000)
    reader = Reader(skip_single_field=True)
    for i in range(30):
        samples, _ = reader.read(b'm%d,t=x v=%d\nm%d,t=x v=%d,s="x"\n' % (i % 9, i, i % 9, i))
        assert [v for _, _, v in samples] == [i, i]
        assert [get(labels, "__name__") for labels, _, _ in samples] == [f"m{i % 9}", f"m{i % 9}_v"]
        assert len(reader.decoder.lines) <= 8


def test_one_sender_does_not_take_the_series_of_another():
    """The same bytes for another database, or with other labels, are other series."""
    reader = Reader()
    origins = [Origin(), Origin("a"), Origin("b"), Origin("a", (("x", "1"),)), Origin("", (("x", "1"),))]
    found = [reader.read(b"m v=1\n", origin=origin)[0][0][0] for origin in origins * 2]
    assert len(set(found)) == len(origins)
    assert found[: len(origins)] == found[len(origins) :]


def test_a_line_may_be_too_long(monkeypatch):
    """It is refused, before and behind others, with strings as well; the numbers of lines stay right."""
    monkeypatch.setattr(influx, "SMALL_BYTES_MAX", -1)
    monkeypatch.setattr(influx, "PIECE_BYTES", 100)
    monkeypatch.setattr(influx, "LONG_LINE_BYTES", 200)
    long = b'long s="%s",v=1\n' % (b"x " * 200)
    samples, pushed = Reader().read(long + b'a v=1,s="x y"\n' + long + b"b v=\nc v=3\n" + long.strip())
    assert [v for _, _, v in samples] == [1.0, 3.0]
    assert pushed.refused == {"malformed": 4, "string_field": 1}
    assert [int(p[p.index("(line") + 6 : -1]) for p in pushed.problems] == [1, 3, 4, 6]


def test_faults_beyond_number_are_only_counted(monkeypatch):
    """Each counts; only some are put in words."""
    monkeypatch.setattr(influx, "FAULTS_MAX", 5)
    _, pushed = Reader().read(b"bad\n" * 20)
    assert (pushed.refused, len(pushed.problems)) == ({"malformed": 20}, 5)
