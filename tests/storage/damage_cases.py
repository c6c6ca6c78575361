"""Directories with segments and a log of several sessions, sound and damaged in known places."""

from __future__ import annotations

from engine_cases import START_MS, append, labels, maintain_all, open_engine

from tinyobs.storage.manifest import read_manifest
from tinyobs.storage.page_cache import PageCache
from tinyobs.storage.segment_reader import SegmentReader
from tinyobs.testing.mem_disk import MemDisk

SERIES = [labels("m", i=str(i)) for i in range(8)]


def written(steps=40, step_ms=10_000):
    """A disk with segments, and a log of two sessions behind them."""
    disk = MemDisk()
    engine = open_engine(disk)
    half = steps // 2
    for i in range(half):
        append(engine, [(s, START_MS + i * step_ms, float(i * 10 + k)) for k, s in enumerate(SERIES)])
    maintain_all(engine, START_MS)
    engine.close()
    engine = open_engine(disk)
    for i in range(half, steps - 3):
        append(engine, [(s, START_MS + i * step_ms, float(i * 10 + k)) for k, s in enumerate(SERIES)])
    engine.close()
    engine = open_engine(disk)
    for i in range(steps - 3, steps):
        append(engine, [(s, START_MS + i * step_ms, float(i * 10 + k)) for k, s in enumerate(SERIES)])
    engine.close()
    return disk


def copy(disk):
    """The same files, durable, on a disk of their own."""
    return MemDisk(files_of(disk))


def files_of(disk):
    """Name -> content of every file."""
    return {n: bytes(i.data) for n, i in disk._files.items()}


def first_segment(disk):
    """The entry of the first listed segment."""
    return read_manifest(disk).segments[0]


def page_table(disk, name):
    """The pages of a segment."""
    return SegmentReader(disk, name, PageCache()).pages
