"""Imports over HTTP: what can be read is stored before it is acknowledged, the rest is named."""

from __future__ import annotations

import json

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from receiver_pages import agent_of, blocks, run_commands, with_free_ports

from tinyobs.builtin import bulk_import
from tinyobs.builtin.bulk_import import tinyobs_routes
from tinyobs.errors import Unavailable
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for

LINE = b'{"metric":{"__name__":"a","x":"1"},"values":[1,2.5],"timestamps":[1000,2000]}\n'
OTHER = b'{"metric":{"__name__":"b"},"values":[3],"timestamps":[1500]}\n'
JSON = ReceiverCase("/api/v1/import", LINE + OTHER, 3, bad=b"{", mixed=LINE + b"?\n" + OTHER, mixed_samples=3)
FORMAT = "/api/v1/import/csv?format=1:label:x,2:time:unix_s,3:metric:a"
CSV = ReceiverCase(
    FORMAT, b"p,1,10\nq,2,20\n", 2, bad=b"p,1\n", mixed=b"p,1,10\nq,2,bad\nr,x,1\nq,3,30\n", mixed_samples=2
)
HEADER = ReceiverCase("/api/v1/import/csv", b"time,host,cpu\n1,a,0.5\n2,a,0.75\n", 2, bad=b"a,b\n1,2\n")


@pytest.mark.parametrize("inline_bytes_max", [0, bulk_import.INLINE_BYTES_MAX], ids=["thread", "loop"])
@pytest.mark.parametrize("case", [JSON, CSV, HEADER], ids=["json", "csv", "header"])
async def test_the_contract_of_receivers(case, inline_bytes_max, mock_clock, monkeypatch):
    """Both keep every promise, wherever bodies are read."""
    monkeypatch.setattr(bulk_import, "INLINE_BYTES_MAX", inline_bytes_max)
    await check_receiver(tinyobs_routes, case)


async def test_what_json_lines_say():
    """Series, values and times; labels of the URL win over those of series."""
    case = ReceiverCase("/api/v1/import?extra_label=x=9&extra_label=y=2", b"", 0)
    services = services_for(case)
    answer = await push(tinyobs_routes, services, case, LINE + OTHER)
    assert (answer.status, answer.body) == (204, b"")
    assert services.samples() == {
        'a{x="9", y="2"}': [(1000, 1.0), (2000, 2.5)],
        'b{x="9", y="2"}': [(1500, 3.0)],
    }


async def test_what_is_wrong_is_named():
    """By line and column, ten of them at most."""
    services = services_for(JSON)
    answer = await push(tinyobs_routes, services, JSON, LINE + b'{"metric":{}}\n' * 30)
    lines = answer.body.decode().splitlines()
    assert answer.status == 400
    assert lines[0] == "line 2, column 1: a series has no metric name (label __name__)"
    assert len(lines) == 11
    assert lines[-1] == "30 lines of this request could not be read"
    assert services.receptions.statistics().refused_total == {("import", "malformed"): 30}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("format=1:x", "a part of the format"),
        ("format=1:metric:a&timestamp=now", "timestamp must be milliseconds"),
        ("format=1:metric:a&timestamp=1_000", "timestamp must be milliseconds"),
        ("time_format=day", "time_format is one of"),
        ("columns=a,b", "columns are named"),
    ],
)
async def test_columns_that_cannot_be(query, message):
    """The answer is 400 and says which parameter, and the request is counted."""
    case = ReceiverCase(f"/api/v1/import/csv?{query}", b"", 0)
    services = services_for(case)
    answer = await push(tinyobs_routes, services, case, b"1,2,3\n")
    assert answer.status == 400
    assert message in answer.body.decode()
    assert services.receptions.statistics().refused_total == {("import", "malformed"): 1}


async def test_time_of_rows_without_one():
    """It can be given."""
    case = ReceiverCase("/api/v1/import/csv?format=1:metric:a&timestamp=5000", b"", 0)
    services = services_for(case)
    assert (await push(tinyobs_routes, services, case, b"1\n2\n")).status == 204
    assert services.samples() == {"a": [(5000, 1.0), (5000, 2.0)]}


async def test_a_form_is_no_form():
    """curl calls every body a form."""
    case = ReceiverCase("/api/v1/import", b"", 0, headers={"content-type": "application/x-www-form-urlencoded"})
    services = services_for(case)
    assert (await push(tinyobs_routes, services, case, LINE)).status == 204
    assert sum(map(len, services.batches)) == 2


async def test_the_storage_fails_in_the_middle():
    """The pieces before stay; the answer says to come again, and that stores nothing twice."""
    services = services_for(JSON)
    line = json.dumps({"metric": {"__name__": "a"}, "values": [1.0] * 30_000, "timestamps": list(range(30_000))})
    body = f"{line}\n".encode() * 4

    def fail(batch):
        services.fail_with = Unavailable("full")

    services.on_append = fail
    answer = await push(tinyobs_routes, services, JSON, body)
    assert answer.status == 503
    assert 0 < sum(map(len, services.batches)) < 120_000


async def test_the_examples_of_the_page():
    """Each does what the page says."""
    examples = with_free_ports(blocks("import", "sh"))
    listen = examples[0].partition("http://")[2].partition("/")[0]
    async with agent_of("", listen):
        shown = [await run_commands(example) for example in examples]
    assert '"room":"hall","site":"a"' in shown[0]
    assert '"__name__":"humidity","place":"berlin"' in shown[1]
    assert '"__name__":"queue_length","host":"a"' in shown[2]


@given(st.binary(max_size=120), st.sampled_from([JSON, CSV, HEADER]), st.integers(0, 120))
@settings(derandomize=True, max_examples=200, deadline=None)
def test_any_bytes(noise, case, at):
    """Nothing fails, and good lines before what cannot be read are stored."""
    body = case.good + noise[:at].replace(b'"', b"'")
    services = services_for(case)
    answer = trio.run(push, tinyobs_routes, services, case, body)
    assert answer.status in (204, 400), answer
    assert sum(map(len, services.batches)) >= case.samples
