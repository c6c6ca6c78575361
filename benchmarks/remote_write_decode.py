"""How fast remote write requests are decoded: known series, and series seen for the first time.

    python benchmarks/remote_write_decode.py [--series N] [--batch N] [--rounds N]

Prints one JSON object; rates are samples (series) a second of one core, the best of the rounds.  The requests have ten
labels a series and one sample each; `zeros` is the same with every second value zero, as protobuf libraries write it.
"""

import argparse
import json
import time

import cramjam

from tinyobs.exposition.remote_write import decode
from tinyobs.exposition.remote_write_encoder import encode_blocks
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import SeriesRegistry, encode_block

START_MS = 1_790_000_000_000


def label_blocks(count):
    out = []
    for i in range(count):
        labels = {
            "__name__": f"node_metric_{i % 50}_seconds_total",
            "job": "node",
            "env": "prod",
            "region": "eu-west-1",
        }
        labels |= {"instance": f"host-{i // 500:05d}.example.com:9100", "rack": f"r{i % 40:02d}", "cpu": str(i % 16)}
        labels |= {"mode": "idle", "device": f"eth{i % 7}", "code": str(i)}
        out.append(encode_block(from_mapping(labels)))
    return out


def requests(blocks, batch, step, zeros=False):
    for at in range(0, len(blocks), batch):
        part = blocks[at : at + batch]
        values = [0.0 if zeros and i % 2 else i + step + 0.5 for i in range(len(part))]
        body = encode_blocks(part, [START_MS + 15000 * step] * len(part), values)
        if zeros:  # through the library, which leaves zeros out
            message = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
            body = bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
        yield body


def seconds(bodies, registry):
    start = time.process_time()
    for body in bodies:
        decode(body, registry)
    return time.process_time() - start


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--series", type=int, default=20000)
    p.add_argument("--batch", type=int, default=2000)
    p.add_argument("--rounds", type=int, default=9)
    a = p.parse_args()
    blocks = label_blocks(a.series)
    first = list(requests(blocks, a.batch, 0))
    cold = min(seconds(first, SeriesRegistry()) for _ in range(3))
    registry = SeriesRegistry()
    seconds(first, registry)
    known = list(requests(blocks, a.batch, 1))
    zeros = list(requests(blocks, a.batch, 2, zeros=True))
    warm = min(seconds(known, registry) for _ in range(a.rounds))
    mixed = min(seconds(zeros, registry) for _ in range(a.rounds))
    assert len(registry) == a.series
    result = {"series": a.series, "known_samples_per_s": a.series / warm, "zeros_samples_per_s": a.series / mixed}
    print(json.dumps({k: round(v) for k, v in (result | {"new_series_per_s": a.series / cold}).items()}))


if __name__ == "__main__":
    main()
