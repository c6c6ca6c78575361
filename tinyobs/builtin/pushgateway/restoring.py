"""Groups as a journal describes them: its records are pushed again, without asking whether they fit.

Series of many groups are made known to the registry together, which takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from ...errors import TinyObsError
from ...exposition.formats import Format
from ...exposition.group_body import GroupBody, GroupReader
from ...exposition.scrape_parser import Parsed
from ...model.labels import Labels
from ...model.registry import SeriesRegistry
from ...storage.push_journal_format import Deleted, Failed, Pushed, Record, Wiped
from .changes import FORMATS
from .groups import Groups, Part, own_series

AT_ONCE: Final = 1000
"""Records whose series are made known together."""

Readers = dict[Labels, dict[Format, GroupReader]]


def restored(
    records: Sequence[Record], registry: SeriesRegistry, *, utf8_names: bool = False
) -> tuple[Groups, Readers, int]:
    """Return the groups, the readers of their bodies, and how many bodies cannot be read any more.

    utf8_names: what is allowed now, and what the readers are for where they can be; what was taken once is taken again.
    """
    groups = Groups(registry, 1 << 62, 1 << 62)
    readers: Readers = {}
    unreadable = 0
    needed = _needed(records)
    while some := list(islice(needed, AT_ONCE)):
        for record, body in _read(some, readers, registry, utf8_names):
            if isinstance(record, Failed):
                groups.fail(record.key, record.time_ms)
            elif body is None:
                unreadable += 1
            else:
                s = body.structure
                part = Part(
                    s,
                    body.values,
                    record.time_ms,
                    FORMATS[record.format],
                    record.body,
                    body.histograms,
                    frozenset(s.families),
                )
                groups.push(record.key, part, replaces=record.replaces, check=False)
    return groups, {key: found for key, found in readers.items() if key in groups.by_key}, unreadable


def _read(
    records: Sequence[Pushed | Failed], readers: Readers, registry: SeriesRegistry, utf8_names: bool
) -> Iterable[tuple[Pushed | Failed, GroupBody | None]]:
    """Yield records with what their bodies say, None where that cannot be read."""
    parsed: list[tuple[GroupReader, Parsed | None] | None] = []
    series: list[Labels] = []
    for record in records:
        series += own_series(record.key)
        parsed.append(None)
        if isinstance(record, Pushed):
            for allowed in (utf8_names, True):
                reader = _reader(readers, record, registry, allowed)
                try:
                    found = reader.parse(record.body)
                    series += reader.new_series(found) if found is not None else ()
                except TinyObsError:
                    continue
                parsed[-1] = reader, found
                break
    registry.intern_many(series)
    begun_anew: set[GroupReader] = set()
    for record, half in zip(records, parsed, strict=True):
        body = None
        if half is not None:
            reader, found = half
            try:
                # A reader that fails forgets what it parsed before, and what that meant.
                body = reader.read(record.body) if reader in begun_anew else reader.finish(record.body, found)  # type: ignore[union-attr]
            except TinyObsError:
                begun_anew.add(reader)
        yield record, body


def _reader(readers: Readers, record: Pushed, registry: SeriesRegistry, utf8_names: bool) -> GroupReader:
    """Return the reader of a group; one that allows more takes the place of one that allows less."""
    format = FORMATS[record.format]
    of_group = readers.setdefault(record.key, {})
    reader = of_group.get(format)
    if reader is None or (utf8_names and not reader.utf8_names):
        reader = of_group[format] = GroupReader(record.key, format, registry, utf8_names=utf8_names)
    return reader


def _needed(records: Sequence[Record]) -> Iterator[Pushed | Failed]:
    """Yield the records of which something may still be current, those of a group in order."""
    needed: dict[Labels, list[Pushed | Failed]] = {}
    for record in records:
        if isinstance(record, Wiped):
            needed.clear()
        elif isinstance(record, Deleted):
            needed.pop(record.key, None)
        elif isinstance(record, Pushed) and record.replaces:
            failed = [r for r in needed.get(record.key, ()) if isinstance(r, Failed)][-1:]
            needed[record.key] = [*failed, record]
        else:
            needed.setdefault(record.key, []).append(record)
    for found in needed.values():
        yield from found
