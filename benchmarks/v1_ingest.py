"""What `POST /v1/ingest` costs a daemon: CPU time of its process for pushes of 1000 metrics, as the Go SDK makes them.

    python benchmarks/v1_ingest.py [--pushes 300] [--series 10000]

Each push has other series than the one before, until all had their turn; a tenth are buckets of histograms.  A round with new series comes
first, and is shown by itself.  The last line is what decoding alone takes, in this process.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
from servers import cpu_seconds, free_port, serving, tinyobs

from tinyobs.exposition.v1_metrics import V1Decoder, V1Limits, load_metrics
from tinyobs.model.registry import SeriesRegistry

METRICS = 1000


def bodies(series: int, round_: int) -> list[bytes]:
    """Return the pushes of one round over all series."""
    at = time.time() - 600 + round_
    out = []
    for first in range(0, series, METRICS):
        metrics = []
        for i in range(first, first + METRICS):
            labels = {
                "method": "GET",
                "path": f"/api/{i % 97}/items/{i}",
                "service": "shop",
                "status": str(200 + i % 5),
            }
            stamp = datetime.fromtimestamp(at + (i % 1000) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
            metric = {"name": f"http_requests_total_{i % 50}", "type": "counter", "value": round_ * 7 + i}
            if i % 10 == 0:
                metric = {"name": f"latency_{i % 50}_bucket", "type": "histogram", "value": 3}
                labels["le"], stamp = "0.5", "0001-01-01T00:00:00Z"
            metrics.append({**metric, "labels": dict(sorted(labels.items())), "timestamp": stamp})
        out.append(json.dumps({"metrics": metrics}).encode())
    return out


def push(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/v1/ingest", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text
    assert json.loads(text)["count"] == METRICS, text


def decode_alone(series: int) -> float:
    decoder = V1Decoder(SeriesRegistry(), V1Limits())
    rounds = [bodies(series, n) for n in range(5)]
    seconds = []
    for pushes in rounds:
        begun = time.process_time()
        for body in pushes:
            decoder.take(load_metrics(body, METRICS), (), 1_700_000_000_000)
        seconds.append(time.process_time() - begun)
    return series / statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pushes", type=int, default=300)
    parser.add_argument("--series", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config, port = Path(folder) / "config.yml", free_port()
        config.write_text("global: {}\ntinyobs: {v1: {series_max: 1000000}}\n")
        command = tinyobs(port, Path(folder) / "data", f"--config.file={config}", "--no-plugin=host")
        with serving(command, f"http://127.0.0.1:{port}/-/ready", Path(folder)) as process:
            measure(process, port, given.pushes, given.series)
    print(f"decoding alone: {decode_alone(given.series):,.0f} metrics a CPU second")


def measure(process: psutil.Process, port: int, pushes: int, series: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    per_round = series // METRICS
    used_by_round = []
    for n in range(max(pushes // per_round, 2)):
        made = bodies(series, n)
        begun = cpu_seconds(process)
        for body in made:
            push(connection, body)
        used_by_round.append(cpu_seconds(process) - begun)
    known = used_by_round[1:]
    print(f"new series: {series / used_by_round[0]:,.0f} metrics a CPU second of the daemon")
    print(f"known series: {series * len(known) / sum(known):,.0f} ({len(known)} rounds of {series} metrics)")


if __name__ == "__main__":
    main()
