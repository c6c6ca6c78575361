"""The work of `tinyobs tsdb import`: inputs through their readers into an import session, at a bounded pace."""

from __future__ import annotations

import glob
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from attrs import define, field, frozen

from ...errors import LockedError, Problem, StorageError, UsageError
from ...interchange.chunks import EXAMPLES_MAX, Position, Reader, Refusals
from ...interchange.csv_columns import ColumnChoice
from ...interchange.formats import Form, form_of, reader_of
from ...interchange.streams import STANDARD, decompressed, open_input
from ...model.registry import SeriesRegistry
from ...storage.bulk import BulkOptions
from ...storage.disk import Disk
from ...storage.import_journal import HEAD_BYTES, ImportJournal, InputIdentity, Place, begin, identify, read_journal
from ...storage.import_session import ImportSession
from ...storage.layout import INCOMING_FOLDER, import_journal_name
from ...storage.posix_disk import PosixDisk
from .progress import Show


@frozen
class ImportPlan:
    """What to import and how.  form: None where names tell it.  rate: samples a second at most, 0 for no bound."""

    names: tuple[str, ...]
    form: Form | None
    choice: ColumnChoice
    options: BulkOptions
    strict: bool = False
    again: bool = False
    rate: int = 0


@frozen
class Outcome:
    """What became of an import.  resumed: samples of earlier runs of it; examples: of lines refused in this run."""

    journal: ImportJournal
    resumed: int
    refused: int
    examples: tuple[Problem, ...]
    series: int


@contextmanager
def incoming_disk(path: Path) -> Iterator[Disk]:
    """Have the folder of a data directory to which imports go; raises `LockedError` while another import is running."""
    disk = PosixDisk(path / INCOMING_FOLDER)
    try:
        disk.lock()
    except LockedError as e:
        raise LockedError(f"another import is running: {e}") from None
    try:
        yield disk
    finally:
        disk.unlock()


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """Return the inputs, patterns such as `*.csv` resolved; raises `UsageError` where one matches nothing."""
    found: list[str] = []
    for name in names:
        if name == STANDARD or Path(name).exists() or not glob.has_magic(name):
            found.append(name)
            continue
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise UsageError(f"no file is called like {name}")
        found += matches
    if found.count(STANDARD) and len(found) > 1:
        raise UsageError("standard input is imported alone")
    return tuple(found)


def run_import(disk: Disk, plan: ImportPlan, show: Show) -> Outcome:
    """Import; raises `UsageError`, `StorageError`, `RefusedInput`.

    What was handed over stays whatever happens, and the same plan again goes on behind it.
    """
    forms = [plan.form or form_of(name) for name in plan.names]
    journal = _journal(disk, plan, forms)
    work = _Work(disk, plan, SeriesRegistry(), journal)
    try:
        for i in range(journal.place.input, len(plan.names)):
            work.read(i, reader_of(forms[i], plan.choice), show)
        return work.end()
    except OSError as e:
        raise StorageError(f"the import stopped: {e}; the same command again goes on where it was") from e
    finally:
        work.close()


def _journal(disk: Disk, plan: ImportPlan, forms: Sequence[Form]) -> ImportJournal:
    """Return where the import stands."""
    settings = f"{','.join(forms)} {plan.choice!r}"
    fresh = begin([_identity(name) for name in plan.names], settings)
    found = None if plan.again else read_journal(disk, fresh.id)
    if found is not None and found.is_finished:
        raise UsageError(f"this was imported before, all {found.samples} samples; --again imports it once more")
    return found or fresh


def _identity(name: str) -> InputIdentity:
    if name == STANDARD:
        return InputIdentity(name, -1, secrets.token_hex(16))
    path = Path(name)
    try:
        with path.open("rb") as file:
            return identify(str(path.absolute()), path.stat().st_size, file.read(HEAD_BYTES))
    except OSError as e:
        raise UsageError(f"cannot read {name}: {e.strerror}") from None


@define
class _Work:
    """An import going on."""

    disk: Disk
    plan: ImportPlan
    registry: SeriesRegistry
    begun: ImportJournal
    session: ImportSession = field(init=False)
    refusals: list[Refusals] = field(factory=list)
    samples: int = 0
    since: float = field(factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self.session = ImportSession(self.disk, self.registry, self.begun, self.plan.options)

    def read(self, i: int, reader: Reader, show: Show) -> None:
        """Take the samples of input number `i`."""
        name, place = self.plan.names[i], self.begun.place
        refusals = Refusals("<stdin>" if name == STANDARD else name, self.plan.strict)
        self.refusals.append(refusals)
        start = Position(place.offset, place.line, place.state) if i == place.input else Position()
        told = 0
        with _opened(name) as (stream, share):
            for chunk in reader.read(stream, self.registry, refusals, start):
                behind = Place(i, chunk.end.offset, chunk.end.line, chunk.end.state)
                self.session.add(chunk.batch, behind, refusals.count - told)
                told = refusals.count
                self.samples += len(chunk.batch)
                show((i + share()) / len(self.plan.names), name)
                self._pace()
        self.session.note(Place(i + 1), refusals.count - told)

    def end(self) -> Outcome:
        """Hand over the rest."""
        self.session.end_round(finished=True)
        journal = self.session.journal
        if STANDARD in self.plan.names:  # nobody can ask for it again
            self.disk.remove(import_journal_name(journal.id))
        examples = [p for r in self.refusals for p in r.examples][:EXAMPLES_MAX]
        refused = sum(r.count for r in self.refusals)
        return Outcome(journal, self.begun.samples, refused, tuple(examples), len(self.registry))

    def close(self) -> None:
        """Remove unfinished work, if the disk lets it; the next import removes it as well."""
        try:
            self.session.close()
        except OSError:
            return

    def _pace(self) -> None:
        """Wait where more samples came in than the rate allows."""
        if self.plan.rate:
            ahead = self.samples / self.plan.rate - (time.monotonic() - self.since)
            if ahead > 0:
                time.sleep(ahead)


@contextmanager
def _opened(name: str) -> Iterator[tuple[BinaryIO, Callable[[], float]]]:
    """Have the content of an input, and what tells the share of it that was read."""
    if name == STANDARD:
        yield open_input(name), lambda: 0.0
        return
    try:
        raw = Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as e:
        raise UsageError(f"cannot read {name}: {e.strerror}") from None
    with raw:
        size = max(Path(name).stat().st_size, 1)
        yield decompressed(cast(BinaryIO, raw)), lambda: 1.0 if raw.closed else raw.tell() / size
