"""What it takes to receive remote write 1.0 and 2.0: decoding alone, and through a daemon beside Prometheus.

    python benchmarks/remote_write_decode.py [--series N] [--batch N] [--rounds N] [--rolling] [--daemon] [--prometheus PATH]

Prints one JSON object.  Decoding is in ns of CPU a sample, the least of the rounds, 1.0 and 2.0 in turn; `daemon` and
`prometheus` are microseconds of CPU of the whole server a sample, over HTTP, the series known.  Requests have ten labels a
series, 2000 series with one sample, or 500 series with 40; 2.0 has metadata, and numbers its symbols as senders do: in the
order of their first use in the request.

`rolling`: requests that go through 40 000 known series again and again, each of which begins with another series, as those of a
Prometheus with more series than fit into a request.  `large`: all series in one request, in pieces, known, with memory as in the
daemon.  `last` and `split`: symbols behind the series, and half of them there, beside symbols first.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path

import cramjam
from servers import cpu_seconds, free_port, serving

from tinyobs.exposition.remote_write import decode, decode_pieces
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.exposition.remote_write_v2_decode import Decoder2
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.memory import keep_large_blocks_apart

STEP_MS = 15_000
HEADERS = {
    1: {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
    2: {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding": "snappy"},
}


def label_sets(count):
    """Return label sets in the order of an exposition: metric by metric."""
    out = []
    for i in range(count):
        labels = {"__name__": f"node_metric_{i * 50 // count}_seconds_total", "job": "node", "env": "prod"}
        labels |= {"region": "eu-west-1", "instance": f"host-{i % 20:05d}.example.com:9100", "rack": f"r{i % 40:02d}"}
        labels |= {"cpu": str(i % 16), "mode": "idle", "device": f"eth{i % 7}", "code": str(i)}
        out.append(from_mapping(labels))
    return out


def node_label_sets(count):
    """Return label sets in the order in which targets are scraped, 1000 each of the shape of node_exporter's."""
    shapes = [{"__name__": "node_cpu_seconds_total", "cpu": str(i // 8), "mode": f"mode{i % 8}"} for i in range(320)]
    shapes += [{"__name__": f"node_disk_metric{i % 12}_total", "device": f"sd{i // 12}"} for i in range(240)]
    files = [{"device": f"/dev/sd{i}1", "fstype": "ext4", "mountpoint": f"/mnt/disk{i}"} for i in range(10)]
    shapes += [{"__name__": f"node_filesystem_metric{i % 7}_bytes", **files[i // 7]} for i in range(70)]
    shapes += [{"__name__": f"node_network_metric{i % 18}_total", "device": f"eth{i // 18}"} for i in range(144)]
    shapes += [{"__name__": f"node_memory_Metric{i}_bytes"} for i in range(226)]
    targets = [{"instance": f"host-{i:03d}.example.com:9100", "job": "node"} for i in range(-(-count // 1000))]
    return [from_mapping(shape | target) for target in targets for shape in shapes][:count]


def body_1(series, at_ms, samples, value):
    """Return a request of version 1.0."""
    message = WriteRequest()
    for i, labels in enumerate(series):
        ts = message.timeseries.add()
        for name, text in labels:
            ts.labels.add(name=name.encode(), value=text.encode())
        for k in range(samples):
            ts.samples.add(timestamp=at_ms + k * STEP_MS, value=i + value)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


def body_2(series, at_ms, samples, value, start_ms=0, behind=0.0):
    """Return a request of version 2.0.  behind: the share of the symbols that stand behind the series."""
    message, numbers = Request2(), {"": 0}
    for i, labels in enumerate(series):
        ts = message.timeseries.add()
        ts.labels_refs.extend(numbers.setdefault(text, len(numbers)) for pair in labels for text in pair)
        for k in range(samples):
            ts.samples.add(timestamp=at_ms + k * STEP_MS, value=i + value, start_timestamp=start_ms)
        ts.metadata.type = 1
        ts.metadata.help_ref = numbers.setdefault(f"Seconds of {dict(labels)['__name__']}.", len(numbers))
    symbols = list(numbers)
    first = len(symbols) - int(len(symbols) * behind)
    parts = Request2(symbols=symbols[:first]), message, Request2(symbols=symbols[first:])
    return bytes(cramjam.snappy.compress_raw(b"".join(part.SerializeToString() for part in parts)))


def cut(series, batch):
    """Return the series of each request."""
    return [series[at : at + batch] for at in range(0, len(series), batch)]


def seconds(bodies, read):
    """Return the CPU time of decoding."""
    start = time.process_time()
    for body in bodies:
        read(body).stored()
    return time.process_time() - start


def decoding(series, batch, rounds):
    """Return ns a sample by kind of request."""
    at = 1_790_000_000_000
    parts, few = cut(series, batch), cut(series[: len(series) // 4], batch // 4)
    kinds = {
        "1.0 known": [body_1(p, at, 1, 0.5) for p in parts],
        "2.0 known": [body_2(p, at, 1, 0.5) for p in parts],
        "2.0 known, starts": [body_2(p, at, 1, 0.5, at - 1) for p in parts],
        "1.0 known, 40 samples": [body_1(p, at, 40, 0.5) for p in few],
        "2.0 known, 40 samples": [body_2(p, at, 40, 0.5) for p in few],
    }
    samples = {kind: len(series) // 4 * 40 if "40" in kind else len(series) for kind in kinds}
    found = {kind: [] for kind in [*kinds, "1.0 new", "2.0 new"]}
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    gc.freeze()
    for i in range(rounds):
        for kind, bodies in kinds.items():
            read = decoder.decode if kind[0] == "2" else lambda body: decode(body, registry)
            found[kind].append(seconds(bodies, read) / samples[kind])
        if i < 3:
            fresh = SeriesRegistry()
            found["1.0 new"].append(seconds(kinds["1.0 known"], lambda body: decode(body, fresh)) / len(series))  # noqa: B023
            found["2.0 new"].append(seconds(kinds["2.0 known"], Decoder2(SeriesRegistry()).decode) / len(series))
    assert len(registry) == len(series)
    return {kind: round(min(times) * 1e9) for kind, times in found.items()}


def rolling(series, batch, rounds):
    """Return ns a sample of requests that begin with another series each time, by version and by where the symbols are."""
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    makers = {"1.0": body_1, "2.0": body_2}
    makers |= {"2.0 last": partial(body_2, behind=1.0), "2.0 split": partial(body_2, behind=0.5)}
    parts, at, twice = max(4000 // batch, 1), 0, series + series
    found = {kind: [[] for _ in range(parts)] for kind in makers}
    for part in cut(series, 2000):
        decoder.decode(body_2(part, 1_790_000_000_000, 1, 0.5)).stored()
    for i in range(rounds * parts):
        part = twice[at : at + batch]
        at = (at + batch + 13) % len(series)  # so that none comes again
        for kind, make in makers.items():
            body = make(part, 1_790_000_000_000 + (i + 1) * STEP_MS, 1, i + 0.5)
            read = decoder.decode if kind[0] == "2" else lambda body: decode(body, registry)
            found[kind][i % parts].append(seconds([body], read))
    return {kind: round(sum(map(min, times)) / parts / batch * 1e9) for kind, times in found.items()}


def large(series, rounds):
    """Return ns a sample of one request with all series, known, in pieces of 2 MiB, by version."""
    registry = SeriesRegistry()
    decoder = Decoder2(registry)
    keep_large_blocks_apart()
    bodies = {"1.0": body_1(series, 1_790_000_000_000, 1, 0.5), "2.0": body_2(series, 1_790_000_000_000, 1, 0.5)}
    found = {kind: [] for kind in bodies}
    for _ in range(rounds + 1):
        for kind, body in bodies.items():
            start = time.process_time()
            pieces = decode_pieces(body, registry, 2 << 20) if kind == "1.0" else decoder.decode_pieces(body, 2 << 20)
            for piece in pieces:
                piece.stored()
            found[kind].append((time.process_time() - start) / len(series))
    return {kind: round(min(times[1:]) * 1e9) for kind, times in found.items()}


def through(command, port, series, batch, intervals):
    """Return microseconds of CPU a sample by version; a fresh server for each."""
    found = {}
    for version, make in ((1, body_1), (2, body_2)):
        with tempfile.TemporaryDirectory() as folder:
            words = [word.format(port=port, data=os.path.join(folder, "data")) for word in command]
            with serving(words, f"http://127.0.0.1:{port}/-/ready", Path(folder)) as process:
                begin = int(time.time() * 1000) - intervals * STEP_MS
                url, before = f"http://127.0.0.1:{port}/api/v1/write", 0.0
                for i in range(intervals):
                    if i == 2:  # the series are known
                        before = cpu_seconds(process)
                    for part in cut(series, batch):
                        body = make(part, begin + i * STEP_MS, 1, i + 0.5)
                        urllib.request.urlopen(urllib.request.Request(url, body, HEADERS[version]), timeout=60).close()
                used = cpu_seconds(process) - before
        found[f"{version}.0"] = round(used / (intervals - 2) / len(series) * 1e6, 2)
    return found


def main():
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--series", type=int, default=20000)
    p.add_argument("--batch", type=int, default=2000)
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--intervals", type=int, default=20)
    p.add_argument("--rolling", action="store_true")
    p.add_argument("--daemon", action="store_true")
    p.add_argument("--prometheus", default="")
    a = p.parse_args()
    series = label_sets(a.series)
    result = {"series": a.series, "decode_ns": decoding(series, a.batch, a.rounds)}
    if a.rolling:
        for name, many in (("ten labels", label_sets(40_000)), ("node_exporter", node_label_sets(40_000))):
            result |= {f"rolling_ns, {name}, {batch}": rolling(many, batch, a.rounds) for batch in (2000, 500)}
        for name, make in (("ten labels", label_sets), ("node_exporter", node_label_sets)):
            result[f"large_ns, {name}"] = large(make(100_000), max(a.rounds // 3, 1))
    port = free_port()
    where = [
        "--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.path={data}",
        "--web.enable-remote-write-receiver",
    ]
    if a.daemon:
        command = [sys.executable, "-m", "tinyobs", "run", *where, "--no-plugin=host"]
        result["daemon_us"] = through(command, port, series, a.batch, a.intervals)
    if a.prometheus:
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
            config.write("global: {}\n")
            config.flush()
            command = [a.prometheus, f"--config.file={config.name}", *where]
            result["prometheus_us"] = through(command, port, series, a.batch, a.intervals)
    result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
