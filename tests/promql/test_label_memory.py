"""What is remembered of label sets."""

from __future__ import annotations

from tinyobs.promql import label_memory
from tinyobs.promql.label_memory import LabelMemory


def sets(n: int, first: int = 0):
    """Return label sets."""
    return [(("a", str(i)),) for i in range(first, first + n)]


def test_the_same_labels_are_worked_through_once():
    """Only the very same object is found again; an equal one is worked through anew."""
    memory, calls = LabelMemory(), []
    labels = sets(100)
    for given in (labels, labels, list(labels)):
        assert memory.get(given, "count", lambda x: calls.append(1) or len(x)) == 100
    assert len(calls) == 2
    assert memory.get(labels, "other", len) == 100


def test_few_labels_are_not_remembered():
    """Finding them would take as long as doing it again."""
    memory, calls = LabelMemory(), []
    labels = sets(label_memory.SERIES_MIN - 1)
    for _ in range(2):
        memory.get(labels, "count", lambda x: calls.append(1))
    assert len(calls) == 2


def test_what_is_remembered_is_bounded(monkeypatch):
    """What was not asked for longest goes first."""
    monkeypatch.setattr(label_memory, "SERIES_MAX", 250)
    memory, calls = LabelMemory(), []
    lists = [sets(100, 1000 * i) for i in range(3)]

    def ask(i: int) -> None:
        memory.get(lists[i], "count", lambda x: calls.append(i))

    for i in (0, 1, 0, 2):
        ask(i)
    ask(0)
    assert calls == [0, 1, 2]
    ask(1)
    assert calls == [0, 1, 2, 1]
