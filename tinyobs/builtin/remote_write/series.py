"""What a destination knows of series by their ref: whether it gets them, under which labels, and on which shard.

Decided when a series is first seen and remembered in 5 bytes for each series of the agent.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ...model.labels import Labels, from_pairs
from ...model.registry import encode_block
from ...relabel import Rule, apply
from .settings import Distribution, RemoteWriteSettings

U32 = NDArray[np.uint32]
I8 = NDArray[np.int8]

FIELDS_MAX: Final = 20_000
"""Labels whose encoding is remembered at one time."""
UNKNOWN: Final = 0
KEPT: Final = 1
DROPPED: Final = 2
"""By a rule of `write_relabel_configs`."""
ELSEWHERE: Final = 3
"""Another destination gets it."""


@frozen
class Placing:
    """Which destination a series goes to, where destinations share them."""

    names: tuple[str, ...]
    own: str
    settings: RemoteWriteSettings

    def is_own(self, labels: Labels) -> bool:
        """Tell whether a series, as it is stored, goes to this destination.

        Every destination gives each series a weight, and the `replicas` highest get it: when a destination comes or goes,
        only the series move that it gets or had.
        """
        s = self.settings
        if s.distribution is Distribution.REPLICATE or s.replicas >= len(self.names):
            return True
        if s.shard_labels:
            labels = tuple(pair for pair in labels if pair[0] in s.shard_labels)
        elif s.shard_ignore_labels:
            labels = tuple(pair for pair in labels if pair[0] not in s.shard_ignore_labels)
        key = encode_block(labels)
        weights = sorted(((_weight(key, name), name) for name in self.names), reverse=True)
        return any(name == self.own for _, name in weights[: s.replicas])


class SeriesTable:
    """The decisions of one destination."""

    def __init__(
        self,
        labels_of: Callable[[int], Labels],
        external: Sequence[tuple[str, str]],
        rules: Sequence[Rule],
        placing: Placing,
        announce: Callable[[int, Labels, bytes], None],
    ) -> None:
        """external: labels added to each series that does not have them, before the rules.

        announce: is told the labels of each series that is kept, also as a label block.
        """
        self._labels_of = labels_of
        self._external = tuple(external)
        self._rules = tuple(rules)
        self._placing = placing
        self._announce = announce
        self._fields = _Fields()
        self._states: I8 = np.zeros(0, np.int8)
        self._hashes: U32 = np.zeros(0, np.uint32)

    def states(self, refs: U32) -> I8:
        """Return the state of each series, which is decided where it is not known."""
        top = int(refs.max()) + 1 if len(refs) else 0
        if top > len(self._states):
            more = max(top, 2 * len(self._states)) - len(self._states)
            self._states = np.concatenate((self._states, np.zeros(more, np.int8)))
            self._hashes = np.concatenate((self._hashes, np.zeros(more, np.uint32)))
        states = self._states[refs]
        unknown = np.flatnonzero(states == UNKNOWN)
        if len(unknown):
            for ref in np.unique(refs[unknown]).tolist():
                self._decide(ref)
            states = self._states[refs]
        return states

    def shards(self, refs: U32, count: int) -> NDArray[np.int64]:
        """Return the shard of each series out of `count`; only of those whose state was asked for."""
        return (self._hashes[refs] % np.uint32(count)).astype(np.int64)

    def sent_labels(self, ref: int) -> Labels | None:
        """Return the labels that a series is sent with, None when it is not sent."""
        labels = self._labels_of(ref)
        if self._external:
            labels = from_pairs((*self._external, *labels))
        return apply(labels, self._rules) or None

    def _decide(self, ref: int) -> None:
        stored = self._labels_of(ref)
        if not self._placing.is_own(stored):
            self._states[ref] = ELSEWHERE
            return
        sent = self.sent_labels(ref)
        if sent is None:
            self._states[ref] = DROPPED
            return
        self._states[ref] = KEPT
        block = self._fields.block(sent)
        self._hashes[ref] = zlib.crc32(block)
        self._announce(ref, sent, block)


class _Fields(dict[tuple[str, str], bytes]):
    """Labels as they stand in a label block, remembered because most are in many series; a limited number of them."""

    def block(self, labels: Labels) -> bytes:
        """Return the label block of a label set."""
        if len(self) > FIELDS_MAX:
            self.clear()
        return b"".join([self[pair] for pair in labels])

    def __missing__(self, pair: tuple[str, str]) -> bytes:
        made = self[pair] = encode_block((pair,))
        return made


def _weight(key: bytes, name: str) -> bytes:
    return hashlib.blake2b(key, digest_size=8, key=name.encode()[:64]).digest()
