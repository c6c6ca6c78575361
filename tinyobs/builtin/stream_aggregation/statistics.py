"""How the rules fare, by their name or place in the list."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from ...aggregation.engine import Engine

_BY_RULE = {"label": "rule"}


@frozen
class StreamAggregationStatistics:
    """Stream aggregation before storage."""

    rules: int
    """Rules at work."""
    dropped_samples_total: int
    """Samples that were not stored because a rule took them, or all input is dropped."""
    lost_samples_total: int
    """Aggregates that could not be stored for long."""
    refused_samples_total: int
    """Aggregates that the storage refused."""
    matched_samples_total: Mapping[str, int] = field(metadata=_BY_RULE)
    """Samples that were aggregated."""
    ignored_samples_total: Mapping[tuple[str, str], int] = field(metadata={"label": ("rule", "reason")})
    """Samples of matched series that were not: not a number, too old, duplicate, histogram, mixed, no room."""
    output_samples_total: Mapping[str, int] = field(metadata=_BY_RULE)
    """Samples put out."""
    counter_resets_total: Mapping[str, int] = field(metadata=_BY_RULE)
    """Resets of counters."""
    out_of_order_samples_total: Mapping[str, int] = field(metadata=_BY_RULE)
    """Samples of counters that were older than one before."""
    input_series: Mapping[str, int] = field(metadata=_BY_RULE)
    """Input series that are followed."""
    groups: Mapping[str, int] = field(metadata=_BY_RULE)
    """Groups that are followed."""
    flushes_total: Mapping[str, int] = field(metadata=_BY_RULE)
    """Times that a rule finished something."""
    flush_seconds_total: Mapping[str, float] = field(metadata=_BY_RULE)
    """Time that took."""
    late_flushes_total: Mapping[str, int] = field(metadata=_BY_RULE)
    """Times that it took longer than the interval."""


def statistics_of(engine: Engine, lost: int, refused: int) -> StreamAggregationStatistics:
    """Return the statistics of an engine; rules with one name are added up."""
    found: dict[str, dict[str, float]] = {}
    ignored: dict[tuple[str, str], int] = {}
    for a in engine.aggregators:
        counters = [c for c in (a.counters, a.natives) if c is not None]
        of = found.setdefault(a.rule.name, {})
        for key, value in (
            ("matched", a.counts.matched),
            ("output", a.counts.output),
            ("resets", sum(c.resets for c in counters)),
            ("out_of_order", sum(c.out_of_order for c in counters)),
            ("inputs", a.table.inputs),
            ("groups", a.table.groups),
            ("flushes", a.counts.flushes),
            ("seconds", a.counts.flush_seconds),
            ("late", a.counts.late_flushes),
        ):
            of[key] = of.get(key, 0) + value
        for reason, count in a.counts.ignored.items():
            ignored[a.rule.name, reason] = ignored.get((a.rule.name, reason), 0) + count

    def by_rule(key: str) -> dict[str, int]:
        return {name: int(of[key]) for name, of in found.items()}

    return StreamAggregationStatistics(
        rules=len(engine.aggregators),
        dropped_samples_total=engine.dropped,
        lost_samples_total=lost,
        refused_samples_total=refused,
        matched_samples_total=by_rule("matched"),
        ignored_samples_total=ignored,
        output_samples_total=by_rule("output"),
        counter_resets_total=by_rule("resets"),
        out_of_order_samples_total=by_rule("out_of_order"),
        input_series=by_rule("inputs"),
        groups=by_rule("groups"),
        flushes_total=by_rule("flushes"),
        flush_seconds_total={name: of["seconds"] for name, of in found.items()},
        late_flushes_total=by_rule("late"),
    )
