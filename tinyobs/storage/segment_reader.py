"""Reads a segment.  Opening looks at the footer only; tables, index and pages are decoded when a query needs them.

Damage is never passed on as data: every section, block and page has a checksum, and what does not fit it raises
`CorruptionError` with the file and the byte.  All methods are thread-safe; decoded pages live in a shared `PageCache`.
"""

from __future__ import annotations

import itertools
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..codec.pages import Page, UnknownPageError, decode_page
from ..errors import CorruptionError, FormatVersionError
from ..model.columns import SeriesColumns
from ..model.labels import Labels
from ..model.matchers import Matcher
from .assemble import Part, gather
from .disk import Disk
from .matching import U32
from .page_cache import TALLY, PageCache
from .runs import Runs
from .segment_format import (
    FOOTER_BYTES,
    VERSION,
    BlockTable,
    PageTable,
    decode_footer,
    decode_names,
    decode_table,
    version_of,
)
from .segment_index import IndexTables, SegmentIndex
from .strips import PART_READ_MAX, Piece, Strip, strip_of_page

I64 = NDArray[np.int64]

ITERATE_SAMPLES: Final = 1 << 22
"""Samples after which `iterate` yields even when the block has fewer series: bounds memory."""
_owners = itertools.count()


class SegmentReader:
    """An open segment.  Raises `CorruptionError` or `FormatVersionError` when opened or read."""

    def __init__(self, disk: Disk, name: str, cache: PageCache) -> None:
        self._name = name
        self._cache = cache
        self.owner = next(_owners)
        """The first item of the cache's keys for all that is kept of this segment."""
        self._lock = threading.Lock()
        self._data = disk.map(name)
        place = 0
        try:
            version = version_of(self._data)
            if version > VERSION:
                raise FormatVersionError(
                    f"{name} has segment format {version}; this release reads up to {VERSION}: upgrade TinyObs"
                )
            place = len(self._data) - FOOTER_BYTES
            self._sections, self.info = decode_footer(name, self._data)
        except ValueError as e:
            raise CorruptionError(name, place, str(e)) from None
        self._loaded: tuple[SegmentIndex, PageTable] | None = None

    # -- series ------------------------------------------------------------------------------------------------

    def select(self, matchers: Sequence[Matcher]) -> U32:
        """Return the ascending numbers, which is label order, of the series that fulfil all matchers."""
        return self._index.match(matchers)

    def labels(self, numbers: U32) -> list[Labels]:
        """Return the label sets of ascending series numbers."""
        return self._index.labels(numbers)

    def label_names(self, numbers: U32 | None = None) -> list[str]:
        """Return the sorted label names of the given series, of all by default."""
        return self._index.label_names(numbers)

    def label_values(self, name: str, numbers: U32 | None = None) -> list[str]:
        """Return the sorted values of a label on the given series, on all by default."""
        return self._index.label_values(name, numbers)

    # -- samples -----------------------------------------------------------------------------------------------

    def read(
        self,
        numbers: U32,
        mint_ms: int,
        maxt_ms: int,
        labels: Sequence[Labels] | None = None,
        check: Callable[[], None] | None = None,
    ) -> SeriesColumns:
        """Return the samples of ascending series numbers with mint_ms <= time <= maxt_ms; a series may have none.

        A caller that has the label sets already gives them, which spares decoding them again.  check: called before a
        page is decoded; raises to stop.
        """

        def checked_page(i: int) -> Page:
            if check is not None:
                check()
            return self._cached_page(i)

        runs = self._read(numbers, mint_ms, maxt_ms, checked_page)
        return runs.columns(self.labels(numbers) if labels is None else labels)

    def pieces(
        self, numbers: U32, mint_ms: int, maxt_ms: int, check: Callable[[], None] | None = None, *, keep: bool
    ) -> list[Piece] | None:
        """Return the pages that hold samples of ascending series numbers in a range, as strips, by series and time.

        Places are positions in `numbers`.  None where a page holds more than floats.  keep: whether pages stay decoded.
        """
        wanted, table, out = numbers.astype(np.int64), self._pages, []
        for i, a, b in _hits(table, wanted, mint_ms, maxt_ms):
            if check is not None:
                check()
            piece = self._piece(i, np.arange(a, b), wanted[a:b] - table.firsts[i], keep=keep)
            if piece is None:
                return None
            out.append(piece)
        return out

    def iterate(self, block: int = 256) -> Iterator[SeriesColumns]:
        """Yield all series with all samples in label order, at most `block` at a time, past the cache."""
        table = self._pages
        at, count = 0, self.info.series_count
        while at < count:
            inside = (table.firsts < at + block) & (table.firsts + table.counts > at)
            costs = np.maximum(table.samples[inside], table.lengths[inside])  # histograms: many words, few samples
            density = float((costs / table.counts[inside]).sum()) / max(_groups(table.firsts[inside]), 1)
            size = min(block, max(1, int(ITERATE_SAMPLES / max(density, 1.0))), count - at)
            numbers = np.arange(at, at + size, dtype=np.uint32)
            runs = self._read(numbers, self.info.mint_ms, self.info.maxt_ms, self._decode_page)
            yield runs.columns(self.labels(numbers))
            at += size

    def verify(self) -> None:
        """Read and check everything."""
        index, table = self._index, self._pages
        index.verify()
        samples = 0
        for i in range(len(table)):
            _, times, *_ = self._decode_page(i).read()
            samples += len(times)
            if (times.min(), times.max(), len(times)) != (table.mint_ms[i], table.maxt_ms[i], table.samples[i]):
                raise CorruptionError(self._name, int(table.offsets[i]), "page and table differ in times or samples")
        if samples != self.info.sample_count:
            raise CorruptionError(self._name, 0, "pages and footer differ in the number of samples")

    def verify_index(self) -> None:
        """Read and check labels and postings."""
        self._index.verify()

    @property
    def pages(self) -> PageTable:
        """Where the pages lie and what they hold; pages with series in common have no time in common."""
        return self._pages

    def close(self) -> None:
        """Let go of the file and of what the cache holds of it."""
        self._cache.forget(self.owner)
        self._loaded = None

    # -- private -----------------------------------------------------------------------------------------------

    @property
    def _index(self) -> SegmentIndex:
        return self._load()[0]

    @property
    def _pages(self) -> PageTable:
        return self._load()[1]

    def _load(self) -> tuple[SegmentIndex, PageTable]:
        """Return the tables, decoded at the first need."""
        loaded = self._loaded
        if loaded is None:
            with self._lock:
                loaded = self._loaded
                if loaded is None:
                    loaded = self._loaded = self._decode_tables()
        return loaded

    def _decode_tables(self) -> tuple[SegmentIndex, PageTable]:
        offset = 0
        try:
            offset, data = self._section("names")
            names = decode_names(data)
            offset, data = self._section("tables")
            tables = []
            for _ in range(3):
                columns, used = decode_table(data, 5)
                tables.append(BlockTable(*columns))
                data = data[used:]
            offset, data = self._section("pages")
            pages = PageTable(*decode_table(data, 7)[0])
        except ValueError as e:
            raise CorruptionError(self._name, offset, str(e)) from None
        firsts = [0, *itertools.accumulate(n for _, n in names)]
        index = IndexTables([n for n, _ in names], firsts, *tables)
        count = self.info.series_count
        return SegmentIndex(self._name, self._data, index, count, self._cache, self.owner), pages

    def _section(self, name: str) -> tuple[int, memoryview]:
        s = self._sections[name]
        data = self._data[s.offset : s.offset + s.length]
        if zlib.crc32(data) != s.checksum:
            raise CorruptionError(self._name, s.offset, f"section {name} does not fit its checksum")
        return s.offset, data

    def _cached_page(self, i: int) -> Page:
        def make() -> tuple[Page, int]:
            page = self._decode_page(i)
            return page, page.nbytes

        return self._cache.get((self.owner, "page", i), make)

    def _piece(self, i: int, places: I64, rows: I64, *, keep: bool) -> Piece | None:
        """Return some ascending rows of a page as they are placed; None where it holds more than floats."""
        key, count = (self.owner, "strip", i), int(self._pages.counts[i])
        strip: Strip | None = self._cache.peek(key)
        if strip is None and len(rows) * PART_READ_MAX < count:
            part = strip_of_page(self._cached_page(i), rows)
            return None if part is None else (places, None, part)
        if strip is None:
            strip = strip_of_page(self._decode_page(i))
            if strip is None:
                return None
            if keep:
                self._cache.put(key, strip, strip.nbytes)
        return places, None if len(rows) == count else rows, strip

    def _decode_page(self, i: int) -> Page:
        table = self._pages
        offset, length = int(table.offsets[i]), int(table.lengths[i])
        TALLY.page()
        try:
            page = decode_page(self._data[offset : offset + length])
            if len(page.counts) != int(table.counts[i]):
                raise ValueError("page and table differ in the number of series")
        except UnknownPageError as e:
            raise FormatVersionError(f"{self._name} at byte {offset}: {e}: upgrade TinyObs") from None
        except ValueError as e:
            raise CorruptionError(self._name, offset, str(e)) from None
        return page

    def _read(self, numbers: U32, mint_ms: int, maxt_ms: int, page_of: Callable[[int], Page]) -> Runs:
        """Return the samples of ascending series numbers."""
        wanted = numbers.astype(np.int64)
        table = self._pages
        parts: list[Part] = []
        for i, a, b in _hits(table, wanted, mint_ms, maxt_ms):
            page = page_of(i)
            series = np.arange(a, b)
            rows = None if len(series) == len(page.counts) else wanted[a:b] - table.firsts[i]
            whole = mint_ms <= table.mint_ms[i] and table.maxt_ms[i] <= maxt_ms
            parts.append((series, Runs(*(page.read(rows) if whole else page.read(rows, mint_ms, maxt_ms)))))
        return gather(parts, len(wanted))


def _hits(table: PageTable, wanted: I64, mint_ms: int, maxt_ms: int) -> Iterator[tuple[int, int, int]]:
    """Yield (page, first, last + 1 of its series among those wanted) by series, then time."""
    a = np.searchsorted(wanted, table.firsts)
    b = np.searchsorted(wanted, table.firsts + table.counts)
    hits = np.flatnonzero((a < b) & (table.mint_ms <= maxt_ms) & (table.maxt_ms >= mint_ms))
    return zip(hits.tolist(), a[hits].tolist(), b[hits].tolist(), strict=True)


def _groups(firsts: I64) -> int:
    return len(np.unique(firsts))
