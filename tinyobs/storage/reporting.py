"""The engine's figures, collected: statistics for metrics, and its segments for the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..model.blocks import StoredBlock
from ..model.durations import format_duration
from .engine_statistics import EngineStatistics
from .manifest import SegmentEntry
from .masking import MaskedReader
from .segment_reader import SegmentReader

if TYPE_CHECKING:
    from .engine import Engine
    from .log_keeping import LogKeepingStatistics
    from .upkeep import Upkeep
    from .wal_writer import WalStatistics


def report_statistics(engine: Engine, free_bytes: int, followed: LogKeepingStatistics) -> EngineStatistics:
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
        head_native_samples_appended_total=counts.histograms,
        exemplars_appended_total=counts.exemplars_stored,
        exemplars_refused_total=dict(counts.exemplars_refused),
        **_of_exemplars(engine),
        **_of_log(wal.statistics),
        **of_cursors(followed),
        wal_file=wal.sequence,
        read_only=int(bool(wal.failure)),
        segments=len(entries),
        segment_bytes=sum(e.bytes for e in entries),
        segment_samples=sum(e.samples for e in entries),
        segment_bytes_by_tier=_bytes_by_tier(entries),
        deletes=len(engine.segments.deletes),
        **_of_upkeep(upkeep),
        **_of_jobs(upkeep),
        replay_seconds=recovered.seconds,
        replay_samples=recovered.report.sample_count,
        replay_torn_bytes=recovered.report.torn_bytes,
        unlisted_files_removed=len(recovered.removed),
        min_time_ms=low if high >= low else 0,
        max_time_ms=high if high >= low else 0,
        free_bytes=free_bytes,
    )


def _of_exemplars(engine: Engine) -> dict[str, Any]:
    """Return the fields about exemplars that are kept."""
    figures = engine.exemplar_ring.figures()
    return {
        "exemplars_stored": figures.count,
        "exemplar_series": figures.series,
        "exemplars_max": figures.size_max,
        "exemplar_newest_time_ms": figures.newest_ms,
    }


def _of_log(wal: WalStatistics) -> dict[str, Any]:
    """Return the fields about writing the log."""
    return {
        "wal_written_bytes_total": wal.written_bytes,
        "wal_fsyncs_total": wal.fsync_count,
        "wal_fsync_seconds_total": wal.fsync_seconds,
        "wal_failures_total": wal.failure_count,
        "disk_full_total": wal.disk_full_count,
    }


def of_cursors(followed: LogKeepingStatistics) -> dict[str, Any]:
    """Return the fields about cursors and what is kept for them."""
    return {
        "log_kept_files": followed.kept_files,
        "log_kept_bytes": followed.kept_bytes,
        "log_cursor_behind_bytes": followed.behind_bytes,
        "log_cursor_lost_samples_total": followed.lost_samples,
    }


def _bytes_by_tier(entries: Sequence[SegmentEntry]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for e in entries:
        total[format_duration(e.tier_ms) if e.tier_ms else "raw"] += e.bytes
    return dict(total)


def _of_upkeep(upkeep: Upkeep) -> dict[str, Any]:
    """Return the fields about what upkeep has done and met."""
    return {
        "segments_missing": len(upkeep.missing),
        "segments_adopted_total": upkeep.counts.adopted,
        "incoming_rejected_total": upkeep.counts.rejected,
        "deletes_total": upkeep.counts.deletes,
        "cuts_total": upkeep.ledger.of("cut").finished,
        "compactions_total": upkeep.ledger.of("merge").finished,
        "maintenance_failures_total": upkeep.failure_count,
        "segments_dropped_total": upkeep.counts.dropped,
        "time_retentions_total": upkeep.counts.by_time,
        "size_retentions_total": upkeep.counts.by_size,
        "corruptions_total": upkeep.corruption_count,
    }


def _of_jobs(upkeep: Upkeep) -> dict[str, Any]:
    """Return the fields about jobs, by kind."""
    job, kinds = upkeep.job, dict(upkeep.ledger.kinds)
    return {
        "job_share": {job.kind: job.work.share} if job is not None else {},
        "jobs_total": {k: c.finished for k, c in kinds.items()},
        "jobs_aborted_total": {k: c.aborted for k, c in kinds.items()},
        "job_seconds_total": {k: c.seconds for k, c in kinds.items()},
        "job_cpu_seconds_total": {k: c.cpu_seconds for k, c in kinds.items()},
        "job_slice_seconds_max": {k: c.slice_seconds_max for k, c in kinds.items()},
        "job_samples_read_total": {k: c.samples_read for k, c in kinds.items()},
        "job_samples_written_total": {k: c.samples_written for k, c in kinds.items()},
        "job_bytes_before_total": {k: c.bytes_before for k, c in kinds.items()},
        "job_bytes_after_total": {k: c.bytes_after for k, c in kinds.items()},
    }


def report_blocks(pairs: Sequence[tuple[SegmentEntry, SegmentReader]]) -> list[StoredBlock]:
    """Return segments as the API shows them, oldest first: a page is a chunk; levels of raw segments count from 1."""
    ordered = sorted(pairs, key=lambda p: (p[0].mint_ms, p[0].sequence))
    return [
        StoredBlock(
            number=e.sequence,
            level=1 if e.tier_ms else 1 + e.level,
            mint_ms=e.mint_ms,
            maxt_ms=e.maxt_ms,
            series=e.series,
            samples=e.samples,
            chunks=len((reader.inner if isinstance(reader, MaskedReader) else reader).pages),
            bytes=e.bytes,
            tier_ms=e.tier_ms,
        )
        for e, reader in ordered
    ]
