"""One import from its beginning, or from where it was interrupted, to its end: loader and journal together."""

from __future__ import annotations

import attrs

from ..model.batch import Batch
from ..model.registry import SeriesRegistry
from .bulk import BulkLoader, BulkOptions
from .disk import Disk
from .import_journal import ImportJournal, Place, write_journal
from .layout import handover_name


class ImportSession:
    """Takes samples and hands segments over, round after round.

    disk: the folder of what is handed over.  journal: of this import, where it was left.  `OSError`s pass through; what
    was handed over by then stays, and a new session with the journal on the disk goes on behind it.
    """

    def __init__(self, disk: Disk, registry: SeriesRegistry, journal: ImportJournal, options: BulkOptions) -> None:
        self._disk = disk
        self._loader = BulkLoader(disk, registry, options)
        self.journal = journal
        self._pending = journal
        """The journal as it will be when the round is handed over."""

    def add(self, batch: Batch, behind: Place, refused: int = 0) -> None:
        """Take samples, the place behind them in the inputs, and how many lines before it were refused since the last call."""
        p = self._pending
        mint, maxt = p.mint_ms, p.maxt_ms
        if len(batch):
            low, high = int(batch.timestamps_ms.min()), int(batch.timestamps_ms.max())
            mint, maxt = (low, high) if mint is None or maxt is None else (min(mint, low), max(maxt, high))
        self._pending = attrs.evolve(
            p, place=behind, samples=p.samples + len(batch), refused=p.refused + refused, mint_ms=mint, maxt_ms=maxt
        )
        self._loader.add(batch)
        if self._loader.is_due:
            self.end_round()

    def note(self, place: Place, refused: int = 0) -> None:
        """Note that an input has been read to its end; `place` is the beginning of the next."""
        self._pending = attrs.evolve(self._pending, place=place, refused=self._pending.refused + refused)

    def end_round(self, *, finished: bool = False) -> None:
        """Hand over what was taken so far, and note that."""
        made = self._loader.end_round()
        first = 1 + max(self.journal.segments, self._highest())
        self._loader.hand_over(made, [handover_name(self.journal.id, first + i) for i in range(len(made))])
        self.journal = self._pending = attrs.evolve(
            self._pending, segments=first - 1 + len(made) if made else self.journal.segments, is_finished=finished
        )
        write_journal(self._disk, self.journal)

    def close(self) -> None:
        """Remove unfinished work; what was handed over stays."""
        self._loader.clean()

    def _highest(self) -> int:
        """Return the highest number among this import's segments that still wait to be taken over."""
        prefix = f"{self.journal.id}-"
        mine = [f.removeprefix(prefix)[:6] for f in self._disk.list("") if f.startswith(prefix)]
        return max((int(n) for n in mine if n.isdigit()), default=0)
