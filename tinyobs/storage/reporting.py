"""The engine's figures, collected: statistics for metrics and cardinality for /api/v1/status/tsdb."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .engine_statistics import CardinalityReport, EngineStatistics

if TYPE_CHECKING:
    from .engine import Engine


def report_statistics(engine: Engine, free_bytes: int) -> EngineStatistics:
    """Return the statistics; to be called under the engine's lock."""
    head, wal, upkeep, counts = engine.head, engine.wal, engine.upkeep, engine.counts
    recovered, entries = engine.recovered, engine.segments.entries
    has_head = head.max_ms >= head.min_ms
    low = min([head.min_ms, *(c.min_ms for c in head.frozen), *(e.mint_ms for e in entries)])
    high = max([head.max_ms, *(c.max_ms for c in head.frozen), *(e.maxt_ms for e in entries)])
    return EngineStatistics(
        head_series=head.series_count,
        head_chunks=len(head.chunks) + len(head.frozen),
        head_chunk_bytes=head.chunk_bytes + sum(c.nbytes for c in head.frozen),
        head_samples=head.sample_count,
        head_min_time_ms=head.min_ms if has_head else 0,
        head_max_time_ms=head.max_ms if has_head else 0,
        head_samples_appended_total=counts.stored,
        samples_repeated_total=counts.repeated,
        samples_refused_total=dict(counts.refused),
        head_series_created_total=counts.created,
        head_series_removed_total=head.series_removed,
        exemplars_appended_total=0,
        wal_written_bytes_total=wal.statistics.written_bytes,
        wal_fsyncs_total=wal.statistics.fsync_count,
        wal_fsync_seconds_total=wal.statistics.fsync_seconds,
        wal_failures_total=wal.statistics.failure_count,
        wal_file=wal.sequence,
        disk_full_total=wal.statistics.disk_full_count,
        read_only=int(bool(wal.failure)),
        segments=len(entries),
        segment_bytes=sum(e.bytes for e in entries),
        segment_samples=sum(e.samples for e in entries),
        cuts_total=upkeep.cut_count,
        compactions_total=upkeep.merge_count,
        maintenance_failures_total=upkeep.failure_count,
        segments_dropped_total=upkeep.dropped_count,
        corruptions_total=upkeep.corruption_count,
        replay_seconds=recovered.seconds,
        replay_samples=recovered.report.sample_count,
        replay_torn_bytes=recovered.report.torn_bytes,
        unlisted_files_removed=len(recovered.removed),
        min_time_ms=low if high >= low else 0,
        max_time_ms=high if high >= low else 0,
        free_bytes=free_bytes,
    )


def report_cardinality(engine: Engine, top: int) -> CardinalityReport:
    """Return the largest metrics, labels and pairs among the series known to this process."""
    statistics = engine.statistics()
    indexes = list(engine.index.indexes())
    found = [i.cardinality(top * 10) for i in indexes]
    return CardinalityReport(
        series_count=statistics.head_series,
        label_pair_count=engine.registry.pair_count,
        chunk_count=statistics.head_chunks,
        min_time_ms=statistics.head_min_time_ms,
        max_time_ms=statistics.head_max_time_ms,
        series_by_metric=_top(top, [c.series_by_metric for c in found]),
        values_by_label=_top(top, [c.values_by_label for c in found]),
        bytes_by_label=_top(top, [c.bytes_by_label for c in found]),
        series_by_pair=_top(top, [c.series_by_pair for c in found]),
    )


def _top(count: int, lists: list[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    total: Counter[str] = Counter()
    for entries in lists:
        total.update(dict(entries))
    return total.most_common(count)
