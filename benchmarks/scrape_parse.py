"""How fast scraped bodies are parsed: known series, and series seen for the first time; text, and the same as protobuf.

    python benchmarks/scrape_parse.py [--scrapes N] [--rounds N]

Uses the recorded scrapes of real exporters where they are (TINYOBS_SHARED), and a synthetic body otherwise.
Prints one JSON object a job; rates are samples a second of one core, the best of the rounds.
"""

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path

from tinyobs.exposition.client_schema import COUNTER, GAUGE, HISTOGRAM, SUMMARY, UNTYPED, Family
from tinyobs.exposition.formats import Format
from tinyobs.exposition.protobuf_parser import ProtobufParser
from tinyobs.exposition.scrape_parser import ScrapeParser
from tinyobs.model.label_block import varint
from tinyobs.model.labels import metric_name
from tinyobs.model.metadata import MetricType

SHARED = Path(os.environ.get("TINYOBS_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def recorded(count):
    sys.path.insert(0, str(SHARED / "bench"))
    import realdata

    bodies = {}
    for job, _, body in realdata.scrapes():
        bodies.setdefault(job, []).append(body)
        if len(bodies[job]) >= count and len(bodies) == 3:
            break
    return bodies


def synthetic(count):
    rng = random.Random(1)

    def body():
        out = []
        for m in range(60):
            out.append(f"# HELP node_metric_{m}_total Something that is counted by device and mode.\n")
            out.append(f"# TYPE node_metric_{m}_total counter\n")
            out += [
                f'node_metric_{m}_total{{device="disk{d}",mode="read"}} {rng.randrange(10**6)}\n' for d in range(10)
            ]
        return "".join(out).encode()

    return {"synthetic": [body() for _ in range(count)]}


TYPES = {
    MetricType.COUNTER: (COUNTER, "counter"),
    MetricType.GAUGE: (GAUGE, "gauge"),
    MetricType.SUMMARY: (SUMMARY, "summary"),
    MetricType.HISTOGRAM: (HISTOGRAM, "histogram"),
}


def as_protobuf(bodies):
    """Return bodies of text as protobuf, as the Go client writes it."""
    parser, labels, metadata, out = ScrapeParser(Format.TEXT_0_0_4), {}, {}, []
    for body in bodies:
        parsed = parser.parse(body)
        labels.update(parsed.new)
        metadata.update(parsed.metadata)
        families, metrics = {}, {}
        for number, value in zip(parsed.series.tolist(), parsed.values.tolist(), strict=True):
            add_sample(families, metrics, dict(labels[number]), metric_name(labels[number]), value, metadata)
        data = [family.SerializeToString() for family in families.values()]
        out.append(b"".join(varint(len(d)) + d for d in data))
    return out


def add_sample(families, metrics, labels, name, value, metadata):
    suffix = next(
        (s for s in ("_bucket", "_sum", "_count") if name.removesuffix(s) in metadata and name.endswith(s)), ""
    )
    base = name if name in metadata else name.removesuffix(suffix)
    known = metadata.get(base)
    type_, field = TYPES.get(known.type if known else None, (UNTYPED, "untyped"))
    bound = labels.pop({SUMMARY: "quantile", HISTOGRAM: "le"}.get(type_, ""), None)
    family = families.get(base)
    if family is None:
        family = families[base] = Family(name=base, type=type_, help=known.help if known else "")
    pairs = [{"name": n, "value": v} for n, v in labels.items() if n != "__name__"]
    key = base, tuple(sorted(labels.items() - {("__name__", name)}))
    metric = metrics.get(key) if type_ in (SUMMARY, HISTOGRAM) else None
    if metric is None:
        metric = metrics[key] = family.metric.add(label=pairs)
    inside = getattr(metric, field)
    if type_ not in (SUMMARY, HISTOGRAM):
        inside.value = value
    elif suffix == "_sum":
        inside.sample_sum = value
    elif suffix == "_count":
        inside.sample_count = int(value)
    elif type_ == SUMMARY:
        inside.quantile.add(quantile=float(bound), value=value)
    elif bound != "+Inf":
        inside.bucket.add(upper_bound=float(bound), cumulative_count=int(value))


def rate(bodies, rounds, make):
    """Return (samples a second with known series, with new series, samples a body, bytes a series that are kept)."""
    cold = []
    for _ in range(rounds):
        parser = make()
        start = time.process_time()
        first = parser.parse(bodies[0])
        cold.append(len(first) / (time.process_time() - start))
    warm = []
    for _ in range(rounds):
        start = time.process_time()
        samples = sum(len(parser.parse(body)) for body in bodies)
        warm.append(samples / (time.process_time() - start))
    layout = getattr(parser, "_layout", None)
    kept = parser._packed if isinstance(parser, ProtobufParser) else layout.shape.packed_prefixes if layout else b""
    return max(warm), max(cold), len(first), len(kept) / len(first)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scrapes", type=int, default=60)
    p.add_argument("--rounds", type=int, default=9)
    a = p.parse_args()
    source = recorded if (SHARED / "data" / "scrapes.zst").exists() else synthetic
    for job, bodies in source(a.scrapes).items():
        bodies = bodies[: a.scrapes]
        for form, made, make in (
            ("text", bodies, lambda: ScrapeParser(Format.TEXT_0_0_4)),
            ("protobuf", as_protobuf(bodies), ProtobufParser),
        ):
            warm, cold, samples, kept = rate(made, a.rounds, make)
            print(
                json.dumps(
                    {
                        "job": job,
                        "format": form,
                        "body_bytes": len(made[0]),
                        "samples_per_body": samples,
                        "known_samples_per_s": round(warm),
                        "new_series_per_s": round(cold),
                        "kept_bytes_per_series": round(kept, 1),
                    }
                )
            )


if __name__ == "__main__":
    main()
