"""What stream aggregation costs: samples for each second of CPU, beside VictoriaMetrics in the same run.

    python benchmarks/stream_aggregation.py [--series 100000] [--groups 1000] [--rounds 12]

The same remote-write requests go to TinyObs and to VictoriaMetrics ($TINYOBS_VICTORIAMETRICS, left out where it is missing),
each without rules, with rules that match nothing, and with one rule `by: [job]` for all series with the outputs total,
sum_samples and quantiles(0.5, 0.99).  The first round, in which all series are new, is not measured.  Told is the CPU time
of the server's process over all other rounds, flushes included.  The last table is the rules alone, without a server.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

import cramjam
import numpy as np
import psutil
from servers import cpu_seconds, free_port, serving, tinyobs

from tinyobs.aggregation.engine import AggregationPlan, Engine
from tinyobs.aggregation.rule import AggregationRule, suffix_of
from tinyobs.exposition.remote_write_rows import Encoder1, SendRows
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry, encode_block

SERIES_PER_REQUEST = 5000
OUTPUTS = ("total", "sum_samples", "quantiles(0.5, 0.99)")
RULES = {
    "no rules": "",
    "rules that match nothing": "".join(
        f"- {{match: 'other{i}{{a=\"b\"}}', interval: 10s, outputs: [total]}}\n" for i in range(5)
    ),
    "one rule for all": '- {interval: 10s, by: [job], outputs: [total, sum_samples, "quantiles(0.5, 0.99)"]}\n',
}


def label_sets(series: int, groups: int) -> list:
    return [
        from_mapping({"__name__": "requests_total", "job": f"job-{i % groups}", "instance": f"host-{i}:9100"})
        for i in range(series)
    ]


class Requests:
    """Remote-write requests of rounds of samples of all series."""

    def __init__(self, labels: list) -> None:
        self._encoder = Encoder1()
        for ref, one in enumerate(labels):
            self._encoder.add(ref, one, encode_block(one))
        self._values = np.zeros(len(labels))
        self._chance = np.random.default_rng(1)

    def round(self) -> list[bytes]:
        """Return the requests of the next round, with the time of now."""
        self._values += self._chance.integers(0, 100, len(self._values))
        now, bodies = int(time.time() * 1000), []
        for at in range(0, len(self._values), SERIES_PER_REQUEST):
            refs = np.arange(at, min(at + SERIES_PER_REQUEST, len(self._values)), dtype=np.uint32)
            rows = SendRows(refs, np.full(len(refs), now, np.int64), self._values[refs])
            bodies.append(bytes(cramjam.snappy.compress_raw(self._encoder.encode(rows))))
        return bodies


def push(base: str, bodies: list[bytes]) -> None:
    for body in bodies:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        request = urllib.request.Request(f"{base}/api/v1/write", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 204


def measure(base: str, process: psutil.Process, labels: list, rounds: int) -> float:
    """Return samples for each second of CPU."""
    requests = Requests(labels)
    push(base, requests.round())
    time.sleep(12)
    before = cpu_seconds(process)
    for _ in range(rounds):
        push(base, requests.round())
        time.sleep(0.5)
    time.sleep(11)
    return len(labels) * rounds / (cpu_seconds(process) - before)


def daemon(folder: Path, rules: str, labels: list, rounds: int) -> float:
    (folder / "aggr.yml").write_text(rules)
    section = "tinyobs: {stream_aggregation: {file: aggr.yml}}\n" if rules else ""
    (folder / "t.yml").write_text(section)
    port = free_port()
    flags = (f"--config.file={folder / 't.yml'}", "--web.enable-remote-write-receiver")
    base = f"http://127.0.0.1:{port}"
    with serving(tinyobs(port, folder / "data", *flags), f"{base}/-/ready", folder) as process:
        return measure(base, process, labels, rounds)


def victoriametrics(program: str, folder: Path, rules: str, labels: list, rounds: int) -> float:
    port = free_port()
    command = [program, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'vm'}", "-retentionPeriod=1d"]
    if rules:
        (folder / "aggr.yml").write_text(rules)
        command.append(f"-streamAggr.config={folder / 'aggr.yml'}")
    base = f"http://127.0.0.1:{port}"
    with serving(command, f"{base}/-/ready", folder) as process:
        return measure(base, process, labels, rounds)


def alone(labels: list, rounds: int, outputs: tuple[str, ...], match: tuple[str, ...] = ()) -> tuple[float, float]:
    """Return (ns of CPU by sample, ms of a flush) of a rule without a server; the first round is not measured."""
    registry = SeriesRegistry()
    refs = registry.intern_many(labels)
    rule = AggregationRule(
        "r", 10_000, suffix_of("10s", ("job",), ()), outputs, match, staleness_interval_ms=20_000, by=("job",), series_max=0
    )  # fmt: skip
    engine = Engine(AggregationPlan((rule,)), registry, 0)
    values, taken, flushed = np.arange(float(len(refs))), [], []
    for i in range(rounds + 1):
        values = values + 1
        began = time.process_time()
        for at in range(0, len(refs), SERIES_PER_REQUEST):
            part = slice(at, at + SERIES_PER_REQUEST)
            times = np.full(len(refs[part]), i * 10_000, np.int64)
            engine.take(Batch(refs[part], times, values[part]), i * 10_000)
        between = time.process_time()
        for aggregator in engine.due((i + 1) * 10_000):
            aggregator.tick((i + 1) * 10_000)
        if i:
            taken.append(between - began)
            flushed.append(time.process_time() - between)
    return statistics.median(taken) / len(refs) * 1e9, statistics.median(flushed) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--alone", action="store_true", help="only the rules, without servers")
    options = parser.parse_args()
    labels = label_sets(options.series, options.groups)
    peer = os.environ.get("TINYOBS_VICTORIAMETRICS")
    for name, rules in {}.items() if options.alone else RULES.items():
        with tempfile.TemporaryDirectory() as folder:
            print(
                f"{name:26} TinyObs         {daemon(Path(folder), rules, labels, options.rounds):12,.0f} samples/CPU-s"
            )
        if peer:
            with tempfile.TemporaryDirectory() as folder:
                found = victoriametrics(peer, Path(folder), rules, labels, options.rounds)
                print(f"{name:26} VictoriaMetrics {found:12,.0f} samples/CPU-s")
    print(f"\n{'rules alone':44} ns/sample  ms/flush")
    for outputs in (
        OUTPUTS,
        ("total",),
        ("sum_samples",),
        ("quantiles(0.5, 0.99)",),
        ("histogram_bucket",),
        ("rate_sum",),
    ):
        by_sample, flush = alone(labels, options.rounds, outputs)
        print(f"{', '.join(outputs):44} {by_sample:9.0f} {flush:9.1f}")
    by_sample, _ = alone(labels, options.rounds, ("total",), ("other",))
    print(f"{'a rule that matches nothing':44} {by_sample:9.1f}")


if __name__ == "__main__":
    main()
