"""Limits take samples of series beyond them out of every batch, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from structlog.testing import capture_logs

from tinyobs.builtin.limits import LOG_EVERY_MS, Limits
from tinyobs.config import loader
from tinyobs.model.batch import Batch, Refused
from tinyobs.model.labels import from_mapping
from tinyobs.testing.services import FakeServices


@pytest.fixture
def services():
    """Services with a storage that tells how many series it has, and a clock that tests move."""
    found = FakeServices()
    found.head_series = 0
    found.open_storage = lambda: SimpleNamespace(statistics=lambda: SimpleNamespace(head_series=found.head_series))
    found.now_ms = 0
    found.clock = SimpleNamespace(now_ms=lambda: found.now_ms)
    return found


def configure(services, **limits):
    """Set limits as a reload would."""
    text = ", ".join(f"{k}: {v}" for k, v in limits.items())
    services.config = loader.parse(f"tinyobs: {{limits: {{{text}}}}}\n", "test.yml")


def batch(services, *series, **more):
    """A batch with one sample for each series."""
    refs = services.registry.intern_many(from_mapping({"__name__": "x", **labels}) for labels in series)
    return Batch(refs, np.arange(len(refs)), np.arange(float(len(refs))), "test", **more)


def test_a_good_batch_is_the_same_object(services):
    """Nothing is copied when nothing is refused; an empty batch is fine."""
    limits = Limits(services)
    good, empty = batch(services, {"a": "1"}, {"a": "2"}), batch(services)
    assert limits.process(good) is good
    assert limits.process(good) is good
    assert limits.process(empty) is empty


@pytest.mark.parametrize(
    ("limit", "bad", "good"),
    [
        ({"labels_per_series_max": 2}, {"a": "1", "b": "2"}, {"a": "1"}),
        ({"label_name_bytes_max": 8}, {"ä" * 5: "1"}, {"a" * 8: "1"}),
        ({"label_value_bytes_max": 3}, {"a": "€€"}, {"a": "€"}),
    ],
)
def test_series_beyond_a_limit_are_taken_out(services, limit, bad, good):
    """Labels are counted with the name, lengths in bytes; the others stay with their times and values."""
    configure(services, **limit)
    given = batch(services, good, bad, {})
    left = Limits(services).process(given)
    assert left.refs.tolist() == [given.refs[0], given.refs[2]]
    assert left.timestamps_ms.tolist() == [0, 2]
    assert left.values.tolist() == [0.0, 2.0]
    assert left.refused == {Refused.LIMIT: 1}
    assert given.refused == {}


def test_what_was_refused_before_is_kept(services):
    """Counts of an earlier processor add up with ours."""
    configure(services, labels_per_series_max=1)
    given = batch(services, {"a": "1"}, refused={Refused.LIMIT: 2, Refused.TOO_OLD: 1})
    assert Limits(services).process(given).refused == {Refused.LIMIT: 3, Refused.TOO_OLD: 1}


def test_zero_is_no_limit(services):
    """Everything passes."""
    configure(services, labels_per_series_max=0, label_name_bytes_max=0, label_value_bytes_max=0, series_max=0)
    given = batch(services, {str(i): "v" * 10_000 for i in range(100)})
    assert Limits(services).process(given) is given


def test_a_decision_is_remembered(services):
    """A series is looked at once, good or bad."""
    configure(services, labels_per_series_max=2)
    limits = Limits(services)
    given = batch(services, {"a": "1"}, {"a": "1", "b": "2"})
    first = limits.process(given)
    services.registry.labels = None
    assert limits.process(given).refs.tolist() == first.refs.tolist()


def test_a_reload_decides_anew(services):
    """Another limit holds for series already seen."""
    limits = Limits(services)
    given = batch(services, {"a": "1"})
    assert len(limits.process(given)) == 1
    configure(services, labels_per_series_max=1)
    assert len(limits.process(given)) == 0
    configure(services)
    assert len(limits.process(given)) == 1


def test_new_series_beyond_the_number_of_series_are_refused(services):
    """Those there are stay; when some have gone, others are taken."""
    configure(services, series_max=2)
    limits = Limits(services)
    first = batch(services, {"a": "1"}, {"a": "2"})
    assert limits.process(first) is first
    services.head_series = 2
    more = batch(services, {"a": "2"}, {"a": "3"}, {"a": "4"})
    assert limits.process(more).refs.tolist() == more.refs[:1].tolist()
    services.head_series = 1
    assert limits.process(more).refs.tolist() == more.refs[:2].tolist()
    assert limits.process(first) is first


def test_one_batch_cannot_overrun_the_number_of_series(services):
    """Within a batch the limit is exact, although the storage knows of none of it yet."""
    configure(services, series_max=5)
    given = batch(services, *({"a": str(i)} for i in range(50)))
    left = Limits(services).process(given)
    assert len(left) == 5
    assert left.refused == {Refused.LIMIT: 45}


def test_refusals_are_logged_now_and_then(services):
    """One line a minute with an example, however many series and batches."""
    configure(services, labels_per_series_max=1, series_max=1)
    limits = Limits(services)
    with capture_logs() as logs:
        for i in range(5):
            limits.process(batch(services, {"a": str(i)}, {}, {"": "", "b": ""}))
        assert [entry["first"] for entry in logs] == ["x has 2 labels (labels_per_series_max 1)"]
        services.now_ms = LOG_EVERY_MS
        limits.process(batch(services, {"a": "5"}))
        assert len(logs) == 2


def test_the_memory_of_decisions_grows_with_the_registry(services):
    """More series than were expected are no problem."""
    limits = Limits(services)
    given = batch(services, *({"a": str(i)} for i in range(5000)))
    assert limits.process(given) is given
