"""How far an import is: one small file for each, replaced as a whole, so that the same command again goes on.

Text: one line of JSON and one line with its crc32, as the manifest has it.  The place it names is that behind the last
round whose segments were handed over.  Whoever stops between handing over and writing the journal hands the same samples
over once more, which changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Final

import attrs
from attrs import frozen

from ..errors import CorruptionError
from .disk import Disk
from .layout import import_journal_name, temporary

HEAD_BYTES: Final = 1 << 20
"""Bytes at the beginning of an input that tell it from others."""
_ID_BYTES: Final = 8


@frozen
class InputIdentity:
    """What tells an input from others: its size in bytes and a digest of its first MiB.  name: for people."""

    name: str
    size: int
    digest: str


@frozen
class Place:
    """A place in the inputs: how many are done, and where in the next one; see `interchange.chunks.Position`."""

    input: int = 0
    offset: int = 0
    line: int = 0
    state: str = ""


@frozen
class ImportJournal:
    """How far an import is.  Times are those of the samples, in ms; None before there is one."""

    inputs: tuple[InputIdentity, ...]
    settings: str
    """What else decides what the inputs mean: the format, the columns."""
    place: Place = Place()
    is_finished: bool = False
    samples: int = 0
    refused: int = 0
    segments: int = 0
    mint_ms: int | None = None
    maxt_ms: int | None = None

    @property
    def id(self) -> str:
        """The name of the import: the same for the same content and settings, wherever the inputs lie."""
        told = json.dumps([[[i.size, i.digest] for i in self.inputs], self.settings])
        return hashlib.blake2b(told.encode(), digest_size=_ID_BYTES).hexdigest()


def identify(name: str, size: int, head: bytes) -> InputIdentity:
    """Return the identity of an input; head: its first `HEAD_BYTES`."""
    return InputIdentity(name, size, hashlib.blake2b(head, digest_size=16).hexdigest())


def begin(inputs: Sequence[InputIdentity], settings: str) -> ImportJournal:
    """Return the journal of an import that has done nothing."""
    return ImportJournal(tuple(inputs), settings)


def write_journal(disk: Disk, journal: ImportJournal) -> None:
    """Replace the journal, durably; disk: the folder of what is handed over."""
    name = import_journal_name(journal.id)
    text = json.dumps(attrs.asdict(journal), separators=(",", ":")).encode()
    unfinished = temporary(name)
    if unfinished in disk.list(""):
        disk.remove(unfinished)
    file = disk.create(unfinished)
    try:
        file.append(text + b"\n%08x\n" % zlib.crc32(text))
        file.sync()
    finally:
        file.close()
    disk.rename(unfinished, name)
    disk.sync_folder("")


def read_journal(disk: Disk, import_id: str) -> ImportJournal | None:
    """Return the journal of an import, None where there is none; raises `CorruptionError`."""
    name = import_journal_name(import_id)
    if name not in disk.list(""):
        return None
    text, _, rest = disk.read(name).partition(b"\n")
    if rest != b"%08x\n" % zlib.crc32(text):
        raise CorruptionError(name, 0, "checksum mismatch; remove it, and the import begins anew")
    try:
        plain = json.loads(text)
        plain["inputs"] = tuple(InputIdentity(**i) for i in plain["inputs"])
        plain["place"] = Place(**plain["place"])
        return ImportJournal(**plain)
    except (ValueError, KeyError, TypeError) as e:
        raise CorruptionError(name, 0, f"not understood: {e}; remove it, and the import begins anew") from e
