"""Views of the storage in memory: blocks never change, so a view is the tuple of those that were there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..abc import Querier, Selection
from ..errors import StorageError
from ..model.columns import SeriesColumns
from ..model.labels import Labels, get
from ..model.matchers import Matcher
from ..model.select_hints import SelectHints
from .block import U32, Block, gathered
from .label_map import LabelMap


class MemorySelection(Selection):
    """Series by label set, and the blocks that may have samples of them."""

    def __init__(
        self,
        labels: Sequence[Labels],
        refs: U32,
        blocks: Sequence[Block],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None],
    ) -> None:
        """refs: of the series, in the order of `labels`.  check: called before a block is read."""
        self.labels = labels
        self._refs, self._blocks, self._check = refs, blocks, check
        self._mint_ms, self._maxt_ms = mint_ms, maxt_ms

    def read(self, first: int, last: int) -> SeriesColumns:
        """Return the samples of series `first` .. `last - 1`."""
        refs, parts = self._refs[first:last], []
        for block in self._blocks:
            self._check()
            part = block.read(refs, self._mint_ms, self._maxt_ms)
            if part is not None:
                parts.append(part)
        s = gathered(parts).sorted()
        offsets = np.searchsorted(s.keys, np.arange(len(refs) + 1)).astype(np.int64)
        return SeriesColumns(self.labels[first:last], offsets, s.times, s.values, s.histograms, s.starts)


class MemoryQuerier(Querier):
    """A view: the blocks of the moment when it was made."""

    def __init__(self, blocks: tuple[Block, ...], labels: LabelMap, mint_ms: int, maxt_ms: int) -> None:
        self.mint_ms, self.maxt_ms = mint_ms, maxt_ms
        self._blocks: tuple[Block, ...] | None = blocks
        self._labels = labels

    def select(
        self,
        matchers: Sequence[Matcher],
        mint_ms: int,
        maxt_ms: int,
        check: Callable[[], None] | None = None,
        hints: SelectHints | None = None,
    ) -> MemorySelection:
        """Return the series for which every matcher holds and of which there are samples near the range."""
        mint_ms, maxt_ms = max(mint_ms, self.mint_ms), min(maxt_ms, self.maxt_ms)
        check = check or _go_on
        check()
        blocks = [b for b in self._open_blocks() if b.overlaps(mint_ms, maxt_ms)]
        labels, refs = self._labels.in_order(self._present(matchers, blocks))
        return MemorySelection(labels, refs, blocks, mint_ms, maxt_ms, check)

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted names of labels on series that fulfil the matchers."""
        return sorted({name for labels in self._found(matchers) for name, _ in labels})

    def label_values(self, name: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """Return the sorted values of one label on series that fulfil the matchers."""
        return sorted({get(labels, name) for labels in self._found(matchers)} - {""})

    def close(self) -> None:
        """Let go of the blocks; idempotent."""
        self._blocks = None

    def _found(self, matchers: Sequence[Matcher]) -> list[Labels]:
        blocks = [b for b in self._open_blocks() if b.overlaps(self.mint_ms, self.maxt_ms)]
        return [self._labels.registry.labels(r) for r in self._present(matchers, blocks).tolist()]

    def _present(self, matchers: Sequence[Matcher], blocks: Sequence[Block]) -> U32:
        """Return the ascending refs of matching series with samples in some of the blocks."""
        refs = self._labels.match(matchers)
        there = np.zeros(len(refs), np.bool_)
        for block in blocks:
            there[block.places(refs)[0]] = True
        return refs[there]

    def _open_blocks(self) -> tuple[Block, ...]:
        if self._blocks is None:
            raise StorageError("the querier is closed")
        return self._blocks


def _go_on() -> None:
    """Never stop."""
