"""What limits cost: per sample of known series, per sample that is folded or refused, and what a refused series leaves in memory.

    python benchmarks/limits.py [--series N] [--rounds N] [--flood N]

Prints one JSON object.  Times are CPU microseconds of one core, medians of the rounds.  The requests are remote write with seven labels a
series and one sample each, 5000 series a request; `decode` is their decoding, which every sample has, the others are beside it.
`flood` decodes and processes requests of series that were never seen before, and tells how the memory of the process grows by series.
"""

import argparse
import json
import statistics
import time
from types import SimpleNamespace

import psutil

from tinyobs.builtin.limits import Limits
from tinyobs.config import loader
from tinyobs.exposition.remote_write import decode
from tinyobs.exposition.remote_write_encoder import encode_blocks
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry, encode_block

START_MS = 1_790_000_000_000
BATCH = 5000
FOLD = "rules: [{match: '{__name__=~\"http_.+\"}', labels: [path], values_max: 10}], folded_members_max: 10000000"
KINDS = {
    "default": "",
    "numbers": "series_max: 100000000, series_per_metric_max: 10000000, new_series_per_hour_max: 100000000",
    "folding": FOLD,
    "refusing, series_max": "series_max: 10",
    "refusing, series_per_metric_max": "series_per_metric_max: 10",
    "refusing, values_max": FOLD.replace("values_max: 10}", "values_max: 10, mode: refuse}"),
}


def scene(limits):
    config = loader.parse(f"tinyobs: {{limits: {{{limits}}}}}", "bench.yml")
    storage = SimpleNamespace(metadata=dict)
    found = SimpleNamespace(config=config, registry=SeriesRegistry(), open_storage=lambda: storage)
    found.clock = SimpleNamespace(now_ms=lambda: START_MS)
    return found, Limits(found)


def bodies(first, count, step=0):
    for at in range(first, first + count, BATCH):
        blocks = []
        for i in range(at, min(at + BATCH, first + count)):
            labels = {"__name__": f"http_requests_{i % 20}_total", "job": "api", "env": "prod", "code": "200"}
            labels |= {"instance": f"host-{i % 500:03d}.example.com:9100", "method": "get", "path": f"/users/{i:09d}"}
            blocks.append(encode_block(from_mapping(labels)))
        yield encode_blocks(
            blocks, [START_MS + 1000 * step] * len(blocks), [float(i + step) for i in range(len(blocks))]
        )


def known(kind, series, rounds):
    services, limits = scene(KINDS[kind])
    decoding, processing = [], []
    for step in range(rounds + 2):
        for body in bodies(0, series, step):
            began = time.process_time()
            batch = decode(body, services.registry).batch
            between = time.process_time()
            limits.process(batch)
            if step > 1:
                decoding.append((between - began) / BATCH)
                processing.append((time.process_time() - between) / BATCH)
    return round(statistics.median(decoding) * 1e6, 3), round(statistics.median(processing) * 1e6, 3)


def flood(kind, series):
    services, limits = scene(KINDS[kind])
    process = psutil.Process()
    for body in bodies(10**8, 100_000):  # what there is once
        limits.process(decode(body, services.registry).batch)
    before, took = process.memory_info().rss, 0.0
    for body in bodies(0, series):
        began = time.process_time()
        limits.process(decode(body, services.registry).batch)
        took += time.process_time() - began
    grown = process.memory_info().rss - before
    return {
        "cpu_us": round(took / series * 1e6, 2),
        "bytes": round(grown / series, 1),
        "numbered": len(services.registry),
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--series", type=int, default=50_000)
    p.add_argument("--rounds", type=int, default=8)
    p.add_argument("--flood", type=int, default=500_000)
    given = p.parse_args()
    found = {"known": {}, "flood": {}}
    for kind in KINDS:
        decoding, processing = known(kind, given.series, given.rounds)
        found["known"][kind] = {"decode_us": decoding, "limits_us": processing}
    for kind in KINDS:
        found["flood"][kind] = flood(kind, given.flood)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
