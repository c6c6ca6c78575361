"""The executable contract of storages: the package's own keep it, and every promise that is broken is named."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import attrs
import numpy as np
import pytest

from tinyobs.errors import StorageError
from tinyobs.memory_storage.storage import MemoryStorage
from tinyobs.model.histograms import without_handles
from tinyobs.storage.engine import Engine
from tinyobs.storage.options import DEFAULT_OPTIONS
from tinyobs.testing.check_storage import OPTIONAL, PROMISES, Part, check_storage
from tinyobs.testing.mem_disk import MemDisk
from tinyobs.testing.storage_contract.threads import READER

NOW_MS = 1_700_000_000_000
EVERY_PART = frozenset(Part)


def make_engine(registry):
    return Engine.open(MemDisk(), registry, DEFAULT_OPTIONS, lambda: NOW_MS)


def make_memory(registry):
    return MemoryStorage(registry, lambda: NOW_MS)


def make_simple(registry):
    path = Path(__file__).parents[2] / "examples" / "simple_storage" / "simple_storage.py"
    spec = importlib.util.spec_from_file_location("checked_simple_storage", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleStorage(registry, 3_600_000)


def test_the_engine_keeps_every_promise():
    """The local engine has all optional parts."""
    assert check_storage(make_engine, NOW_MS, required=Part) == EVERY_PART


def test_the_storage_in_memory_keeps_every_promise():
    """`memory://` has all parts but snapshots, for which it has no place."""
    assert check_storage(make_memory, NOW_MS) == EVERY_PART - {Part.SNAPSHOT, Part.LOG}


def test_the_storage_of_the_example_keeps_what_it_promises():
    """A small one may leave out what is optional; the last write of a time wins there."""
    assert check_storage(make_simple, NOW_MS) == {Part.OUT_OF_ORDER}


def test_a_required_part_that_is_missing_is_named():
    """The assertion lists them."""
    with pytest.raises(AssertionError, match="the storage has no snapshot"):
        check_storage(make_memory, NOW_MS, required=[Part.DELETE, Part.SNAPSHOT])


class Spoilt(MemoryStorage):
    """A storage with one fault."""

    @staticmethod
    def selection(selection):
        return selection

    @staticmethod
    def columns(columns):
        return columns

    def querier(self, mint_ms, maxt_ms):
        querier = super().querier(mint_ms, maxt_ms)
        select, spoil, columns = querier.select, self.selection, self.columns

        def spoilt(*arguments):
            selection = select(*arguments)
            read = selection.read
            selection.read = lambda first, last: columns(read(first, last))
            return spoil(selection)

        querier.select = spoilt
        return querier


def with_result(change):
    """Return a class whose results are changed."""

    class Changed(Spoilt):
        def append(self, batches):
            return change(super().append(batches))

    return Changed


def with_batches(change):
    """Return a class that stores something else than it is given."""

    class Changed(Spoilt):
        def append(self, batches):
            return super().append([change(b) for b in batches])

    return Changed


def with_selection(change):
    """Return a class whose selections are changed."""
    return type("Changed", (Spoilt,), {"selection": staticmethod(change)})


def with_columns(change):
    """Return a class whose columns are changed."""
    return type("Changed", (Spoilt,), {"columns": staticmethod(change)})


def with_methods(**methods):
    """Return a class with other methods."""
    return type("Changed", (Spoilt,), methods)


def backwards(selection):
    selection.labels = selection.labels[::-1]
    return selection


def live(self, mint_ms, maxt_ms):
    """Return a querier that looks at the storage of now."""
    querier = MemoryStorage.querier(self, mint_ms, maxt_ms)
    querier._open_blocks = lambda: self._blocks
    return querier


class Torn(Spoilt):
    """Stores the halves of a batch one after the other; once it lets readers look in between, so that chance has no part."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked, self.was_seen = threading.Event(), False

    def querier(self, mint_ms, maxt_ms):
        found = super().querier(mint_ms, maxt_ms)
        self.asked.set()
        return found

    def let_readers_look(self):
        if not self.was_seen and any(t.name == READER for t in threading.enumerate()):
            self.asked.clear()
            self.was_seen = self.asked.wait(1.0)

    def append(self, batches):
        results = []
        for b in batches:
            half = len(b) // 2
            first, second = (b.take(np.arange(len(b)) < half), b.take(np.arange(len(b)) >= half))
            parts = super().append([first])
            self.let_readers_look()
            parts += super().append([attrs.evolve(second, exemplars=(), metadata={})])
            refused, example = {}, {}
            for part, base in zip(parts, (0, half), strict=True):
                for reason, count in part.refused.items():
                    refused[reason] = refused.get(reason, 0) + count
                    example[reason] = part.example[reason] + base
            results.append(
                attrs.evolve(parts[0], stored=sum(p.stored for p in parts), refused=refused, example=example)
            )
        return results


class Closed(Spoilt):
    """Takes samples when it is closed."""

    def close(self):
        self._blocks = ()


class Lying(Spoilt):
    """Says that it deletes, and does not."""

    def delete(self, matcher_sets, mint_ms, maxt_ms):
        pass


class Greedy(Spoilt):
    """Deletes one series too many."""

    def delete(self, matcher_sets, mint_ms, maxt_ms):
        super().delete([[]], mint_ms, maxt_ms)


class Short(Spoilt):
    """Forgets the oldest samples in background work."""

    def maintain(self, now_ms):
        self.delete([[]], 0, now_ms - 3 * 15_000)
        return False


def rounded(batch):
    """Keep three digits of what is finite and small enough."""
    small = np.abs(batch.values) < 1e300
    return attrs.evolve(batch, values=np.where(small, np.round(np.where(small, batch.values, 0), 3), batch.values))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (with_result(lambda results: results[:1]), "a result for each batch"),
        (with_result(lambda rs: [attrs.evolve(r, stored=0) for r in rs]), "a result for each batch"),
        (with_result(lambda rs: [attrs.evolve(r, example={}) for r in rs]), "an example for each reason"),
        (
            with_result(lambda rs: [attrs.evolve(r, example=dict.fromkeys(r.example, 0)) for r in rs]),
            "the example of a",
        ),
        (with_result(lambda rs: [attrs.evolve(r, refused={}, example={}) for r in rs]), "each sample is stored or"),
        (with_batches(rounded), "keep their bits"),
        (with_batches(lambda b: attrs.evolve(b, values=np.where(b.values == 0, 0.0, b.values))), "keep their bits"),
        (with_batches(lambda b: attrs.evolve(b, timestamps_ms=b.timestamps_ms + 1)), "was stored"),
        (with_batches(lambda b: attrs.evolve(b, metadata={})), "metadata that came with a batch is known"),
        (with_batches(lambda b: attrs.evolve(b, exemplars=b.exemplars[:1])), "counts the exemplars that were stored"),
        (with_batches(lambda b: attrs.evolve(b, starts_ms=None if b.starts_ms is None else b.starts_ms + 1)), "start"),
        (with_batches(lambda b: attrs.evolve(b, values=without_handles(b.values), histograms=None)), "histograms and"),
        (with_selection(backwards), "sorted by their labels"),
        (with_columns(lambda c: attrs.evolve(c, values=c.values[::-1])), "the results say was stored"),
        (with_columns(lambda c: attrs.evolve(c, timestamps_ms=c.timestamps_ms[::-1])), "times ascend"),
        (with_columns(lambda c: attrs.evolve(c, offsets=c.offsets + 1)), "offsets go from 0"),
        (with_methods(querier=live), "a view does not change"),
        (with_methods(statistics=lambda self: {}), "statistics are an attrs object"),
        (with_methods(maintain=lambda self, now_ms: True), "background work comes to an end"),
        (with_methods(metadata=lambda self: {"a": None}), "metadata that came with a batch is known"),
        (with_methods(snapshot=lambda self: ""), "a snapshot has a name"),
        (with_methods(take_sealed=lambda self: [("x", 1)]), "statistics of a sealed file"),
        (with_methods(exemplars=lambda self, *range: []), "found by series"),
        (
            with_methods(append=lambda self, batches: [MemoryStorage.append(self, [b])[0] for b in batches[:1]]),
            "a result",
        ),
        (Torn, "readers see all of a batch or none of it"),
        (Closed, "a closed storage takes nothing"),
        (Lying, "a delete takes a range"),
        (Greedy, "a delete takes a range"),
        (Short, "a view does not change|new view has|background work changes no answer"),
    ],
)
def test_a_broken_promise_is_found(kind, message):
    """The assertion says which."""
    with pytest.raises(AssertionError, match=message):
        check_storage(lambda registry: kind(registry, lambda: NOW_MS), NOW_MS)


def test_a_storage_with_a_registry_of_its_own_is_found():
    """Series are numbered by the agent."""

    def make(registry):
        return make_memory(type(registry)())

    with pytest.raises(AssertionError, match="by the registry that it is given"):
        check_storage(make, NOW_MS)


def test_histograms_that_are_refused_must_not_be_stored():
    """Raising is right, storing before it is not."""

    class Half(Spoilt):
        def append(self, batches):
            results = super().append(batches)
            if any(b.histograms is not None for b in batches):
                raise StorageError("no histograms here")
            return results

    with pytest.raises(AssertionError, match="nothing is stored"):
        check_storage(lambda registry: Half(registry, lambda: NOW_MS), NOW_MS)


def test_every_optional_part_has_its_check():
    """And no promise is checked twice."""
    assert set(OPTIONAL) == set(Part)
    assert len(set(PROMISES)) == len(PROMISES)
