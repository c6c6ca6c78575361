"""Bodies of `/federate`: families of unknown type, external labels, native histograms in protobuf."""

from __future__ import annotations

from tinyobs.exposition.client_schema import GAUGE_HISTOGRAM, HISTOGRAM, UNTYPED, Family
from tinyobs.exposition.federation import PIECE_SERIES, FederatedSample, federation_pieces
from tinyobs.exposition.formats import Format
from tinyobs.exposition.negotiate import Answer
from tinyobs.exposition.scrape_parser import ScrapeParser
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, ResetHint
from tinyobs.model.label_block import read_varint
from tinyobs.model.labels import from_mapping

EXTERNAL = (("dc", "x"), ("instance", ""))
UP = FederatedSample(from_mapping({"__name__": "up", "instance": "h:1", "job": "p"}), 1_795_894_092_613, 1.0)
NATIVE = Histogram(3, 1e-128, 2.0, 17.0, 18.5, ((-2, 2), (3, 1)), (1.0, 4.0, 5.0), ((0, 1),), (5.0,))


def histogram(name: str, value: Histogram) -> FederatedSample:
    """Return a sample of a series with a label."""
    return FederatedSample(from_mapping({"__name__": name, "a": "b"}), 7, value)


def messages(body: bytes) -> list[Family]:
    """Return the messages of a delimited body."""
    found, at = [], 0
    while at < len(body):
        size, at = read_varint(body, at)
        found.append(Family.FromString(body[at : at + size]))
        at += size
    return found


def body(samples: list[FederatedSample], format: Format) -> bytes:
    """Return the whole body."""
    return b"".join(federation_pieces(samples, EXTERNAL, Answer(format)))


def test_text_is_what_prometheus_writes() -> None:
    """External labels come last, those that a series has already are left alone, and nameless series out."""
    bare = FederatedSample((("__name__", "z"),), 5, 2.5)
    assert body([FederatedSample((("a", "b"),), 1, 1.0), UP, bare], Format.TEXT_0_0_4) == (
        b'# TYPE up untyped\nup{instance="h:1",job="p",dc="x"} 1 1795894092613\n'
        b'# TYPE z untyped\nz{dc="x",instance=""} 2.5 5\n'
    )


def test_openmetrics_has_unknown_families_and_one_end() -> None:
    """The end stands once, however many pieces there are, and also in an empty body."""
    assert body([UP], Format.OPENMETRICS_1_0_0) == (
        b'# TYPE up unknown\nup{instance="h:1",job="p",dc="x"} 1.0 1795894092.613\n# EOF\n'
    )
    assert body([], Format.OPENMETRICS_1_0_0) == b"# EOF\n"
    assert body([], Format.TEXT_0_0_4) == b""


def test_families_stay_whole_in_pieces() -> None:
    """Every name has one TYPE line, and what was written is what a scrape reads."""
    samples = [
        FederatedSample((("__name__", f"m{i:03}"), ("n", str(j))), 1000, float(j)) for i in range(60) for j in range(99)
    ]
    pieces = list(federation_pieces(samples, EXTERNAL, Answer(Format.OPENMETRICS_1_0_0)))
    assert len(pieces) == 1 + -(-len(samples) // (-(-PIECE_SERIES // 99) * 99))
    whole = b"".join(pieces)
    assert whole.count(b"# TYPE") == 60
    parsed = ScrapeParser(Format.OPENMETRICS_1_0_0).parse(whole)
    assert parsed.values.tolist() == [s.value for s in samples]
    assert set(parsed.timestamps_ms.tolist()) == {1000}


def test_native_histograms_go_out_in_protobuf_only() -> None:
    """Every field is there with counts as floats; text knows no such sample; custom bounds have no place."""
    samples = [histogram("h", NATIVE), histogram("n", Histogram(CUSTOM_SCHEMA, 0.0, 0.0, 1.0, 1.0))]
    assert body(samples, Format.TEXT_0_0_4) == b""
    (family,) = messages(body(samples, Format.PROTOBUF))
    (metric,) = family.metric
    native = metric.histogram
    assert (family.name, family.type, metric.timestamp_ms) == ("h", HISTOGRAM, 7)
    assert [(p.name, p.value) for p in metric.label] == [("a", "b"), ("dc", "x"), ("instance", "")]
    assert (native.sample_count_float, native.sample_sum, native.schema) == (17.0, 18.5, 3)
    assert (native.zero_threshold, native.zero_count_float) == (1e-128, 2.0)
    assert [(s.offset, s.length) for s in native.positive_span] == [(-2, 2), (3, 1)]
    assert (list(native.positive_count), list(native.negative_count)) == ([1.0, 4.0, 5.0], [5.0])
    assert [(s.offset, s.length) for s in native.negative_span] == [(0, 1)]


def test_samples_of_different_kinds_are_families_of_their_own() -> None:
    """Floats, histograms and gauge histograms of one name follow each other as three families."""
    gauge = Histogram(0, 0.0, 0.0, 1.0, 1.0, ((0, 1),), (1.0,), reset_hint=ResetHint.GAUGE)
    samples = [FederatedSample((("__name__", "h"),), 1, 3.0), histogram("h", NATIVE), histogram("h", gauge)]
    found = messages(body(samples, Format.PROTOBUF))
    assert [(f.name, f.type) for f in found] == [("h", UNTYPED), ("h", HISTOGRAM), ("h", GAUGE_HISTOGRAM)]
    assert found[0].metric[0].untyped.value == 3.0
