"""Metadata of remote write 2.0: every series carries it, what is new or has changed is handed on."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..model.block_hash import Blocks
from ..model.hash_table import MISSING
from ..model.labels import NAME
from ..model.metadata import MetricMetadata, MetricType, with_type_and_unit
from .remote_write_schema import TYPE_OF_NUMBER
from .remote_write_v2_fields import Metadata
from .remote_write_v2_memory import SeriesMemory
from .remote_write_v2_numbers import read_numbers, steps
from .remote_write_v2_symbols import EncodedPair, Symbols, encoded_pair

_HISTOGRAM: Final = ("_bucket", "_count", "_sum")
_SUFFIXES: Final = {
    MetricType.HISTOGRAM: _HISTOGRAM,
    MetricType.GAUGE_HISTOGRAM: (*_HISTOGRAM, "_gcount", "_gsum"),
    MetricType.SUMMARY: ("_count", "_sum"),
}
"""What the names of series have behind the name of their family."""
_BITS: Final = 20
"""References to symbols have so many; see `FIELDS_MAX`."""
_TYPE_FACTOR: Final = np.uint64(0xD6E8_FEB8_6659_FD93)
_UNIT_FACTOR: Final = np.uint64(0xA076_1D64_78BD_642F)
"""Odd numbers, so that type, help and unit make one hash, and type and unit another key of a series."""

_NONE: Final = np.zeros(0, np.int64)

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]


def family_name(name: str, kind: MetricType) -> str:
    """Return the name of the family that a series of this name belongs to."""
    for suffix in _SUFFIXES.get(kind, ()):
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix)
    return name


def type_keys(told: Metadata, symbols: Symbols) -> U64:
    """Return for each entry a number that is made of type and unit, 0 where there is neither."""
    keys = symbols.of_values().take(told.units, mode="clip") * _UNIT_FACTOR
    keys += _kinds(told) * _TYPE_FACTOR
    return keys


def by_labels(told: Metadata, symbols: Symbols, some: I64, typed: bool) -> list[tuple[I64, list[EncodedPair]]]:
    """Return some series by the labels that type and unit make, none if not `typed`.

    Those whose metadata cannot be are left out.
    """
    some = some[~_unsound(told, symbols).repeat(told.runs)[some]]
    if not typed or not len(some):
        return [(some, [])]
    coded = (_kinds(told) << np.uint64(_BITS) | told.units).repeat(told.runs)
    codes, group = np.unique(coded[some], return_inverse=True)
    found = []
    for i, code in enumerate(codes.tolist()):
        metadata = MetricMetadata(TYPE_OF_NUMBER[code >> _BITS], unit=symbols.text(code & (1 << _BITS) - 1))
        found.append((some[group == i], [encoded_pair(pair) for pair in with_type_and_unit((), metadata)]))
    return found


def _unsound(told: Metadata, symbols: Symbols) -> NDArray[np.bool_]:
    size = len(symbols)
    return (told.helps >= size) | (told.units >= size) | ~told.is_read


def _kinds(told: Metadata) -> U64:
    """Return the numbers of types, those of a later version as unknown."""
    return np.where(told.types < len(TYPE_OF_NUMBER), told.types, np.uint64(0))


class ToldMetadata:
    """The metadata of the series of a request that is not what they told last."""

    def __init__(
        self, told: Metadata, entries: NDArray[np.uint32], symbols: Symbols, refs: Blocks, memory: SeriesMemory
    ) -> None:
        """told: by each series, with packed references `refs`; `entries`: theirs in the memory, or `MISSING`."""
        self._memory, self._symbols = memory, symbols
        self.metadata: dict[str, MetricMetadata] = {}
        """By name of the family."""
        unsound = _unsound(told, symbols)
        self.unsound = np.flatnonzero(unsound.repeat(told.runs)) if unsound.any() else _NONE
        """Positions of those whose help or unit is not there, or could not be read here."""
        hashes = type_keys(told, symbols) + symbols.of_values().take(told.helps, mode="clip")
        hashes[unsound] = 0
        hashes = hashes.repeat(told.runs)
        new = (hashes != memory.told(entries)).nonzero()[0]
        if len(new):
            new = new[(hashes[new] != 0) & (entries[new] != MISSING)]
        self._entries, self._hashes = entries[new], hashes[new]
        if len(new):
            types, helps, units = (x.astype(np.int64) for x in (_kinds(told), told.helps, told.units))
            coded = ((types << _BITS | helps) << _BITS | units).repeat(told.runs)
            self._collect(refs.take(new), coded[new])

    def stored(self) -> None:
        """Remember that all of it has been stored."""
        if len(self._entries):
            self._memory.tell(self._entries, self._hashes)

    def _collect(self, refs: Blocks, coded: I64) -> None:
        """Take the metadata of known series."""
        metric = np.concatenate([self._metric_names(part) for part in steps(refs)])
        for name, code in np.unique(np.column_stack((metric, coded)), axis=0).tolist():
            kind = TYPE_OF_NUMBER[code >> 2 * _BITS]
            help, unit = (self._symbols.text(code >> shift & (1 << _BITS) - 1) for shift in (_BITS, 0))
            self.metadata[family_name(self._symbols.text(name), kind)] = MetricMetadata(kind, help, unit)

    def _metric_names(self, refs: Blocks) -> I64:
        numbers = read_numbers(refs, len(self._symbols))
        is_name = np.isin(numbers.names, self._symbols.number_of(NAME.encode()))  # one of each series, as it is known
        found: I64 = numbers.values[is_name]
        return found
