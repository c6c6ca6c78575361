"""Rates and sizes of pages, segments and the label index, without an engine around them.

    python benchmarks/codec.py pages [--rows 64] [--samples 960] [--level 1]    encode, parse, read; bytes per sample
    python benchmarks/codec.py segment [--level 1]                              a whole segment: write, open, queries
    python benchmarks/codec.py index [--series 1000000]                         build and match; memory
    python benchmarks/codec.py histograms [--rows 64] [--samples 960] [--level 1]   native histograms: bytes, words per s
    python benchmarks/codec.py real [--level 19]                                the recorded scrapes, all in one segment

Rates are per second of CPU of one core.  Data: the workload of the shared benchmarks (folder in TINYOBS_SHARED, else
`../shared` beside the repository), 20 000 series x 4 h at 15 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tinyobs.codec.pages import decode_page, encode_page
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.matchers import Matcher, MatchType, equal, name_is
from tinyobs.model.ragged import offsets_of
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.index import LabelIndex
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.posix_disk import PosixDisk
from tinyobs.storage.segment_reader import SegmentReader
from tinyobs.storage.segment_writer import SegmentWriter

SHARED = Path(os.environ.get("TINYOBS_SHARED") or Path(__file__).resolve().parents[2] / "shared")
START_MS = 1_700_000_000_000
HOST = "host-00007.example.com:9100"


def load(count, samples):
    """Return (label sets ascending, values [count, samples]) of the workload."""
    import workload

    series = workload.make_series(count)
    labels = [from_mapping(mapping) for mapping, _ in series]
    order = sorted(range(count), key=labels.__getitem__)
    return [labels[i] for i in order], workload.values(series, samples)[order]


def clock(work):
    """Return (result, CPU seconds)."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def pages(args):
    _, values = load(20_000, args.samples)
    row = np.arange(args.samples) * 15_000 + START_MS
    spent = dict.fromkeys(("encode", "parse", "read"), 0.0)
    size = 0
    for i in range(0, len(values), args.rows):
        block = values[i : i + args.rows]
        offsets = np.arange(len(block) + 1) * args.samples
        times = np.tile(row, len(block))
        flat = np.ascontiguousarray(block).reshape(-1)
        data, seconds = clock(lambda: encode_page(offsets, times, flat, args.level))  # noqa: B023
        spent["encode"] += seconds
        page, seconds = clock(lambda: decode_page(data))  # noqa: B023
        spent["parse"] += seconds
        (_, got_times, got, *_), seconds = clock(page.read)
        spent["read"] += seconds
        assert (got_times == times).all()
        assert (got.view(np.uint64) == flat.view(np.uint64)).all()
        size += len(data)
    print(f"{size / values.size:.4f} bytes/sample", *(f"{k} {values.size / s / 1e6:.1f} M/s" for k, s in spent.items()))


def latencies(rows, samples, is_integer):
    """Return native histograms of request durations: schema 3, log-normal, Poisson arrivals, buckets as they get used."""
    rng = np.random.default_rng(7)
    number = int if is_integer else float
    out = []
    for _ in range(rows):
        middle, width = rng.uniform(-40, -8), rng.uniform(4, 8)
        buckets = np.arange(int(middle - 4 * width), int(middle + 4 * width))
        weights = np.exp(-(((buckets - middle) / width) ** 2) / 2)
        rates = 150 * rng.lognormal() * weights / weights.sum()
        arrivals = rng.poisson(rates, (samples, len(buckets)))
        ends = 2.0 ** (buckets / 8)
        sums = np.cumsum((arrivals * ends * rng.uniform(0.95, 1, (samples, 1))).sum(axis=1))
        for counts, total in zip(np.cumsum(arrivals, axis=0), sums.tolist(), strict=True):
            used = np.flatnonzero(counts)
            used = used if len(used) else np.zeros(1, np.int64)
            first, last = int(used[0]), int(used[-1]) + 1
            spans = ((int(buckets[first]), last - first),)
            inside = tuple(map(number, counts[first:last].tolist()))
            count, zero = number(sum(inside)), number(0)
            out.append(Histogram(3, 2.0**-128, zero, count, total, spans, inside, is_integer=is_integer))
    return histograms_of(out)


def histograms(args):
    for is_integer in (True, False):
        table = latencies(args.rows, args.samples, is_integer)
        offsets = np.arange(args.rows + 1) * args.samples
        times = np.tile(np.arange(args.samples) * 15_000 + START_MS, args.rows)
        values = handles(0, len(table))
        starts = np.repeat(START_MS - np.arange(args.rows) * 77_777, args.samples)
        plain = encode_page(offsets, times, values, args.level, histograms=table)
        data, encoding = clock(
            lambda: encode_page(offsets, times, values, args.level, histograms=table, starts_ms=starts)  # noqa: B023
        )
        page, parsing = clock(lambda: decode_page(data))  # noqa: B023
        (_, _, _, got, got_starts), reading = clock(page.read)
        assert (got.words == table.words).all()
        assert (got_starts == starts).all()
        _, one = clock(lambda: page.read(np.array([args.rows // 2])))  # noqa: B023
        buckets, words = len(table.buckets().counts), len(table.words)
        print(
            f"{'integer' if is_integer else 'float'} counts, {buckets / len(table):.0f} buckets:",
            f"{len(data) / len(table):.1f} bytes/histogram of {8 * words / len(table):.0f},",
            f"{len(data) / buckets:.3f} bytes/bucket; start times {(len(data) - len(plain)) / args.rows:.1f} bytes/row;",
            f"encode {words / encoding / 1e6:.1f} M words/s, parse {words / parsing / 1e6:.0f}, read",
            f"{words / reading / 1e6:.1f}; one row {one * 1e3:.2f} ms; parsed {page.nbytes / words:.2f} bytes/word",
        )


def write(disk, blocks, level):
    """Write blocks as one segment and print sizes and rates."""
    writer = SegmentWriter(disk, "benchmark.seg", level=0, zstd_level=level)
    _, adding = clock(lambda: [writer.add(b) for b in blocks])
    info, finishing = clock(writer.finish)
    print(
        f"{info.series_count} series, {info.sample_count} samples, {info.bytes} bytes,",
        f"{info.bytes / info.sample_count:.4f} bytes/sample; write {info.sample_count / adding / 1e6:.1f} M/s,",
        f"finish {finishing:.2f} s",
    )


def segment(args):
    labels, values = load(20_000, 960)
    row = np.arange(960) * 15_000 + START_MS
    blocks = [
        SeriesColumns(
            labels[i : i + 256],
            np.arange(len(labels[i : i + 256]) + 1) * 960,
            np.tile(row, len(labels[i : i + 256])),
            values[i : i + 256].reshape(-1),
        )
        for i in range(0, len(labels), 256)
    ]
    with tempfile.TemporaryDirectory() as folder:
        disk = PosixDisk(folder)
        write(disk, blocks, args.level)
        cache = PageCache(256 << 20)
        reader, opening = clock(lambda: SegmentReader(disk, "benchmark.seg", cache))
        _, loading = clock(lambda: reader.label_names())
        print(f"open {opening * 1e3:.2f} ms, tables {loading * 1e3:.2f} ms")
        last = reader.info.maxt_ms
        cpu = name_is("wl_node_cpu_seconds_total")
        ask(reader, "one metric of one host, all", [cpu, equal("instance", HOST)], START_MS)
        ask(reader, "one metric of one host, 5 min", [cpu, equal("instance", HOST)], last - 300_000)
        ask(reader, "one host, 1 h", [equal("instance", HOST)], last - 3_600_000)
        ask(reader, "one metric, 1 h", [cpu], last - 3_600_000)
        ask(reader, "everything", [], START_MS)
        samples, seconds = clock(lambda: sum(b.samples for b in reader.iterate()))
        print(f"iterate {samples / seconds / 1e6:.1f} M/s; cache {cache.statistics()}")
        reader.close()


def ask(reader, what, matchers, first):
    """Run one query twice and print CPU times."""
    for state in ("cold", "warm"):
        numbers, selecting = clock(lambda: reader.select(matchers))
        labels, naming = clock(lambda: reader.labels(numbers))  # noqa: B023
        got, reading = clock(lambda: reader.read(numbers, first, reader.info.maxt_ms, labels))  # noqa: B023
        print(
            f"{what}, {state}: {len(numbers)} series, {got.samples} samples;",
            f"select {selecting * 1e3:.2f} ms, labels {naming * 1e3:.2f} ms, read {reading * 1e3:.2f} ms",
        )


def index(args):
    import workload

    registry = SeriesRegistry()
    for i in range(0, args.series, 50_000):
        for mapping, _ in workload.make_series(min(50_000, args.series - i), prefix=f"wl{i // 50_000}"):
            registry.intern(from_mapping(mapping))
    starts, ids = registry.flat_pairs()
    pairs = [registry.pair(i) for i in range(registry.pair_count)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    built, seconds = clock(lambda: LabelIndex.build(pairs, starts, ids))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"{len(ids)} postings: build {seconds:.2f} s, {built.nbytes / 1e6:.1f} MB, peak {peak / 1024:.0f} MB above before"
    )
    for matchers in (
        [name_is("wl0_node_cpu_seconds_total"), equal("instance", HOST)],
        [equal("job", "node"), Matcher(MatchType.REGEX, "__name__", ".*cpu.*")],
        [Matcher(MatchType.NOT_EQUAL, "env", "dev"), equal("mode", "idle")],
    ):
        found, seconds = clock(lambda: built.match(matchers))  # noqa: B023
        print(f"{{{', '.join(map(str, matchers))}}}: {len(found)} series, {seconds * 1e3:.2f} ms")


def real(args):
    import realdata

    rows: dict = {}
    at: dict = {}
    for job, _, body in realdata.scrapes():
        i = at[job] = at.get(job, -1) + 1
        if i >= args.samples:
            continue
        for line in body.split(b"\n"):
            if line and line[0] != 35:
                key, _, value = line.rpartition(b" ")
                times, values = rows.setdefault((job, key), ([], []))
                times.append(START_MS + i * 15_000)
                values.append(float(value))
    series = []
    for (job, key), (times, values) in rows.items():
        name, _, rest = key.decode().partition("{")
        found = {k.decode(): v.decode() for k, v in realdata.LABEL.findall(rest.encode())}
        labels = from_mapping({"__name__": name, "job": job, "instance": "host-0:9100", **found})
        series.append((labels, np.array(times, np.int64), np.array(values)))
    series.sort(key=lambda s: s[0])
    block = SeriesColumns(
        [s[0] for s in series],
        offsets_of(np.array([len(s[1]) for s in series])),
        np.concatenate([s[1] for s in series]),
        np.concatenate([s[2] for s in series]),
    )
    with tempfile.TemporaryDirectory() as folder:
        write(PosixDisk(folder), [block], args.level)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pages", "histograms", "segment", "index", "real"])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--samples", type=int, default=960)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--level", type=int, default=1)
    args = parser.parse_args()
    if args.what == "histograms":
        return histograms(args)
    if not (SHARED / "bench" / "workload.py").exists():
        sys.exit(f"no workload in {SHARED}: set TINYOBS_SHARED")
    sys.path.insert(0, str(SHARED / "bench"))
    {"pages": pages, "segment": segment, "index": index, "real": real}[args.what](args)
    return None


if __name__ == "__main__":
    main()
