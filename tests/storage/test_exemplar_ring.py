"""The ring of exemplars: what is taken in, what goes, and what is found."""

from __future__ import annotations

import pytest
from engine_cases import OPTIONS, START_MS, append, exemplars_of, labels, maintain_all, open_engine
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.model.exemplars import LABEL_CHARACTERS_MAX, Exemplar, ExemplarRefused
from tinyobs.model.matchers import equal, name_is
from tinyobs.storage import exemplars as module
from tinyobs.storage.exemplars import ExemplarRing
from tinyobs.testing.mem_disk import MemDisk

EVER = (-(2**62), 2**62)
A, B = (("trace", "a"),), (("trace", "b"),)


def take(ring, *exemplars):
    """Judge and add; return (how many were accepted, refusals)."""
    judged = ring.judge(exemplars, {})
    ring.add(judged.accepted)
    return len(judged.accepted), dict(judged.refused)


def times(ring, ref):
    return [e.timestamp_ms for e in ring.of_series(ref, *EVER)]


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        (Exemplar(1, A, 1.0, 10), "ignored"),
        (Exemplar(1, A, 1.0, 11), "stored"),
        (Exemplar(1, A, 1.0, 9), "refused"),
        (Exemplar(1, A, 2.0, 10), "stored"),
        (Exemplar(1, A, 0.5, 10), "refused"),
        (Exemplar(1, B, 1.0, 10), "stored"),
        (Exemplar(1, (), 1.0, 10), "refused"),
        (Exemplar(2, A, 0.5, 5), "stored"),
        (Exemplar(1, A, 1.0, 11, has_time=False), "stored"),
    ],
)
def test_an_exemplar_is_judged_by_the_newest_of_its_series(new, verdict):
    """Equal ones are ignored; older ones refused, where value and labels break ties of time."""
    ring = ExemplarRing(10)
    take(ring, Exemplar(1, A, 1.0, 10))
    stored, refused = take(ring, new)
    assert stored == (verdict == "stored")
    assert refused == ({ExemplarRefused.OUT_OF_ORDER: 1} if verdict == "refused" else {})


def test_exemplars_that_come_again_are_ignored(monkeypatch):
    """A sender that was not answered sends all of them again; only the newest of a series are looked at."""
    ring = ExemplarRing(10)
    sent = [Exemplar(1, A, 1.0, at) for at in (10, 20, 30)] + [Exemplar(1, B, 0.5, 30), Exemplar(1, B, 1.0, 30)]
    assert take(ring, *reversed(sent)) == (5, {})
    assert take(ring, *sent) == (0, {})
    assert take(ring, Exemplar(1, A, 1.0, 15)) == (0, {ExemplarRefused.OUT_OF_ORDER: 1})
    monkeypatch.setattr(module, "REPEATED_MAX", 3)
    assert take(ring, *sent) == (0, {ExemplarRefused.OUT_OF_ORDER: 2})
    assert times(ring, 1) == [10, 20, 30, 30, 30]


def test_exemplars_that_come_again_before_they_are_kept_are_ignored():
    """As those of a request that is sent again while the first one is being stored."""
    ring, pending = ExemplarRing(10), {}
    sent = [Exemplar(1, A, 1.0, at) for at in (10, 20, 30)]
    assert len(ring.judge(sent, pending).accepted) == 3
    again = ring.judge([*sent, Exemplar(1, A, 1.0, 15), Exemplar(1, A, 1.0, 40)], pending)
    assert ([e.time_ms for e in again.accepted], again.refused) == ([40], {ExemplarRefused.OUT_OF_ORDER: 1})


def test_an_exemplar_without_its_own_time_is_the_same_at_another():
    """A target that repeats an exemplar without a time says nothing new."""
    ring = ExemplarRing(10)
    assert take(ring, Exemplar(1, A, 1.0, 10, has_time=False)) == (1, {})
    assert take(ring, Exemplar(1, A, 1.0, 25, has_time=False)) == (0, {})


def test_labels_have_a_limit():
    """128 characters of names and values together, however many bytes they are."""
    ring = ExemplarRing(10)
    assert take(ring, Exemplar(1, (("é", "é" * (LABEL_CHARACTERS_MAX - 1)),), 1.0, 1)) == (1, {})
    refused = {ExemplarRefused.LABELS_TOO_LONG: 1}
    assert take(ring, Exemplar(1, (("e", "e" * LABEL_CHARACTERS_MAX),), 1.0, 2)) == (0, refused)


def test_a_ring_of_no_size_takes_none():
    """Zero switches exemplars off."""
    assert take(ExemplarRing(0), Exemplar(1, A, 1.0, 1)) == (0, {ExemplarRefused.DISABLED: 1})


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=60), st.integers(1, 8), st.integers(1, 8))
def test_the_ring_is_the_end_of_a_list(steps, size, later):
    """However series alternate, what is kept is the end of what came; resizing keeps the newest."""
    ring, kept, clock = ExemplarRing(size), [], 0
    for ref, step in steps:
        clock += 1 + step
        take(ring, Exemplar(ref, A, 1.0, clock))
        kept = [*kept, (ref, clock)][-size:]
    for limit in (size, later):
        kept = kept[-limit:]
        ring.resize(limit)
        assert [(e.ref, e.time_ms) for e in ring.all()] == kept
        for ref in range(5):
            assert times(ring, ref) == [t for r, t in kept if r == ref]
        assert ring.refs().tolist() == sorted({r for r, _ in kept})
        before = ring.all()
        ring.replay(before)
        assert ring.all() == before, "taking in what is there changes nothing"


def test_bytes_of_labels_are_bounded(monkeypatch):
    """Long labels make the oldest go before the ring is full."""
    monkeypatch.setattr(module, "LABEL_BYTES_MAX", 100)
    ring = ExemplarRing(50)
    for i in range(30):
        take(ring, Exemplar(i, (("trace", "x" * 14),), 1.0, i))
    assert ring.figures().count == 5
    assert ring.refs().tolist() == [25, 26, 27, 28, 29]


def test_exemplars_are_found_by_matchers_and_survive_everything():
    """Any set of matchers, a range of time; after restarts, checkpoints and cuts they are the same."""
    disk = MemDisk()
    engine = open_engine(disk)
    one, two = labels("m", i="1"), labels("n", i="2")
    for i in range(40):
        now = START_MS + i * 10_000
        append(engine, [(one, now, 1.0)], [(one, (("trace", str(i)),), 0.5, now), (two, A, float(i), now)])
    maintain_all(engine, START_MS)
    assert engine.statistics().cuts_total >= 1
    found = engine.exemplars([[name_is("m")], [equal("i", "2")], [equal("i", "1")]], START_MS, START_MS + 20_000)
    assert [(s.series, len(s.exemplars)) for s in found] == [(one, 3), (two, 3)]
    assert engine.exemplars([[name_is("m")]], START_MS + 1, START_MS + 2) == []
    assert engine.exemplars([], *EVER) == []
    before = exemplars_of(engine)
    for _ in range(2):
        engine.close()
        engine = open_engine(disk)
        assert exemplars_of(engine) == before
    figures = engine.statistics()
    assert (figures.exemplars_stored, figures.exemplar_series) == (80, 2)
    assert figures.exemplars_max == OPTIONS.exemplars_max


def test_refused_exemplars_are_counted_and_lose_nothing_else():
    """The samples of the batch stay, and so do its other exemplars."""
    engine = open_engine(MemDisk())
    one = labels("m")
    bad = (one, (("trace", "x" * 200),), 1.0, START_MS)
    assert append(engine, [], [(one, A, 1.0, START_MS)]).exemplars_stored == 1
    late = (one, A, 1.0, START_MS - 5)
    result = append(engine, [(one, START_MS, 1.0)], [bad, late, (one, A, 2.0, START_MS)])
    assert (result.stored, result.exemplars_stored) == (1, 1)
    assert result.exemplars_refused == {ExemplarRefused.LABELS_TOO_LONG: 1, ExemplarRefused.OUT_OF_ORDER: 1}
    assert engine.statistics().exemplars_refused_total == {"labels_too_long": 1, "out_of_order": 1}
    engine.set_exemplars_max(0)
    assert exemplars_of(engine) == {}
    assert append(engine, [], [(one, A, 2.0, START_MS)]).exemplars_refused == {ExemplarRefused.DISABLED: 1}
