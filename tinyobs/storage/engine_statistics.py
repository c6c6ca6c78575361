"""What the engine counts: a frozen object with a docstring per field, and the figures of /api/v1/status/tsdb."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class EngineStatistics:
    """Figures of the storage engine at one moment; names that end in `_total` count since the start."""

    head_series: int
    """Live series: those with a sample since the last cut or within the time kept for ordering."""
    head_chunks: int
    """Sealed chunks in memory."""
    head_chunk_bytes: int
    """Bytes of sealed chunks in memory."""
    head_samples: int
    """Samples in memory."""
    head_min_time_ms: int
    """Oldest time in memory, in ms; 0 when the head is empty."""
    head_max_time_ms: int
    """Newest time in memory, in ms; 0 when the head is empty."""
    head_samples_appended_total: int
    """Samples accepted."""
    samples_repeated_total: int
    """Samples that repeated a stored one exactly and were not stored again."""
    samples_refused_total: Mapping[str, int] = field(metadata={"label": "reason"})
    """Samples refused, by reason."""
    head_series_created_total: int
    """Series that entered the head."""
    head_series_removed_total: int
    """Series that left the head."""
    exemplars_appended_total: int
    """Exemplars stored; this version stores none."""
    wal_written_bytes_total: int
    """Bytes appended to the log."""
    wal_fsyncs_total: int
    """Calls of fsync on the log."""
    wal_fsync_seconds_total: float
    """Seconds spent in fsync on the log."""
    wal_failures_total: int
    """Failed writes and fsyncs of the log; the first one ends ingestion until restart."""
    wal_file: int
    """Number of the log file being written."""
    disk_full_total: int
    """Appends refused because the disk was full."""
    read_only: int
    """1 when a failure ended ingestion until restart."""
    segments: int
    """Live segments."""
    segment_bytes: int
    """Bytes of live segments."""
    segment_samples: int
    """Samples in live segments."""
    cuts_total: int
    """Cuts of the head into segments that were completed."""
    compactions_total: int
    """Merges of segments that were completed."""
    maintenance_failures_total: int
    """Cuts, merges and removals given up because the disk failed; they are tried again."""
    segments_dropped_total: int
    """Segments removed by retention."""
    corruptions_total: int
    """Damage met in segments, by queries and by merges."""
    replay_seconds: float
    """Time that the start took for the log."""
    replay_samples: int
    """Samples read from the log at the start."""
    replay_torn_bytes: int
    """Bytes cut off the end of the log at the start: written, but never acknowledged."""
    unlisted_files_removed: int
    """Unfinished or replaced files removed at the start."""
    min_time_ms: int
    """Oldest time stored, in ms; 0 when nothing is."""
    max_time_ms: int
    """Newest time stored, in ms; 0 when nothing is."""
    free_bytes: int
    """Free space of the file system, in bytes."""


@frozen
class CardinalityReport:
    """What /api/v1/status/tsdb shows.  Lists are (name, figure), largest first."""

    series_count: int
    label_pair_count: int
    chunk_count: int
    min_time_ms: int
    max_time_ms: int
    series_by_metric: list[tuple[str, int]]
    values_by_label: list[tuple[str, int]]
    bytes_by_label: list[tuple[str, int]]
    series_by_pair: list[tuple[str, int]]
