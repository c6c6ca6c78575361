"""Writes over HTTP as InfluxDB 1 and 2 take them, and what clients ask before they write."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tinyobs.abc import ConfigSection
from tinyobs.builtin.influx import InfluxSettings, tinyobs_routes
from tinyobs.builtin.influx.writing import IN_WRITER_BYTES
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver, push, services_for
from tinyobs.testing.inline_threads import inline_threads

SECTIONS = [ConfigSection("influx", InfluxSettings)]
LINES = b"cpu,host=a usage=1.5,idle=98i 1790000000000000000\nmem used=3i 1790000000000000000\n"
MIXED = b"cpu usage=1\ncpu usage=\nnonsense\nmem used=3i\n"
PATHS = ["/write?db=d", "/api/v2/write?org=o&bucket=b&precision=ns", "/influx/write", "/influx/api/v2/write"]
NAME = "__name__"


def case(path, config="", **more):
    return ReceiverCase(
        path, LINES, 3, bad=b"nonsense\n", mixed=MIXED, mixed_samples=2, mixed_statuses=(400,), sections=SECTIONS,
        config=f"tinyobs: {{influx: {{{config}}}}}" if config else "", **more,
    )  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_it_keeps_the_contract_of_receivers(autojump_clock, path):
    """Stored before it is acknowledged, good lines beside bad ones, limits, guards and compression."""
    await check_receiver(tinyobs_routes, case(path))


async def send(path, body=b"", config="", method="POST", headers=None):
    """Return (answer, services) of one request."""
    given = case(path, config, method=method)
    services = services_for(given)
    return await push(tinyobs_routes, services, given, body, headers), services


async def test_what_is_stored(autojump_clock):
    """Measurement, tags, database and additional labels make the series."""
    answer, services = await send("/write?db=d&rp=r&consistency=all&u=x&p=y&extra_label=zone=z", LINES)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["x-influxdb-version"] == "1.8.10"
    at = 1_790_000_000_000
    assert services.samples() == {
        'cpu_usage{db="d", host="a", zone="z"}': [(at, 1.5)],
        'cpu_idle{db="d", host="a", zone="z"}': [(at, 98.0)],
        'mem_used{db="d", zone="z"}': [(at, 3.0)],
    }


async def test_large_bodies_are_decoded_elsewhere(autojump_clock):
    """In a worker thread, with the same outcome."""
    count = IN_WRITER_BYTES // 10
    with inline_threads():
        answer, services = await send("/write", b"".join(b"m%05d v=%d\n" % (i, i) for i in range(count)))
    assert answer.status == 204
    assert len(services.samples()) == count


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (MIXED, 400, r'partial write: unable to parse "cpu usage=": missing field value (line 2); '
                     r'unable to parse "nonsense": missing fields (line 3) dropped=2'),
        (b"nonsense\n", 400, 'unable to parse "nonsense": missing fields (line 1)'),
        (b'note text="only",v="x"\n', 204, ""),
        (b"", 204, ""), (b"# nothing\n\n", 204, ""),
    ],
)  # fmt: skip
async def test_the_words_of_an_answer(autojump_clock, body, status, message):
    """Both versions say the same in bodies of their own; strings are no error."""
    answer, services = await send("/write", body)
    assert answer.status == status
    if message:
        assert json.loads(answer.body) == {"error": message}
        assert answer.headers["x-influxdb-error"] == message
    answer, _ = await send("/api/v2/write", body)
    assert answer.status == status
    if message:
        assert json.loads(answer.body) == {"code": "invalid", "message": message}
    if b"text" in body:
        assert services.receptions.statistics().refused_total == {("influx", "string_field"): 2}


async def test_other_errors_keep_the_form(autojump_clock):
    """Each version says in its own way that a precision, a label or a media type is wrong."""
    for query, headers, status, code in (
        ("precision=d", None, 400, "invalid"),
        ("extra_label=x", None, 400, "invalid"),
        ("", {"content-encoding": "tar"}, 415, "invalid"),
        ("", {"sec-fetch-site": "cross-site"}, 403, "forbidden"),
    ):
        answer, _ = await send(f"/write?{query}", LINES, headers=headers)
        assert (answer.status, list(json.loads(answer.body))) == (status, ["error"])
        answer, _ = await send(f"/api/v2/write?{query}", LINES, headers=headers)
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


@pytest.mark.parametrize(
    ("path", "stamp", "config"),
    [
        ("/write?precision=s", 1_790_000_000, ""), ("/write?precision=n", 1_790_000_000 * 10**9, ""),
        ("/write?precision=m", 1_790_000_000 // 60, ""), ("/api/v2/write?precision=us", 1_790_000_000 * 10**6, ""),
        ("/write", 1_790_000_000_000, ""), ("/write", 1_790_000_000, "precision: s"),
        ("/write?precision=ms", 1_790_000_000_000, "precision: s"),
    ],
)  # fmt: skip
async def test_precisions(autojump_clock, path, stamp, config):
    """That of the request goes before that of the section; without either the number tells."""
    _, services = await send(path, b"m v=1 %d\n" % stamp, config)
    assert services.samples()["m_v"][0][0] // 60_000 == 1_790_000_000 // 60


@pytest.mark.parametrize(
    ("path", "config", "series"),
    [
        ("/write", "database: own", 'cpu_v{db="own"}'),
        ("/write?db=d", "database: own, db_label: database", 'cpu_v{database="d"}'),
        ("/write?db=d", "db_label: ''", "cpu_v"),
        ("/api/v2/write?bucket=b", "", "cpu_v"),
        ("/api/v2/write?bucket=b", "bucket_is_database: true", 'cpu_v{db="b"}'),
        ("/write", "measurement_field_separator: ':'", "cpu:v"),
        ("/write", "skip_single_field: true", "cpu"),
        ("/write", "skip_measurement: true", "v"),
    ],
)
async def test_settings_for_names(autojump_clock, path, config, series):
    """Each setting does what its name says."""
    _, services = await send(path, b"cpu v=1 1790000000000000000\n", config)
    assert list(services.samples()) == [series]


async def test_more_settings(autojump_clock):
    """Names and times may be made simpler."""
    config = "names: underscores, trim_timestamp: 10s"
    _, services = await send("/write", b"win-cpu,host\\ name=x v=1 1790000012345000000\n", config)
    assert services.samples() == {'win_cpu_v{host_name="x"}': [(1_790_000_010_000, 1.0)]}


@pytest.mark.parametrize("config", ["", "names: keep", "names: utf-8"])
async def test_names_are_kept(autojump_clock, config):
    """By default, with the word that all receivers have for it, and with the one that only this one had."""
    _, services = await send("/write", b"win-cpu v=1 1790000012345000000\n", config)
    assert list(services.samples()) == ['{"win-cpu_v"}']


@pytest.mark.parametrize("prefix", ["", "/influx"])
async def test_what_clients_ask_first(autojump_clock, prefix):
    """Ping and health say that there is an InfluxDB; pushes switched off make it vanish."""
    for method in ("GET", "HEAD"):
        answer, _ = await send(prefix + "/ping", method=method)
        assert (answer.status, answer.headers["x-influxdb-build"]) == (204, "TinyObs")
    answer, _ = await send(prefix + "/ping?verbose=true", method="GET")
    assert json.loads(answer.body) == {"version": "1.8.10"}
    answer, _ = await send(prefix + "/health", method="GET")
    assert json.loads(answer.body)["status"] == "pass"
    for path in ("/ping", "/health"):
        given = case(prefix + path, method="GET")
        answer = await push(tinyobs_routes, services_for(given, receivers={"enabled": False}), given, b"")
        assert answer.status == 404


async def test_databases(autojump_clock):
    """They can be made and asked for; nothing else is answered here."""
    show = "/influx/query?q=show%20databases"
    for path, method, body in ((show, "GET", b""), (show, "POST", b""), ("/query", "POST", b"q=SHOW+DATABASES")):
        answer, _ = await send(path, body, "database_names: [telegraf]", method)
        series = [{"name": "databases", "columns": ["name"], "values": [["telegraf"]]}]
        assert json.loads(answer.body) == {"results": [{"statement_id": 0, "series": series}]}
    answer, _ = await send("/query?q=CREATE%20DATABASE%20%22x%22%3B%20SHOW%20DATABASES")
    assert [list(r) for r in json.loads(answer.body)["results"]] == [["statement_id"], ["statement_id", "series"]]
    for q in (
        "SELECT%20*%20FROM%20cpu",
        "DROP%20DATABASE%20x",
        "CREATE%20DATABASE",
        "SHOW",
        "",
        ";".join(["SHOW%20USERS"] * 101),
    ):
        answer, _ = await send(f"/query?q={q}")
        assert answer.status == 400
        assert "error" in json.loads(answer.body)


@pytest.mark.parametrize(
    "statement",
    [
        "SHOW MEASUREMENTS", 'show measurements ON "telegraf" LIMIT 1', "SHOW SERIES LIMIT 1", "SHOW TAG KEYS", "SHOW FIELD KEYS FROM cpu",
        "SHOW USERS", "SHOW CONTINUOUS QUERIES", 'CREATE RETENTION POLICY "a" ON "b" DURATION 30d REPLICATION 1 DEFAULT',
        'ALTER RETENTION POLICY "a" ON "b" DURATION 1d', 'CREATE DATABASE "x" WITH DURATION 30d',
    ],
)  # fmt: skip
async def test_what_is_not_there_is_no_error(autojump_clock, statement):
    """Clients go on when a database is empty, and when what they make is there already."""
    answer, _ = await send(f"/query?q={quote(statement)}")
    assert (answer.status, json.loads(answer.body)) == (200, {"results": [{"statement_id": 0}]})


async def test_retention_policies(autojump_clock):
    """There is the one that InfluxDB makes by itself."""
    answer, _ = await send("/query?q=SHOW%20RETENTION%20POLICIES%20ON%20%22telegraf%22")
    columns = ["name", "duration", "shardGroupDuration", "replicaN", "default"]
    series = [{"columns": columns, "values": [["autogen", "0s", "168h0m0s", 1, True]]}]
    assert json.loads(answer.body) == {"results": [{"statement_id": 0, "series": series}]}
