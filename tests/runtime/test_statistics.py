"""The naming rule that turns statistics into metrics."""

from __future__ import annotations

import ast
from types import SimpleNamespace

from attrs import field, frozen
from watched_lock import WatchedLock

from tinyobs.model.families import MetricFamily, Point, gauge
from tinyobs.model.metadata import MetricType
from tinyobs.runtime import statistics as statistics_module
from tinyobs.runtime.gather import process_families
from tinyobs.runtime.statistics import families, field_docs


@frozen
class Example:
    """An example."""

    depth: int
    """How deep
    it is."""
    lag_ms: int
    """How late."""
    seen_total: int
    """How many."""
    by_reason: dict[str, int] = field(factory=dict, metadata={"label": "reason"})
    """By reason."""
    by_two: dict[tuple[str, str], int] = field(factory=dict, metadata={"label": ("a", "b")})
    known: float = field(default=1.5, metadata={"metric": "prometheus_known"})
    """A known name."""
    ready: list[MetricFamily] = field(factory=list)
    nothing: int | None = None


def test_names_types_and_help_follow_the_fields():
    """`_total` makes a counter, `_ms` seconds, a docstring the help, a mapping labels, metadata another name."""
    statistics = Example(3, 1500, 7, {"x": 1}, {("1", "2"): 5}, ready=[gauge("other", "Help.", 2)])
    found = {f.name: f for f in families("part", statistics)}
    assert set(found) == {
        "tinyobs_part_depth",
        "tinyobs_part_lag_seconds",
        "tinyobs_part_seen_total",
        "tinyobs_part_by_reason",
        "tinyobs_part_by_two",
        "prometheus_known",
        "other",
    }
    assert found["tinyobs_part_depth"].help == "How deep it is."
    assert found["tinyobs_part_lag_seconds"].points == (Point(1.5),)
    assert found["tinyobs_part_seen_total"].type is MetricType.COUNTER
    assert found["tinyobs_part_by_reason"].points == (Point(1.0, (("reason", "x"),)),)
    assert found["tinyobs_part_by_two"].points == (Point(5.0, (("a", "1"), ("b", "2"))),)


def test_a_table_may_give_known_names():
    """Names that dashboards know come from the caller, and keep their unit."""
    found = families("part", Example(3, 1500, 7), {"lag_ms": "prometheus_lag"})
    assert {f.name: f.points[0].value for f in found if f.points}["prometheus_lag"] == 1500


def test_docs_of_a_class_without_source_are_empty():
    """No source, no help, no failure."""
    assert field_docs(type("Made", (), {})) == {}


def test_sources_are_read_by_one_thread_at_a_time(monkeypatch):
    """Python cannot make two syntax trees at once; `/metrics` and the stored metrics are gathered in two threads."""

    @frozen
    class Other:
        """Another class whose source is read."""

        size: int
        """How large."""

    lock, active, most, parse = WatchedLock(), [], [], ast.parse

    def watched(source):
        active.append(source)
        most.append(len(active))
        if not lock.threads:
            lock.meanwhile(lambda: field_docs(Other))
        try:
            return parse(source)
        finally:
            active.pop()

    monkeypatch.setattr(statistics_module, "_parsing", lock)
    monkeypatch.setattr(statistics_module, "ast", SimpleNamespace(**{**vars(ast), "parse": watched}))
    assert field_docs.__wrapped__(Example)["depth"] == "How deep it is."
    lock.join()
    assert field_docs(Other) == {"size": "How large."}
    assert max(most) == 1


def test_the_process_tells_what_every_client_library_tells():
    """The standard names of a process are there, each with help."""
    found = {f.name: f for f in process_families()}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"} <= set(found)
    assert all(f.help for f in found.values())
    assert found["process_resident_memory_bytes"].points[0].value > 1e6
