"""Lines of Influx that came before, known as wholes: what is recalled is what reading with care gives, and nothing else is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyobs.exposition import influx, influx_recall
from tinyobs.exposition.influx import InfluxDecoder, InfluxOptions
from tinyobs.exposition.influx_names import NameRules, Origin
from tinyobs.exposition.influx_recall import LineMemory
from tinyobs.exposition.influx_unions import NAME_ENTRIES
from tinyobs.model.registry import SeriesRegistry

ORIGIN = Origin("d")
OPTIONS = InfluxOptions(1_790_000_000_000, origin=ORIGIN)
KNOWN = b'cpu,host=a\\ b user=1,sys=2i 10\nmem used=1,on=true,s="x, y=1 z" 10\nnet in=5\r\n'


def decoder_that_knows(body: bytes) -> InfluxDecoder:
    """Return a decoder that has read a body once."""
    decoder = InfluxDecoder(SeriesRegistry())
    decoder.decode(body, OPTIONS)
    return decoder


def outcome(decoder: InfluxDecoder, body: bytes):
    """Return what can be told of a body, bit by bit."""
    pushed = decoder.decode(body, OPTIONS)
    batch = pushed.batch
    labels = [decoder.memory._registry.labels(int(r)) for r in batch.refs]
    return labels, batch.timestamps_ms.tolist(), batch.values.tobytes(), dict(pushed.refused), pushed.problems


def test_a_body_that_came_before_is_recalled_as_a_whole(monkeypatch):
    """With other values, times and strings; nothing of it is taken apart into objects again."""
    body = KNOWN.replace(b'"x, y=1 z"', b"t").replace(
        b"\\ ", b"_"
    )  # a body with a string and a backslash is read with care
    decoder = decoder_that_knows(body)
    expected = outcome(decoder_that_knows(b""), body.replace(b"=1", b"=7.25").replace(b" 10", b" 1790000001"))
    monkeypatch.setattr(influx, "parse_line", None)
    assert outcome(decoder, body.replace(b"=1", b"=7.25").replace(b" 10", b" 1790000001")) == expected


def test_strings_are_recalled_whatever_they_hold(monkeypatch):
    """Commas, spaces and equals signs in a string make no other line; it is counted."""
    decoder = decoder_that_knows(b'system,host=a up="x",n=3i 10\n')
    monkeypatch.setattr(influx, "parse_line", None)
    _, _, values, refused, _ = outcome(decoder, b'system,host=a up="3 days, a=b, 7:05",n=4i 20\n')
    assert np.frombuffer(values).tolist() == [4.0]
    assert refused == {"string_field": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"m a,1=1=2", b"m a=1,=2", b"m a=1,b", b"m a==1,b=2", b"m a=1,b=2,", b"m a=1,b=", b"m a=1,b=null", b"m a=1,b=[2]",
        b"m a=1,b={}", b"m a=1,b=1.5i", b"m a=1,b=1e5i", b"m a=1,b=12345678901234567890i", b"m a=1,b=xtrue", b"m a=1,b=1true",
        b"m a=1,b=truei", b"m a=1,b=NaN", b"m a=1,b=1e400", b"m a=1,b=1_0", b"m a=1,b=2 x", b"m a=1,b=2 9223372036854775808",
        b'm a=1,b="2', b'm a=1,b=2"', b'm a=1"b="2"', b"m  a=1,b=2", b"#m a=1,b=2", b"m a=1,b=2 1 2", b"m a=1,b=--2",
    ],
)  # fmt: skip
def test_what_is_only_like_a_known_line_is_read_with_care(line):
    """The outcome is that of a decoder that knows nothing, and the neighbours are there."""
    body = b"m a=3,b=4 10\n" + line + b"\nm a=5,b=6 10\n"
    decoder = decoder_that_knows(b"m a=1,b=2 10\nm a=1,1=2 10\nm a=1 10\nm b=1 10\n")
    assert outcome(decoder, body) == outcome(decoder_that_knows(b""), body)


@pytest.mark.parametrize(
    "text", [b"-0", b"-0i", b"007", b"+1", b".5", b"5.", b"1e5", b"t", b"False", b"true", b"18446744073709551615u", b"1e-400", b"0.1"]
)  # fmt: skip
def test_numbers_keep_every_bit(text):
    """Also those that JSON does not know, or knows as something else."""
    body = b"m v=%b,w=%b 10\nm v=1.5,w=2i 20\n" % (text, text)
    assert outcome(decoder_that_knows(b"m v=1,w=1 10\n"), body) == outcome(decoder_that_knows(b""), body)


def test_a_quote_in_a_tag_is_no_string():
    """Two series whose tags differ within quotes stay two."""
    one, two = b'm,t="x" v=1 10\n', b'm,t="y" v=2 10\n'
    decoder = decoder_that_knows(one)
    assert outcome(decoder, two)[0] != outcome(decoder, one)[0]
    labels, _, _, refused, _ = outcome(decoder, b'm,t="a v=1,c=",d=1 10\nm v=2" 10\n')
    assert (labels, refused) == outcome(decoder_that_knows(b""), b'm,t="a v=1,c=",d=1 10\nm v=2" 10\n')[::3]


def test_lines_of_another_origin_are_not_recalled():
    """The same bytes may be another series there."""
    memory = LineMemory()
    memory.remember([b"m v=1"], [1], np.array([7], np.uint32), ORIGIN)
    found = memory.recall(b"m v=2 30\nother v=1", ORIGIN)
    assert found is not None
    assert (found.refs.tolist(), found.values.tolist(), found.times.tolist()) == ([7], [2.0], [30])
    assert found.left == [(2, b"other v=1")]
    assert memory.recall(b"m v=2", Origin("e")) is None


def test_what_is_remembered_is_bounded(monkeypatch):
    """When it is full it begins anew."""
    monkeypatch.setattr(influx_recall, "LINES_BYTES_MAX", 2000)
    memory = LineMemory()
    for i in range(100):
        memory.remember([b"m%d v=1" % i], [1], np.array([i], np.uint32), ORIGIN)
        assert 1 <= len(memory) <= 8
        found = memory.recall(b"m%d v=1" % i, ORIGIN)
        assert found is not None
        assert found.refs.tolist() == [i]


def bulk(body: bytes, decoder: InfluxDecoder):
    """Return (metric names, values) of a body read in bulk."""
    labels, _, values, _, _ = outcome(decoder, body)
    return [dict(some)["__name__"] for some in labels], np.frombuffer(values).tolist()


@pytest.fixture
def in_bulk(monkeypatch):
    """Bodies are read in bulk however small they are."""
    monkeypatch.setattr(influx, "SMALL_BYTES_MAX", -1)


@pytest.mark.parametrize("rules", [NameRules(), NameRules(skip_single_field=True)])
def test_lines_with_one_head_and_other_names(in_bulk, rules):
    """Names behind the first one are looked at, whether there are as many or not, and whether they are long."""
    long = b"x" * 40
    texts = [b"m a=1,b=2", b"m a=1,c=2", b"m a=1", b"m a=1,b=2,c=3", b"m a=1," + long + b"=2", b"m a=1," + long[1:] + b"=2",
             b"m a=1,\0b=2", b'm a=1,s="x"', b'm s="x",a=1', b'm s="xyz",a=1', b'm s="x"']  # fmt: skip
    decoder = InfluxDecoder(SeriesRegistry(), rules)
    for text in (*texts, *reversed(texts), *texts):
        fresh = InfluxDecoder(SeriesRegistry(), rules)
        assert bulk(text + b" 10\n", decoder) == bulk(text + b" 10\n", fresh)
    body = b"\n".join(texts * 2) + b"\n"
    assert bulk(body, decoder) == bulk(body, InfluxDecoder(SeriesRegistry(), rules))


def test_a_known_line_is_asked_for_once_and_not_each_of_its_fields(in_bulk, monkeypatch):
    """Neither names nor keys are hashed; each field is kept twice, for its line and for its key, and the names once."""
    lines = b"".join(b"m,h=%d a=1,b=2,c=3 10\n" % i for i in range(50))
    decoder = decoder_that_knows(lines)
    assert len(decoder.memory) == 2 * 150 + 3 * NAME_ENTRIES
    monkeypatch.setattr(decoder.memory, "_by_key", None)
    names, values = bulk(lines.replace(b"=3", b"=4"), decoder)
    assert names == ["m_a", "m_b", "m_c"] * 50
    assert math.fsum(values) == 50 * 7


def test_an_empty_memory_recalls_nothing():
    """Nor does it make anything of an empty body."""
    assert LineMemory().recall(b"", ORIGIN) is None
    assert len(outcome(decoder_that_knows(KNOWN), b"")[0]) == 0
