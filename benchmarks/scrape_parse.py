"""How fast scraped bodies are parsed: known series, and series seen for the first time.

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

from tinyobs.exposition.formats import Format
from tinyobs.exposition.scrape_parser import ScrapeParser

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


def rate(bodies, rounds):
    """Return (samples a second with known series, with new series, slow bodies, bytes a series that are kept)."""
    cold = []
    for _ in range(rounds):
        parser = ScrapeParser(Format.TEXT_0_0_4)
        start = time.process_time()
        first = parser.parse(bodies[0])
        cold.append(len(first) / (time.process_time() - start))
    warm = []
    for _ in range(rounds):
        start = time.process_time()
        samples = sum(len(parser.parse(body)) for body in bodies)
        warm.append(samples / (time.process_time() - start))
    layout = parser._layout
    return max(warm), max(cold), len(first), 0 if layout is None else len(layout.packed_prefixes) / len(first)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scrapes", type=int, default=60)
    p.add_argument("--rounds", type=int, default=9)
    a = p.parse_args()
    source = recorded if (SHARED / "data" / "scrapes.zst").exists() else synthetic
    for job, bodies in source(a.scrapes).items():
        warm, cold, samples, kept = rate(bodies[: a.scrapes], a.rounds)
        print(
            json.dumps(
                {
                    "job": job,
                    "samples_per_body": samples,
                    "known_samples_per_s": round(warm),
                    "new_series_per_s": round(cold),
                    "prefix_bytes_per_series": round(kept, 1),
                }
            )
        )


if __name__ == "__main__":
    main()
