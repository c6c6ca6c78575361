"""What is around data points, recognised by its bytes: resources, scopes, and metrics many at once.

The key of a metric is a hash of the bytes around its points, with the number of its resource and scope mixed in.  A key is
learned only from bytes of which every field was looked at.
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ...errors import WireError
from ...model.block_hash import BlockHasher, Blocks
from ...model.growing import grown
from ...model.hash_table import MISSING, HashTable
from ..protobuf_layout import fields as fields_of
from .forms import GENERAL, HISTOGRAM, NUMBER
from .rules import MetricContext, ResourceContext, ScopeContext, Translator
from .schema import MESSAGES, Metric
from .walk import DATA_TAGS, SCALAR_TAGS, TEXT_TAGS, Around

CONTEXTS_MAX: Final = 200_000
"""Metrics of scopes of resources that are known, some 700 bytes each; with one more all are forgotten, and all keys."""

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]


class KnownContexts:
    """See `walk.Contexts`.  Not thread-safe."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._hasher = BlockHasher()
        odd = np.frombuffer(os.urandom(48), np.uint64) | np.uint64(1)
        self._weights: U64 = odd
        self.forget()

    def forget(self) -> None:
        """Forget all."""
        self._resources: dict[bytes, ResourceContext] = {}
        self._scopes: dict[tuple[bytes, bytes], ScopeContext] = {}
        self._owners: dict[tuple[ResourceContext, ScopeContext], int] = {}
        self._pairs: list[tuple[ResourceContext, ScopeContext]] = []
        self._table = HashTable(sparse=True)
        self._contexts: list[MetricContext] = []
        self._salts = np.zeros(256, np.uint64)
        self._forms = np.zeros(256, np.int8)
        self._counts = np.zeros(256, np.bool_)
        self._told = np.zeros(256, np.bool_)

    def __len__(self) -> int:
        return max(len(self._contexts), len(self._resources), len(self._scopes), len(self._pairs))

    def resource(self, message: bytes) -> ResourceContext | None:
        """Return the context of a message `Resource`; see `walk.Contexts`."""
        found = self._resources.get(message)
        if found is None:
            try:
                found = self._translator.resource(MESSAGES["Resource"].FromString(message))
            except DecodeError:
                return None
            self._resources[message] = found
        return found

    def scope(self, message: bytes, schema_url: bytes) -> ScopeContext | None:
        """Return the context of a message `InstrumentationScope`; see `walk.Contexts`."""
        found = self._scopes.get((message, schema_url))
        if found is None:
            try:
                found = self._translator.scope(MESSAGES["InstrumentationScope"].FromString(message), schema_url)
            except DecodeError:
                return None
            self._scopes[message, schema_url] = found
        return found

    def owner(self, resource: ResourceContext, scope: ScopeContext) -> int:
        """Return the number of a pair; see `walk.Contexts`."""
        number = self._owners.setdefault((resource, scope), len(self._pairs))
        if number == len(self._pairs):
            self._pairs.append((resource, scope))
        return number

    def context(self, number: int) -> MetricContext:
        """Return the context of that number."""
        return self._contexts[number]

    def metrics(self, around: Around) -> I64 | None:
        """Return the numbers of the contexts of metrics; see `walk.Contexts`."""
        keys = self._keys(around)
        numbers = self._table.find(keys)
        unknown = (numbers == MISSING).nonzero()[0]
        if len(unknown):
            fresh, first = np.unique(keys[unknown], return_index=True)
            made = [self._make(around, int(unknown[i])) for i in first.tolist()]
            contexts = [c for c in made if c is not None]
            if len(contexts) < len(made):
                return None
            self._add(fresh, contexts)
            numbers = self._table.find(keys)
        return numbers.astype(np.int64)

    # -- what is known of contexts, by their numbers -------------------------------------------------------------------

    def salts(self, numbers: I64) -> U64:
        """Return what tells keys of points from those of other contexts."""
        return self._salts[numbers]

    def forms(self, numbers: I64) -> NDArray[np.int8]:
        """Return which form points may have."""
        return self._forms[numbers]

    def counts(self, numbers: I64) -> NDArray[np.bool_]:
        """Return which contexts keep the start of their points."""
        return self._counts[numbers]

    def untold(self, numbers: I64) -> list[MetricContext]:
        """Return the contexts whose metadata may not be stored yet."""
        found = []
        for number in numbers[~self._told[numbers]].tolist():
            context = self._contexts[number]
            self._told[number] = context.is_told or context.refusal is not None
            if not self._told[number]:
                found.append(context)
        return found

    # -- making them ---------------------------------------------------------------------------------------------------

    def _keys(self, around: Around) -> U64:
        below, after = around.below, around.after
        behind = Blocks(below.data, below.starts, below.lengths + after.lengths)
        weights = self._weights
        keys: U64 = around.owners.view(np.uint64) * weights[3] ^ around.tags * weights[4]
        keys += below.lengths.view(np.uint64) * weights[5]
        for part, weight in zip((around.before, around.above, behind), weights, strict=False):
            is_there = part.lengths != 0
            if is_there.any():  # what is empty counts as nothing, since mostly all of one part are
                keys += self._hasher.hash_many(part) * weight * is_there
        keys[keys == 0] = 1
        return keys

    def _make(self, around: Around, i: int) -> MetricContext | None:
        outside = around.before.one(i) + around.after.one(i)
        inside = around.above.one(i) + around.below.one(i)
        kind = DATA_TAGS[int(around.tags[i])]
        try:
            if any(tag not in SCALAR_TAGS for tag, _, _ in fields_of(inside, 0, len(inside))):
                return None
            if any(tag not in TEXT_TAGS for tag, _, _ in fields_of(outside, 0, len(outside))):
                return None
            message = Metric.FromString(outside)
            getattr(message, kind).MergeFromString(inside)
            getattr(message, kind).SetInParent()
        except (DecodeError, WireError, IndexError):
            return None
        return self._translator.metric(message, *self._pairs[int(around.owners[i])])

    def _add(self, keys: U64, contexts: list[MetricContext]) -> None:
        count = len(self._contexts)
        end = count + len(contexts)
        self._contexts += contexts
        self._salts, self._forms = grown(self._salts, end), grown(self._forms, end)
        self._counts, self._told = grown(self._counts, end), grown(self._told, end)
        self._salts[count:end] = np.frombuffer(os.urandom(8 * len(contexts)), np.uint64)
        self._forms[count:end] = [self._form_of(c) for c in contexts]
        self._counts[count:end] = [c.counts for c in contexts]
        self._table.add(keys)

    def _form_of(self, context: MetricContext) -> int:
        if context.refusal is not None or context.converts:
            return GENERAL
        if context.kind in ("gauge", "sum"):
            return NUMBER
        return HISTOGRAM if context.kind == "histogram" and not self._translator.rules.custom_buckets else GENERAL
