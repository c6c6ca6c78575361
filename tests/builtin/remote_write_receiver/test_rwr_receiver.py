"""The contract of receivers, and where a body is decoded."""

from __future__ import annotations

import threading

import pytest
from attrs import evolve
from remote_write_requests import V1, V2, Request, body_1, headers, histogram, packed, written
from rwr_agent import far, now_ms

from tinyobs.builtin import remote_write_receiver as plugin
from tinyobs.builtin.remote_write_receiver import receiver
from tinyobs.exposition.remote_write import decode_message, decoded_bytes
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.exposition.remote_write_v2_decode import Decoder2
from tinyobs.model.hash_table import MISSING
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.receiving import extra_labels
from tinyobs.receiving.extra_labels import LabelAdder
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for

AT = 1_790_000_000_000
GOOD = [([("__name__", "a"), ("i", str(i))], [(AT, 1.0)]) for i in range(3)]
BAD = ([("i", "x")], [(AT, 1.0)])


def body_2(*series):
    """Return the body of a request of version 2.0."""
    made = Request()
    for pairs, samples in series:
        made.series(pairs, *samples)
    return made.body()


def switched_on(services):
    """Give the flag."""
    services.settings = evolve(services.settings, remote_write_receiver=True)


def case(message, path="/api/v1/write"):
    """Return requests of a version."""
    make = body_1 if message == V1 else body_2
    return ReceiverCase(
        path,
        good=make(*GOOD),
        samples=3,
        bad=packed(b"\x0a\xff"),
        mixed=make(*GOOD, BAD),
        mixed_samples=3,
        headers=headers(message),
        unpacks=False,
        has_flag=True,
        mixed_statuses=(400,),
        prepare=switched_on,
    )


@pytest.mark.parametrize("path", ["/api/v1/write", "/api/v1/push", "/api/v1/write?extra_label=a=b"])
@pytest.mark.parametrize("message", [V1, V2])
async def test_the_contract_of_receivers(autojump_clock, message, path):
    """Both versions keep what every receiver promises."""
    await check_receiver(plugin.tinyobs_routes, case(message, path))


@pytest.mark.parametrize("message", [V1, V2])
@pytest.mark.parametrize("more", [0, 1])
async def test_what_is_large_when_unpacked_is_decoded_in_a_thread(monkeypatch, message, more):
    """However well it is compressed; what is small is decoded where it is stored, which here is the main thread."""
    body = case(message).good
    monkeypatch.setattr(receiver, "DECODE_IN_THREAD_BYTES", decoded_bytes(body) - more)
    threads = []
    services = services_for(case(message))
    intern = SeriesRegistry.intern_rows if message == V2 else SeriesRegistry.intern_blocks

    def noting(*arguments):
        threads.append(threading.current_thread() is not threading.main_thread())
        return intern(*arguments)

    monkeypatch.setattr(SeriesRegistry, intern.__name__, noting)
    answer = await push(plugin.tinyobs_routes, services, case(message), body)
    assert (answer.status, threads) == (204, [bool(more)])


def test_what_is_no_snappy_block_has_no_size():
    """The decoder then says what is wrong with it."""
    assert decoded_bytes(b"") == 0
    assert decoded_bytes(b"\xff" * 20) == 0


def test_added_labels_are_remembered_for_a_few_sets(monkeypatch):
    """Each set of labels that requests add has its table of series; there are so many and no more."""
    monkeypatch.setattr(extra_labels, "SETS_MAX", 3)
    registry = SeriesRegistry()
    adder = LabelAdder(registry)
    registry.intern(from_mapping({"__name__": "before"}))
    made = Request()
    made.series([("__name__", "a")], (AT, 1.0))
    batch = Decoder2(registry).decode_message(made.bytes()).batch
    for i in (0, 1, 2, 3, 0, 3):
        found = adder.add(batch, from_mapping({"site": str(i)}))
        assert registry.labels(int(found.refs[0])) == (("__name__", "a"), ("site", str(i)))
    assert len(adder._known) == 3
    assert all(table[0] == MISSING for table in adder._known.values())
    assert len(decode_message(b"", registry).batch) == len(
        adder.add(decode_message(b"", registry).batch, (("a", "b"),))
    )


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ("limits: {rules: [{match: x, labels: [n], values_max: 1}]}", (204, (4, 4, 0))),
        ("stream_aggregation: {rules: [{match: x, interval: 1h, outputs: [total]}]}", (204, (4, 4, 0))),
        ("limits: {series_per_metric_max: 2}", (429, (2, 2, 0))),
    ],
    ids=["folded", "aggregated", "refused"],
)
async def test_samples_and_histograms_that_were_dealt_with_are_counted_apart(tmp_path, section, wanted):
    """Those that a limit folds or a rule aggregates count as written, as what they are; those that are refused do not."""
    for kinds in ("fh", "f", "h"):
        async with far(tmp_path / kinds, f"tinyobs: {{self_metrics: {{enabled: false}}, {section}}}\n") as receiver:
            at, made = now_ms(), Request()
            for n in "1234":
                for kind in kinds:
                    labels = [("__name__", "x"), ("kind", kind), ("n", n)]
                    if kind == "f":
                        made.series(labels, (at, 1.0))
                    else:
                        histogram(made.series(labels), at)
            answer = await receiver.send(made.body())
            status, counts = wanted
            expected = {"f": (counts[0], 0, 0), "h": (0, counts[1], 0)}.get(kinds, counts)
            if status == 429 and kinds == "fh":
                expected = (1, 1, 0)
            assert (answer.status_code, written(answer)) == (status, expected)


async def test_exemplars_of_series_beyond_a_limit_harm_nobody(tmp_path):
    """In a request without any sample as well: 2.0 is told, and what comes next is stored."""
    long = [("__name__", "x"), ("a", "b" * 5000)]
    async with far(tmp_path) as receiver:
        at = now_ms()
        for samples, expected in (((), 0), (((at, 1.0),), 0)):
            made = Request()
            series = made.series(long, *samples)
            series.exemplars.add(value=1.0, timestamp=at)
            answer = await receiver.send(made.body())
            assert (answer.status_code, written(answer)) == (400, (expected, 0, 0))
            assert "exemplar of a series that is beyond a limit" in answer.text
        message = WriteRequest()
        series = message.timeseries.add()
        for name, value in long:
            series.labels.add(name=name.encode(), value=value.encode())
        series.exemplars.add(value=1.0, timestamp=at)
        assert (await receiver.send_1(packed(message.SerializeToString()))).status_code == 204
        made = Request()
        made.series([("__name__", "good")], (at, 1.0)).exemplars.add(value=2.0, timestamp=at)
        answer = await receiver.send(made.body())
        assert (answer.status_code, written(answer)) == (204, (1, 0, 1))
        found = await receiver.get("query_exemplars", query='{__name__=~".+"}', start=at / 1000 - 9, end=at / 1000 + 9)
        assert [f["seriesLabels"]["__name__"] for f in found] == ["good"]
