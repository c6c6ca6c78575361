"""A random life of an engine against a dictionary: everything that may happen to it, in any order.

`python tests/storage/random_life.py FIRST LAST STEPS` runs seeds as long as one likes; `test_review_faults_2.py` a few.
"""

from __future__ import annotations

import contextlib
import errno
import random
import struct
import sys
import traceback

import attrs
import numpy as np
from engine_cases import (
    BLOCK_MS,
    EVER,
    OPTIONS,
    START_MS,
    Clock,
    batch,
    contents,
    float_histogram,
    histogram,
    labels,
    maintain_all,
    open_engine,
)

from tinyobs.errors import DiskFullError
from tinyobs.model.columns import SeriesColumns
from tinyobs.model.histograms import Histogram, ResetHint, handles, histograms_of, pack, stale_histogram
from tinyobs.model.matchers import Matcher, MatchType, equal
from tinyobs.model.ragged import offsets_of
from tinyobs.model.staleness import STALE_NAN
from tinyobs.storage import chunk_memory, cut_job, head, head_chunk, merging, wal_layouts, wal_session
from tinyobs.storage.layout import INCOMING_FOLDER
from tinyobs.storage.segment_writer import SegmentWriter
from tinyobs.storage.upkeep import PAUSE_MS
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import Loss, MemDisk

SERIES = [labels("m", i=str(i), parity="even" if i % 2 == 0 else "odd") for i in range(7)] + [labels("other")]
IMPORTED = [labels("imp", i=str(i), parity="even" if i % 2 == 0 else "odd") for i in range(3)] + SERIES[:3]
STEP_MS = 5_000
DAY_MS = 86_400_000


def bits(value):
    return pack(value) if isinstance(value, Histogram) else struct.pack("<d", value)


class Life:
    """One engine, and what it should hold: {(series, time): (bits, start)}."""

    def __init__(self, seed, *, last_write_wins=False):
        self.rng = random.Random(seed)
        self.clock = Clock(START_MS + 40 * BLOCK_MS)
        options = attrs.evolve(
            OPTIONS,
            retention_ms=DAY_MS,
            last_write_wins=last_write_wins,
            wal_file_bytes_max=4096 << self.rng.randrange(4),
        )
        object.__setattr__(options, "slice_samples_max", self.rng.choice([40, 200, 1000]))
        self.options, self.disk = options, FaultDisk(MemDisk())
        self.model, self.newest, self.imported = {}, {}, set()
        self.views = []
        self.files = self.at = self.counter = 0
        self.log = []
        self.engine = self._opened()

    def _opened(self):
        return open_engine(self.disk, self.options, self.clock)

    # -- values

    def value(self):
        r = self.rng.random()
        self.counter += 1
        if r < 0.5:
            return self.rng.choice([1.0, 0.1]) * self.counter
        if r < 0.6:
            return self.rng.choice([STALE_NAN, float("nan"), -0.0, 1e300, stale_histogram()])
        if r < 0.85:
            hint = self.rng.choice(list(ResetHint))
            return histogram(self.counter % 50, hint)
        return float_histogram(self.counter % 7, custom=self.rng.random() < 0.5)

    def samples(self):
        shape = self.rng.randrange(5)
        out = []
        if shape == 0:  # a scrape: all series at one time
            self.at += 1
            times = [(s, self.at) for s in SERIES]
        elif shape == 1:  # backfill of one series
            s = self.rng.choice(SERIES)
            first = max(0, self.at - self.rng.randrange(120))
            times = [(s, first + i) for i in range(self.rng.randrange(1, 60))]
            self.at = max(self.at, *(t for _, t in times)) if self.rng.random() < 0.3 else self.at
            times = [(s, t) for s, t in times if t <= self.at]
        else:
            self.at += self.rng.randrange(3)
            n = self.rng.randrange(1, 40)
            times = [(self.rng.choice(SERIES), max(0, self.at - self.rng.randrange(60))) for _ in range(n)]
        kind = self.rng.randrange(3)
        for s, t in times:
            value = float(t % 5) if kind == 0 else self.value()
            start = self.rng.choice([0, 0, START_MS - 7, START_MS]) if kind == 2 else 0
            out.append((s, START_MS + t * STEP_MS, value, start))
        return [x for x in out if self._is_certain(x)]

    def _is_certain(self, sample):
        """Tell whether the outcome does not depend on what else is in the batch."""
        series, time = sample[:2]
        newest = self.newest.get(series)
        if newest is None:
            return (series, time) not in self.imported
        if time < newest:
            return True
        return (series, time) not in self.imported and (time > newest or (series, time) in self.model)

    def expect(self, samples):
        stored = 0
        for series, time, value, since in samples:
            known = self.model.get((series, time))
            wins = self.options.last_write_wins
            if known is None or (known[0] != bits(value) and wins):
                self.model[series, time] = bits(value), since
                self.imported.discard((series, time))
                self.newest[series] = max(self.newest.get(series, time), time)
            if known is None or known[0] == bits(value) or wins:
                stored += 1
        return stored

    # -- what may happen

    def append(self):
        groups = [self.samples() for _ in range(self.rng.choice([1, 1, 2, 3]))]
        # what the first group makes newest may make the second uncertain: those are left out
        for i, group in enumerate(groups[1:], 1):
            earlier = {x[:2] for g in groups[:i] for x in g}
            groups[i] = [x for x in group if x[:2] in earlier or self._is_certain(x)]
        groups = [g for g in groups if g]
        try:
            results = self.engine.append([batch(self.engine, g) for g in groups])
        except DiskFullError:
            assert self.disk.full
            return
        for group, result in zip(groups, results, strict=True):
            expected = self.expect(group)
            assert result.stored == expected, (result, expected)

    def maintain(self):
        self.clock.now_ms += self.rng.choice([0, 1000, 5000, 61_000])
        for _ in range(self.rng.randrange(1, 8)):
            self.engine.maintain(self.clock.now_ms)

    def maintain_all(self):
        self.clock.now_ms += self.rng.choice([0, 5001, 61_000])
        maintain_all(self.engine, self.clock.now_ms)

    def fill_disk(self):
        self.disk.full = True
        try:
            for _ in range(self.rng.randrange(1, 4)):
                self.rng.choice([self.append, self.maintain, self.delete, self.snapshot])()
        finally:
            self.disk.full = False
        if self.rng.random() < 0.7:
            self.clock.now_ms += PAUSE_MS

    def break_upkeep(self):
        """Let one change of the disk fail while upkeep works."""
        self.clock.now_ms += PAUSE_MS
        at = self.disk.change_count + self.rng.randrange(40)
        self.disk.faults = {at: self.rng.choice([errno.EIO, errno.ENOSPC])}
        for _ in range(self.rng.randrange(1, 30)):
            self.engine.maintain(self.clock.now_ms)
        self.disk.faults = {}
        if self.rng.random() < 0.3:
            self.kill()
        elif self.engine.statistics().read_only:
            self.restart()
        self.clock.now_ms += PAUSE_MS

    def delete(self):
        low = START_MS + (self.at - self.rng.randrange(-5, 130)) * STEP_MS
        high = low + self.rng.choice([0, STEP_MS, 10 * STEP_MS, 60 * STEP_MS])
        if self.rng.random() < 0.2:
            low, high = EVER
        sets, fits = self.rng.choice(
            [
                ([[equal("parity", "odd")]], lambda s: ("parity", "odd") in s),
                ([[Matcher(MatchType.REGEX, "i", "[0-2]")]], lambda s: any(n == "i" and v in "012" for n, v in s)),
                ([[equal("__name__", "other")], [equal("i", "3")]], lambda s: s == SERIES[-1] or ("i", "3") in s),
                ([[equal("__name__", "imp")]], lambda s: ("__name__", "imp") in s),
                ([[]], lambda s: True),
            ]
        )
        if not sets[0] and self.rng.random() < 0.6:
            return
        try:
            self.engine.delete(sets, low, high)
        except DiskFullError:
            assert self.disk.full
            return
        gone = [k for k in self.model if fits(k[0]) and low <= k[1] <= high]
        for k in gone:
            del self.model[k]
            self.imported.discard(k)

    def adopt(self):
        """Hand a segment over, and see it taken over, perhaps through a crash."""
        self.files += 1
        found = {}
        for s in self.rng.sample(sorted(IMPORTED), 3):
            first = self.rng.randrange(-300, max(1, self.at))
            for t in sorted({first + self.rng.randrange(50) for _ in range(self.rng.randrange(1, 40))}):
                found.setdefault(s, []).append((START_MS + t * STEP_MS, self.value(), self.rng.choice([0, 5])))
        inner, name = self.disk.inner, f"{INCOMING_FOLDER}/{self.files:04d}.seg"
        inner.make_folder(INCOMING_FOLDER)
        write(inner, name + ".tmp", found)
        inner.rename(name + ".tmp", name)
        inner.sync_folder(INCOMING_FOLDER)
        if self.rng.random() < 0.3:
            for _ in range(self.rng.randrange(4)):
                self.engine.maintain(self.clock.now_ms)
            self.crash(look=False)
        self.clock.now_ms += PAUSE_MS + 1
        for _ in range(3000):
            if not self.disk.inner.list(INCOMING_FOLDER):
                break
            self.engine.maintain(self.clock.now_ms)
            self.clock.now_ms += 1
        assert not self.disk.inner.list(INCOMING_FOLDER)
        for s, rows in found.items():
            for time, value, since in rows:
                if (s, time) not in self.model:  # the file adopted last stands before all others in age
                    self.model[s, time] = bits(value), since
                    self.imported.add((s, time))

    def snapshot(self):
        skip = self.rng.random() < 0.2
        try:
            name = self.engine.snapshot(skip_head=skip)
        except DiskFullError:
            assert self.disk.full
            return
        prefix = f"snapshots/{name}/"
        inner = self.disk.inner
        files = {n.removeprefix(prefix): inner.read(n) for n in list(inner._files) if n.startswith(prefix)}
        for n in [n for n in list(inner._files) if n.startswith(prefix)]:
            inner.remove(n)
        copy = open_engine(MemDisk(files), self.options, self.clock)
        if not skip:
            assert held(copy) == self.model
            maintain_all(copy, self.clock.now_ms)
            assert held(copy) == self.model
        else:
            got = held(copy)
            assert all(self.model.get(k) == v or self.options.last_write_wins for k, v in got.items())
        copy.close()

    def restart(self):
        self.close_views()
        self.engine.close()
        self.engine = self._opened()

    def kill(self):
        """End without a word; what was written can still be read."""
        self.close_views()
        self.disk.inner.unlock()
        self.engine = self._opened()

    def crash(self, *, look=True):
        self.close_views()
        loss = self.rng.choice(list(Loss))
        inner = self.disk.inner
        self.disk = FaultDisk(inner.after_crash(len(inner.changes), loss))
        self.engine = self._opened()
        if look:
            assert held(self.engine) == self.model, loss

    def open_view(self):
        if len(self.views) < 4:
            q = self.engine.querier(*EVER)
            self.views.append((q, dict(self.model)))

    def read_view(self):
        if self.views:
            q, expected = self.views.pop(self.rng.randrange(len(self.views)))
            assert view_held(q) == expected
            if self.rng.random() < 0.5:
                self.views.append((q, expected))
            else:
                q.close()

    def close_views(self):
        for q, expected in self.views:
            assert view_held(q) == expected
            q.close()
        self.views.clear()

    def query(self):
        low = START_MS + (self.at - self.rng.randrange(100)) * STEP_MS
        high = low + self.rng.randrange(60) * STEP_MS
        matchers, chosen = self.rng.choice(
            [
                ([equal("parity", "odd")], lambda s: ("parity", "odd") in s),
                ([equal("i", "1")], lambda s: ("i", "1") in s),
            ]
        )
        got = held(self.engine, matchers, low, high)
        assert got == {k: v for k, v in self.model.items() if chosen(k[0]) and low <= k[1] <= high}

    def check(self):
        assert held(self.engine) == self.model

    def live(self, steps):
        acts = (
            [self.append] * 10
            + [self.kill]
            + [self.maintain] * 6
            + [self.maintain_all, self.fill_disk, self.break_upkeep, self.restart]
            + [self.delete, self.delete, self.adopt, self.snapshot, self.crash, self.open_view, self.read_view]
            + [self.query] * 3
        )
        for _ in range(steps):
            act = self.rng.choice(acts)
            self.log.append(act.__name__)
            act()
            self.check()
        self.close_views()


def held(engine, matchers=(), mint=EVER[0], maxt=EVER[1]):
    got = contents(engine, matchers, mint, maxt, starts=True)
    return {(s, t): (bits(v), since) for s, samples in got.items() for t, v, since in samples}


class _Viewed:
    """An engine whose only querier is a certain one, which stays open."""

    def __init__(self, querier):
        self.querier = lambda mint, maxt: contextlib.nullcontext(querier)


def view_held(q):
    return held(_Viewed(q))


def write(disk, name, series):
    writer = SegmentWriter(disk, name, level=0)
    ordered = sorted(series)
    rows = [x for s in ordered for x in series[s]]
    values = np.array([0.0 if isinstance(v, Histogram) else v for _, v, _ in rows])
    own = [v for _, v, _ in rows if isinstance(v, Histogram)]
    values[[isinstance(v, Histogram) for _, v, _ in rows]] = handles(0, len(own))
    starts = np.array([x for _, _, x in rows], np.int64)
    offsets = offsets_of(np.array([len(series[s]) for s in ordered]))
    times = np.array([t for t, _, _ in rows], np.int64)
    table = histograms_of(own) if own else None
    writer.add(SeriesColumns(ordered, offsets, times, values, table, starts if starts.any() else None))
    return writer.finish()


def shrink_limits(patch):
    """Let small lives pass through all that only much data would meet.  patch: (module, name, value)."""
    patch(head, "STAGED_ROWS", 8)
    patch(head, "DIRECT_SAMPLES", 25)
    patch(head, "ARENA_BYTES_MAX", 20_000)
    patch(head_chunk, "CHUNK_SAMPLES", 200)
    patch(wal_layouts, "REFS_MAX", 400)
    patch(wal_layouts, "WORDS_MAX", 300)
    patch(wal_session, "UNITED_SAMPLES", 60)
    patch(merging, "HELD_SAMPLES", 60)
    patch(cut_job, "GROUP_SAMPLES", 60)
    patch(chunk_memory, "KEPT_SAMPLES_MAX", 300)


def main():
    shrink_limits(setattr)
    first, last, steps = map(int, sys.argv[1:4])
    for seed in range(first, last):
        life = Life(seed, last_write_wins=seed % 3 == 2)
        try:
            life.live(steps)
        except Exception as e:
            print("seed", seed, "step", len(life.log), life.log[-6:], type(e).__name__, str(e)[:300], flush=True)
            traceback.print_exc(limit=-6)
        else:
            print("seed", seed, "ok", len(life.model), flush=True)


if __name__ == "__main__":
    main()
