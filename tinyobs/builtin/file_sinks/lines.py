"""Records of the log as JSON lines: one line for each series that some records have samples of."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ...abc import Logged
from ...interchange.json_lines_writer import JsonLinesWriter
from ...model.columns import SeriesColumns
from ...model.histograms import joined
from ...model.matchers import Matcher
from ...model.registry import SeriesRegistry
from ...promql.parser import parse_selector

_UNKNOWN, _NO, _YES = 0, 1, 2
_FIRST_SIZE: Final = 1024


@define(eq=False)
class Chosen:
    """Which series are written, decided once each.  selectors: none for all."""

    registry: SeriesRegistry
    selectors: Sequence[str]
    _sets: list[Sequence[Matcher]] = field(init=False)
    _verdicts: NDArray[np.uint8] = field(init=False, factory=lambda: np.zeros(_FIRST_SIZE, np.uint8))

    def __attrs_post_init__(self) -> None:
        self._sets = [parse_selector(text) for text in self.selectors]

    def flags(self, refs: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return which of some series are written."""
        if not self._sets:
            return np.ones(len(refs), np.bool_)
        if len(refs) and int(refs.max()) >= len(self._verdicts):
            longer = np.zeros(max(2 * len(self._verdicts), len(self.registry)), np.uint8)
            longer[: len(self._verdicts)] = self._verdicts
            self._verdicts = longer
        for ref in np.unique(refs[self._verdicts[refs] == _UNKNOWN]).tolist():
            self._verdicts[ref] = _YES if self._is_chosen(ref) else _NO
        chosen: NDArray[np.bool_] = self._verdicts[refs] == _YES
        return chosen

    def _is_chosen(self, ref: int) -> bool:
        labels = dict(self.registry.labels(ref))
        return any(all(m.matches(labels.get(m.name, "")) for m in matchers) for matchers in self._sets)


def lines_of(records: Sequence[Logged], chosen: Chosen) -> tuple[bytes, int]:
    """Return the lines, and the number of samples in them."""
    batches = [b if (f := chosen.flags(b.refs)).all() else b.take(f) for b in (r.batch for r in records) if len(b)]
    batches = [b for b in batches if len(b)]
    if not batches:
        return b"", 0
    refs = np.concatenate([b.refs for b in batches])
    times = np.concatenate([b.timestamps_ms for b in batches])
    values, table = joined([(b.values, b.histograms) for b in batches])
    order = np.lexsort((times, refs))
    series, first = np.unique(refs[order], return_index=True)
    offsets = np.append(first, len(refs)).astype(np.int64)
    labels = [chosen.registry.labels(r) for r in series.tolist()]
    out = io.BytesIO()
    JsonLinesWriter(out).write(SeriesColumns(labels, offsets, times[order], values[order], table))
    return out.getvalue(), len(refs)
