"""The same text to TinyObs and to VictoriaMetrics: both then have the same samples."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
from peers import daemon, free_port, pause, running, victoria_metrics

START = 1_767_225_600_000
"""A time of which both take samples."""
BODIES = {
    "lines": (f'm{{a="b"}} 1 {START}\nm{{a="b"}} 2 {START + 1000}\nn 3 {START}\n', ""),
    "metadata": (f"# HELP m Text.\n# TYPE m gauge\nm 1 {START}\n", ""),
    "a time for all": ("m 1\nn 2\n", f"?timestamp={START}"),
    "additional labels": (f'm{{site="own"}} 1 {START}\n', "?extra_label=job=x&extra_label=site=y"),
    "labels of the path": (f'm{{job="b"}} 1 {START}\n', "/metrics/job/a/site@base64/YS9i"),
    "bad lines": (f"m 1 {START}\nwhat\nn two {START}\no 3 {START}\n", ""),
    "seconds, fractions, exemplars and comments": (
        f'm 1 {START // 1000}\nm 2 {START // 1000 + 1}.25\nm_bucket{{le="1"}} 3 {START} # {{a="b"}} 1\nn 4 {START} # why\n',
        "",
    ),
    "escapes": (f'm{{a="x\\"y\\\\z\\nw"}} 1 {START}\n', ""),
    "special values": (f"a +Inf {START}\nb -Inf {START}\nc 1e-5 {START}\n", ""),
}


def post(base, body, rest):
    request = urllib.request.Request(f"{base}/api/v1/import/prometheus{rest}", body.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        e.close()
        return e.code


def samples(base):
    """All samples around the start, by label set."""
    url = f"{base}/api/v1/query?query=%7B__name__%3D~%22.%2B%22%2Cjob%21%3D%22self%22%7D%5B1h%5D&time={START // 1000 + 1800}"
    with urllib.request.urlopen(url) as answer:
        result = json.loads(answer.read())["data"]["result"]
    return {tuple(sorted(r["metric"].items())): [(round(t * 1000), float(v)) for t, v in r["values"]] for r in result}


@pytest.mark.parametrize("name", BODIES)
def test_both_have_the_same_samples(tmp_path, name):
    """Good lines are there in both, under the same labels."""
    path = victoria_metrics("@base64") if name == "labels of the path" else victoria_metrics()
    address = f"127.0.0.1:{free_port()}"
    flags = [f"-httpListenAddr={address}", f"-storageDataPath={tmp_path / 'vm'}", "-retentionPeriod=100y"]
    body, rest = BODIES[name]
    with ExitStack() as stack:
        stack.enter_context(running([path, *flags], f"http://{address}/health", tmp_path))
        config = tmp_path / "tinyobs.yml"
        config.write_text("storage: {tsdb: {out_of_order_time_window: 3000d, retention: {time: 50y}}}\n")
        base, _ = stack.enter_context(daemon(tmp_path, f"--config.file={config}"))
        answer = post(f"http://{address}", body, rest)
        assert answer == (200 if "/" in rest else 204)
        assert post(base, body, rest) == (400 if name == "bad lines" else answer)
        found = samples(base)
        assert found
        for _ in range(300):  # the peer shows new series after a while, and not all at one moment
            urllib.request.urlopen(f"http://{address}/internal/force_flush").close()
            if (expected := samples(f"http://{address}")) == found:
                break
            pause(0.1)
    assert found == expected
