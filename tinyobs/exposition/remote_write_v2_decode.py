"""Remote write 2.0, receiving: a snappy-compressed `io.prometheus.write.v2.Request` -> a batch.

Format: https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/.  A request is split into its symbols and series
(`remote_write_v2_split.py`); labels, samples and metadata of all series are read as columns (`remote_write_v2_fields.py`, `remote_write_v2_numbers.py`),
and the series are recognised by keys that are made of the texts of their labels (`remote_write_v2_symbols.py`,
`remote_write_v2_memory.py`).  All other series take `remote_write_v2_general.py`.
Not here: sending (`remote_write_v2.py`), HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
from attrs import evolve
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import WireError
from ..model.block_hash import PADDING_BYTES, Blocks
from ..model.hash_table import MISSING
from ..model.histograms import without_handles
from ..model.registry import SeriesRegistry
from .remote_write import Decoded, WriteLimits, decoded, unpacked
from .remote_write_gather import Columns
from .remote_write_v2_fields import Fields, read_fields, read_metadata
from .remote_write_v2_general import GeneralWay2
from .remote_write_v2_memory import SeriesMemory
from .remote_write_v2_metadata import ToldMetadata, by_labels, type_keys
from .remote_write_v2_pieces import SeriesPiece, series_pieces
from .remote_write_v2_recent import RecentRequests
from .remote_write_v2_split import split
from .remote_write_v2_symbols import Symbols

METADATA_EVERY: Final = 16
"""Requests of which one is looked at for metadata of known series that has changed."""
SHORT_MAX: Final = 100
"""Series of a request that is looked at in any case."""
_GOLDEN: Final = 0x9E37_79B9
_SYMBOL_BYTES: Final = 32
_SERIES_BYTES: Final = 16
"""Memory that the place of a symbol with its numbers, and the place of a series, take beside the request."""
_NONE: Final = np.zeros(0, np.int64)

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Bools = NDArray[np.bool_]


class Decoder2:
    """Decodes requests into series of one registry; may be used from several threads at the same time."""

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self._memory = SeriesMemory(registry)
        self._recent = RecentRequests()
        self._requests = 0

    def decode(self, body: bytes | bytearray, *, limits: WriteLimits | None = None, typed: bool = False) -> Decoded:
        """Return the samples of a snappy-compressed Request, series interned, in the order of the request.

        typed: whether type and unit, which series tell as metadata, are labels of theirs as well.
        Raises `WireError` where the body is malformed (nothing of it is used) and `LimitExceeded` where it is too long.
        Metadata is handed on once; `Decoded.stored` is to be called when it is durable.
        """
        buffer, size = unpacked(body, limits or WriteLimits())
        return self._decode(*self._parts(buffer, size), typed)

    def decode_pieces(
        self,
        body: bytes | bytearray,
        bytes_max: int,
        *,
        limits: WriteLimits | None = None,
        typed: bool = False,
        hold: Callable[[int], None] = lambda size: None,
    ) -> Iterator[Decoded]:
        """Yield what is in about so many bytes of the series at a time; what was yielded before an error may have been used.

        The symbols are read once, wherever they stand.  hold: told how many bytes that and the places of the series take beside
        the request until the last piece is decoded; what it raises ends the request.  Else as `decode`.
        """
        symbols, series = self._parts(*unpacked(body, limits or WriteLimits()))
        del body
        hold(len(symbols) * _SYMBOL_BYTES + len(series.series) * _SERIES_BYTES)
        for piece in series_pieces(series, bytes_max):
            yield self._decode(symbols, piece, typed)

    def decode_message(self, data: bytes, *, typed: bool = False) -> Decoded:
        """Return the samples of an uncompressed Request; see `decode`."""
        buffer = np.frombuffer(data + bytes(PADDING_BYTES), np.uint8)
        return self._decode(*self._parts(buffer, len(data)), typed)

    def _parts(self, buffer: NDArray[np.uint8], size: int) -> tuple[Symbols, SeriesPiece]:
        parts = split(buffer, size)
        if len(parts.symbols) and parts.symbols.lengths[0]:
            raise WireError("the first symbol must be an empty string", int(parts.symbols.starts[0]))
        return Symbols(parts.symbols, self._memory.hasher), SeriesPiece(parts.series)

    def _decode(self, symbols: Symbols, piece: SeriesPiece, typed: bool) -> Decoded:
        fields = read_fields(piece.series)
        keys = self._keys(symbols, fields.refs, piece.is_whole)
        metadata = read_metadata(fields.metadata) if typed else None
        if metadata is not None:
            fields.is_usual[~metadata.is_read.repeat(metadata.runs)] = False
            keys = np.where(keys, keys + type_keys(metadata, symbols).repeat(metadata.runs), np.uint64(0))
        entries = self._memory.find(keys)
        missing = (entries == MISSING).nonzero()[0]
        told = None
        if len(missing) or self._looks_at_metadata(len(keys)):
            metadata = metadata or read_metadata(fields.metadata)
            unknown = missing[keys[missing] > 0]
            new = unknown[fields.is_usual[unknown]] if typed else unknown
            for some, extra in by_labels(metadata, symbols, new, typed):
                self._memory.learn(symbols, fields.refs, keys, some, extra)
            entries[unknown] = self._memory.find(keys[unknown])
            told = ToldMetadata(metadata, entries, symbols, fields.refs, self._memory)
        refs = self._memory.refs(entries)
        if len(missing):
            refs[entries == MISSING] = MISSING
        if told is not None and len(told.unsound):
            refs[told.unsound] = MISSING  # the general way says why
        if typed:
            refs[~fields.is_usual] = MISSING  # what they say of type and unit is not in their keys
        way = GeneralWay2(self._registry, symbols=symbols, typed=typed)
        slow = (~fields.is_usual | (refs == MISSING)).nonzero()[0]
        columns, of_series = _quick(fields, refs, slow)
        histograms = None
        if len(slow):
            found = self._take(way, piece, slow, refs, fields.refs)
            self._remember({i: ref for i, ref in found.items() if fields.is_usual[i] or not typed}, keys)
            columns, histograms = way.merged(columns, of_series)
        if told is None:
            return decoded(columns, histograms, way, way.metadata)
        return evolve(decoded(columns, histograms, way, told.metadata | way.metadata), stored=told.stored)

    def _keys(self, symbols: Symbols, refs: Blocks, is_whole: bool) -> U64:
        """Return the key of each series, 0 where it has none."""
        if not is_whole:
            return symbols.keys(refs)
        keys = self._recent.find(symbols.blocks, refs)
        if keys is None:
            keys = symbols.keys(refs)
            self._recent.remember(symbols.blocks, refs, keys)
        return keys

    def _looks_at_metadata(self, series: int) -> bool:
        """Tell whether a request of so many known series is looked at for metadata that has changed.

        Short ones are, as it takes nothing beside the rest; of others one in about `METADATA_EVERY` is, spread such that no sender's rhythm escapes for long (multiples of the golden ratio,
        which fill up the circle whatever the step).
        """
        if series <= SHORT_MAX:
            return True
        self._requests += 1
        return (self._requests * _GOLDEN & 0xFFFF_FFFF) * METADATA_EVERY < 1 << 32

    def _take(
        self, way: GeneralWay2, piece: SeriesPiece, slow: I64, refs: NDArray[np.uint32], packed: Blocks
    ) -> dict[int, int]:
        """Take series by the general way; return which of those without a ref have one now that their references stand for."""
        found: dict[int, int] = {}
        series = piece.series
        for i in slow.tolist():
            try:
                ref = way.take(i, series.one(i), int(refs[i]), packed.one(i))
            except DecodeError:
                raise WireError(f"malformed series {piece.first + i}", piece.offset_of(i)) from None
            if refs[i] == MISSING and ref != MISSING:
                found[i] = ref
        return found

    def _remember(self, found: Mapping[int, int], keys: U64) -> None:
        """Remember the refs of series by number."""
        have = [i for i in found if keys[i]]
        if have:
            self._memory.remember(keys[have], np.array([found[i] for i in have], np.uint32))


def _quick(fields: Fields, refs: NDArray[np.uint32], slow: I64) -> tuple[Columns, I64]:
    """Return the samples of the usual series but for those in `slow`; where there are any, also which series each belongs to."""
    of_series = fields.of_series
    of_sample = refs if of_series is None else refs[of_series]
    columns = Columns(of_sample, fields.times_ms, without_handles(fields.values), fields.starts_ms)
    if not len(slow):
        return columns, _NONE
    if of_series is None:
        of_series = np.arange(len(refs))
    is_slow = np.zeros(len(refs), np.bool_)
    is_slow[slow] = True
    stays = ~is_slow[of_series]
    starts = None if columns.starts_ms is None else columns.starts_ms[stays]
    return Columns(of_sample[stays], columns.times_ms[stays], columns.values[stays], starts), of_series[stays]
