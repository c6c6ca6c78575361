"""The client libraries of InfluxDB 1 and 2 write to a daemon, and VictoriaMetrics makes the same series of the same lines."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from peers import daemon, free_port, get, pause, query, running, victoria_metrics


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The URL of a daemon."""
    with daemon(tmp_path_factory.mktemp("tinyobs")) as (url, _):
        yield url


def host_and_port(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_client_of_version_1(base):
    """It pings, makes a database, writes points with times, and is told what was wrong with a line."""
    influxdb = pytest.importorskip("influxdb", reason="the client of InfluxDB 1 is not installed")
    client = influxdb.InfluxDBClient(*host_and_port(base), "user", "secret", "one", gzip=True)
    assert client.ping() == "1.8.10"
    client.create_database("one")
    assert client.get_list_database() == [{"name": "_internal"}]
    now = int(time.time())
    point = {
        "measurement": "v1",
        "tags": {"a tag": "x, y=z"},
        "time": now,
        "fields": {"i": 3, "f": 1.5, "b": True, "s": "t"},
    }
    assert client.write_points([point], time_precision="s", tags={"all": "1"})
    labels = (("a tag", "x, y=z"), ("all", "1"), ("db", "one"))
    assert query(base, '{__name__=~"v1_.*"}', now) == {
        (("__name__", f"v1_{field}"), *labels): value for field, value in (("b", 1.0), ("f", 1.5), ("i", 3.0))
    }
    with pytest.raises(influxdb.exceptions.InfluxDBClientError, match=r"partial write: .*\(line 2\) dropped=1"):
        client.write(["good v=1", "bad"], {"db": "one"}, 204, "line")
    assert query(base, "good_v")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_client_of_version_2(base):
    """It checks health and version, writes in each precision, and gets errors in its own form."""
    influxdb_client = pytest.importorskip("influxdb_client", reason="the client of InfluxDB 2 is not installed")
    from influxdb_client.client.write_api import SYNCHRONOUS

    with influxdb_client.InfluxDBClient(base, "token", org="o", enable_gzip=True) as client:
        assert client.ping()
        assert client.health().status == "pass"
        assert client.version() == "1.8.10"
        now = int(time.time())
        with client.write_api(write_options=SYNCHRONOUS) as api:
            for i, precision in enumerate(("s", "ms", "us", "ns")):
                stamp = now * 1000**i
                point = influxdb_client.Point("v2").tag("p", precision).field("n", i).time(stamp, precision)
                api.write("bucket", record=point, write_precision=precision)
            with pytest.raises(influxdb_client.rest.ApiException) as e:
                api.write("bucket", record="v2 n=")
    answer = json.loads(e.value.body)
    assert (e.value.status, answer["code"]) == (400, "invalid")
    assert query(base, "v2_n", now) == {
        (("__name__", "v2_n"), ("p", p)): float(i) for i, p in enumerate(("s", "ms", "us", "ns"))
    }


def test_requests_for_databases_at_the_path_of_a_page(base):
    """`GET /query` with a question leads to the answer; without one it leads to the page."""
    answer = json.loads(get(f"{base}/query?q=SHOW+DATABASES"))
    assert answer["results"][0]["series"][0]["name"] == "databases"
    assert b"<html" in get(f"{base}/query?g0.expr=up").lower()


def post(url, body):
    """Return the status of a write."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code


def stored(base, match, now):
    """Return {labels: samples} of the last hour."""
    url = f"{base}/api/v1/query?{urllib.parse.urlencode({'query': match + '[1h]', 'time': now + 60})}"
    found = json.loads(get(url))["data"]["result"]
    return {tuple(sorted(s["metric"].items())): [(t, float(v)) for t, v in s["values"]] for s in found}


def bodies(now, prefix):
    """Return bodies with all that both understand alike; measurements begin with the prefix."""
    rng = random.Random(5)
    tags = ["host=a", "t\\ x=y\\=z\\,q", "e=", "p=C:\\Temp", "w=\\\\", "host=b", "db=own", "ü=ö"]
    measurements = ["", " a\\ b", "\\,c", "\\=d", "\\\\e", ".f-g"]
    values = ["1", "-1.5", "3i", "7u", "t", "False", "1e-7", "98.492462311", "123456789012", "0.1"]
    for _ in range(30):
        lines = []
        for k in range(rng.randrange(1, 12)):
            name = prefix + rng.choice(measurements).lstrip()
            chosen = "".join("," + t for t in rng.sample(tags, rng.randrange(4)))
            fields = ",".join(f"f{j}\\ {j}={rng.choice(values)}" for j in range(rng.randrange(1, 4)))
            stamp = rng.choice(
                [f" {now - k}", f" {(now - k) * 10**9}", f" {(now - k) * 1000}", f" {(now - k) * 10**6}"]
            )
            lines.append(
                f"{name}{chosen},n=x{rng.randrange(10**9)} {fields}{stamp}" + rng.choice(["\n", "\r\n", "\n\n# c\n"])
            )
        yield "".join(lines).encode()


@pytest.mark.parametrize(
    ("prefix", "parameters"),
    [("plain", ""), ("named", "?db=telegraf"), ("labelled", "?db=d&extra_label=zone=z&extra_label=host=own")],
)
def test_victoriametrics_makes_the_same_series(base, tmp_path, prefix, parameters):
    """The same bodies to both, the same series, times and values out of both."""
    peer, port = victoria_metrics(), free_port()
    other = f"http://127.0.0.1:{port}"
    flags = [f"-storageDataPath={tmp_path}/vm", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=10y"]
    now = int(time.time())
    sent = list(bodies(now, prefix))
    with running([peer, *flags], f"{other}/health", tmp_path):
        for body in sent:
            assert post(f"{other}/write{parameters}", body) == 204
            assert post(f"{base}/write{parameters}", body) == 204
        get(f"{other}/internal/force_flush")
        match = f'{{__name__=~"{prefix}.*"}}'
        ours = stored(base, match, now)
        for _ in range(300):  # the peer shows new series after a while, and not all at one moment
            theirs = stored(other, match, now)
            if theirs == ours:
                break
            pause(0.1)
    assert theirs
    assert ours == theirs
