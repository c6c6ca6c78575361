"""The OTLP receiver over HTTP: what a request is answered with, in the form it came in, and what is stored of it."""

from __future__ import annotations

import random
from functools import partial

import attrs
import orjson
import pytest
from otlp_bodies import SECOND_NS, START_NS, Body

from tinyobs.builtin import otlp_receiver
from tinyobs.builtin.otlp_receiver import PATHS, rules_of
from tinyobs.errors import Unavailable
from tinyobs.exposition.otlp.schema import DELTA, MESSAGES
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
SECTIONS = otlp_receiver.tinyobs_config_sections()
CONVERT = "tinyobs: {features: [otlp-deltatocumulative]}"


def enable(services):
    """Give the flag."""
    services.settings = attrs.evolve(services.settings, otlp_receiver=True)


def good() -> bytes:
    body = Body(service__name="shop")
    body.gauge("temperature", 1.5, unit="Cel")
    body.sum("requests", 7)
    return body.bytes()


def mixed() -> bytes:
    body = Body()
    body.gauge("good", 1.0)
    body.sum("delta", 2.0, temporality=DELTA)
    body.gauge("timeless", 3.0, at_ns=0)
    return body.bytes()


CASE = ReceiverCase(
    PATHS[0],
    good(),
    2,
    bad=b"\x0a\x05no",
    mixed=mixed(),
    mixed_samples=1,
    headers=PROTOBUF,
    sections=SECTIONS,
    has_flag=True,
    mixed_statuses=(200,),
    prepare=enable,
)
TEXT = b"""{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "a", "gauge": {"dataPoints": [
    {"timeUnixNano": "1700000000000000000", "asDouble": 1.5}]}}]}]}]}"""
JSON_CASE = attrs.evolve(CASE, good=TEXT, samples=1, bad=b"{", mixed=b"", headers=JSON)


@pytest.mark.parametrize("path", PATHS)
async def test_it_keeps_the_promises_of_receivers(autojump_clock, path):
    """At each of its paths."""
    await check_receiver(otlp_receiver.tinyobs_routes, attrs.evolve(CASE, path=path))


async def test_json_keeps_them_too(autojump_clock):
    """The same for the other form."""
    await check_receiver(otlp_receiver.tinyobs_routes, JSON_CASE)


async def send(services, body, headers=PROTOBUF, case=CASE):
    return await push(partial(_same_routes, services), services, case, body, headers)


def _same_routes(keeper, services):
    """Return the routes made for these services once: a receiver remembers."""
    if not hasattr(keeper, "routes"):
        keeper.routes = otlp_receiver.tinyobs_routes(services)
    return keeper.routes


async def test_without_the_flag_it_says_how_to_switch_it_on():
    """With the words of Prometheus."""
    services = services_for(attrs.evolve(CASE, prepare=lambda services: None))
    answer = await push(otlp_receiver.tinyobs_routes, services, CASE, good())
    assert answer.status == 404
    assert answer.body == b"otlp write receiver needs to be enabled with --web.enable-otlp-receiver\n"


@pytest.mark.parametrize("headers", [PROTOBUF, JSON], ids=["protobuf", "json"])
async def test_wrong_methods_are_told_in_the_form_of_the_request(headers):
    """What no handler sees is a `Status` as well."""
    answer = await push(
        otlp_receiver.tinyobs_routes, services_for(CASE), attrs.evolve(CASE, method="PUT"), b"", headers
    )
    assert (answer.status, answer.headers["content-type"]) == (405, headers["content-type"])
    assert b"Method Not Allowed" in answer.body
    assert (answer.body[:1] == b"{") == (headers is JSON)


async def test_the_feature_switches_it_on_as_well():
    """`otlp-write-receiver`, the old way of Prometheus."""
    case = attrs.evolve(CASE, config="tinyobs: {features: [otlp-write-receiver]}", prepare=lambda services: None)
    assert (await push(otlp_receiver.tinyobs_routes, services_for(case), case, good())).status == 200


async def test_full_success_is_an_empty_message():
    """Of the type that the request had."""
    services = services_for(CASE)
    answer = await send(services, good())
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "application/x-protobuf")
    answer = await send(services, TEXT, JSON)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"{}", "application/json")


async def test_partial_success_counts_data_points_and_says_why():
    """The sentences name the metric."""
    answer = await send(services_for(CASE), mixed())
    partial_success = MESSAGES["ExportMetricsServiceResponse"].FromString(answer.body).partial_success
    assert partial_success.rejected_data_points == 2
    assert 'invalid temporality and type combination for metric "delta"' in partial_success.error_message
    assert 'metric "timeless", data point 3 of the request: it has no time' in partial_success.error_message


async def test_a_request_of_which_nothing_can_be_stored_is_refused():
    """400, so that it shows in the sender's log; the body is a google.rpc.Status."""
    body = Body()
    body.sum("delta", 2.0, temporality=DELTA)
    answer = await send(services_for(CASE), body.bytes())
    status = MESSAGES["Status"].FromString(answer.body)
    assert (answer.status, status.code) == (400, 3)
    assert "otlp-deltatocumulative" in status.message


@pytest.mark.parametrize(("body", "headers"), [(b"{", JSON), (b"\xff", PROTOBUF)])
async def test_errors_have_the_form_of_the_request(body, headers):
    """A status of gRPC in protobuf or JSON."""
    answer = await send(services_for(CASE), body, headers)
    assert answer.status == 400
    assert answer.headers["content-type"] == headers["content-type"]
    made = orjson.loads(answer.body) if headers is JSON else MESSAGES["Status"].FromString(answer.body)
    assert (made["code"] if headers is JSON else made.code) == 3


async def test_another_content_type_is_415():
    """The message names those that are known."""
    answer = await send(services_for(CASE), good(), {"content-type": "text/plain"})
    assert answer.status == 415
    assert b"supported: [application/json, application/x-protobuf]" in answer.body


async def test_additional_labels_are_for_all_series():
    """`target_info` included; other labels, another decoder."""
    body = Body(service__name="shop", host__name="h")
    body.gauge("a", 1.0, env="dev")
    for env in ("prod", "test"):
        case = attrs.evolve(CASE, path=f"{PATHS[1]}?extra_label=env={env}")
        services = services_for(CASE)
        await send(services, body.bytes(), case=case)
        assert set(services.samples()) == {
            f'a{{env="{env}", job="shop"}}',
            f'target_info{{env="{env}", host_name="h", job="shop"}}',
        }


async def test_metadata_is_told_once_when_it_is_stored():
    """What could not be stored is told again."""
    services = services_for(CASE)
    services.fail_with = Unavailable("full")
    assert (await send(services, good())).status == 503
    services.fail_with = None
    for _ in range(3):
        assert (await send(services, good())).status == 200
    told = [sorted(batch.metadata) for batch in services.batches]
    assert told == [["requests_total", "temperature_celsius"], [], []]


async def test_a_new_configuration_is_taken_over():
    """The next request is translated by it."""
    services = services_for(CASE)
    await send(services, good())
    changed = services_for(attrs.evolve(CASE, config="otlp: {translation_strategy: NoTranslation}"))
    services.config = changed.config
    await send(services, good())
    assert {name.partition("{")[0] for name in services.samples()} == {
        "requests_total", "temperature_celsius", "requests", "temperature",
    }  # fmt: skip


def test_all_of_the_section_takes_effect():
    """Each key of `otlp` changes the rules, and so do features."""
    text = (
        "otlp: {translation_strategy: NoUTF8EscapingWithSuffixes, promote_resource_attributes: [a],"
        " keep_identifying_resource_attributes: true, convert_histograms_to_nhcb: true, promote_scope_metadata: true,"
        " label_name_underscore_sanitization: false, label_name_preserve_multiple_underscores: false}\n"
        "tinyobs: {features: [type-and-unit-labels, otlp-native-delta-ingestion, st-storage]}"
    )
    rules = rules_of(services_for(attrs.evolve(CASE, config=text)))
    assert attrs.astuple(rules) == (
        False, True, False, False, False, frozenset({"a"}), True, True, True, True, True, False, True, 300_000, 1_000_000, (),
    )  # fmt: skip
    text = "otlp: {promote_all_resource_attributes: true, ignore_resource_attributes: [b]}"
    rules = rules_of(services_for(attrs.evolve(CASE, config=text)))
    assert (rules.promote_all, rules.promoted) == (True, {"b"})


@pytest.mark.parametrize("size", [1, 400])
async def test_deltas_are_added_up_once(size):
    """A request that could not be stored counts when it comes again; one that was stored does not count twice."""
    services = services_for(attrs.evolve(CASE, config=CONVERT))

    def delta(at, value):
        body = Body()
        for i in range(size):
            body.sum(
                "hits", value, temporality=DELTA, start_ns=START_NS + (at - 1) * SECOND_NS, at_ns=START_NS + at * SECOND_NS,
                series=str(i),
            )  # fmt: skip
        return body.bytes()

    assert (await send(services, delta(1, 5))).status == 200
    services.fail_with = Unavailable("full")
    assert (await send(services, delta(2, 7))).status == 503
    services.fail_with = None
    assert (await send(services, delta(2, 7))).status == 200
    again = await send(services, delta(2, 7))
    assert again.status == 400
    assert (await send(services, delta(3, 1))).status == 200
    assert [v for _, v in services.samples()['hits_total{series="0"}']] == [5.0, 12.0, 13.0]
    assert services.receptions.statistics().refused_total[("otlp", "delta_order")] == size


async def test_deltas_can_be_stored_as_they_are():
    """`otlp-native-delta-ingestion`: there is no type for them, so that their type is unknown."""
    services = services_for(attrs.evolve(CASE, config="tinyobs: {features: [otlp-native-delta-ingestion]}"))
    body = Body()
    body.sum("hits", 5, 6, temporality=DELTA)
    assert (await send(services, body.bytes())).status == 200
    assert [v for _, v in services.samples()["hits_total"]] == [5.0, 6.0]
    assert services.batches[0].metadata["hits_total"].type == "unknown"


async def test_long_bodies_are_decoded_in_a_thread_unless_known(monkeypatch):
    """The event loop decodes what takes no time: bodies that look like one before, and points that are known."""
    threads = []
    real = otlp_receiver.trio.to_thread.run_sync

    async def run_sync(work, *args, **options):
        threads.append(work)
        return await real(work, *args, **options)

    monkeypatch.setattr(otlp_receiver.trio.to_thread, "run_sync", run_sync)
    services = services_for(CASE)
    counts = []
    for i in range(4):
        body = Body()
        for k in random.Random(i // 2).sample(range(500), 500):
            body.gauge(f"name{k}", float(i), at_ns=START_NS + i * SECOND_NS, attribute="value")
        await send(services, body.bytes())
        counts.append(len(threads))
    assert counts == [1, 1, 1, 1]
    assert [v for _, v in services.samples("name499")['name499{attribute="value"}']] == [0.0, 1.0, 2.0, 3.0]


async def test_many_sets_of_additional_labels_are_bounded(monkeypatch):
    """With one too many, what was seen is forgotten, and the samples are right all the same."""
    monkeypatch.setattr(otlp_receiver, "DECODERS_MAX", 2)
    services = services_for(CASE)
    for i in range(5):
        case = attrs.evolve(CASE, path=f"{PATHS[1]}?extra_label=n={i}")
        assert (await send(services, good(), case=case)).status == 200
    assert len(services.samples("requests_total")) == 5
