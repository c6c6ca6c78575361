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
    head_native_samples_appended_total: int
    """Samples accepted that are native histograms."""
    exemplars_appended_total: int
    """Exemplars accepted."""
    exemplars_refused_total: Mapping[str, int] = field(metadata={"label": "reason"})
    """Exemplars refused, by reason."""
    exemplars_stored: int = field(metadata={"metric": "prometheus_tsdb_exemplar_exemplars_in_storage"})
    """Exemplars kept now."""
    exemplar_series: int = field(metadata={"metric": "prometheus_tsdb_exemplar_series_with_exemplars_in_storage"})
    """Series with exemplars kept now."""
    exemplars_max: int = field(metadata={"metric": "prometheus_tsdb_exemplar_max_exemplars"})
    """Exemplars that are kept at most."""
    exemplar_newest_time_ms: int
    """Time of the exemplar that came last, in ms; 0 when there is none."""
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
    log_kept_files: int
    """Log files kept only for cursors."""
    log_kept_bytes: int
    """Their bytes."""
    log_cursor_behind_bytes: Mapping[str, int] = field(metadata={"label": "cursor"})
    """Bytes of the log that a cursor has still to read."""
    log_cursor_lost_samples_total: Mapping[str, int] = field(metadata={"label": "cursor"})
    """Samples that a cursor missed because the log had outgrown its limits."""
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
    segment_bytes_by_tier: Mapping[str, int] = field(metadata={"label": "tier"})
    """Bytes of live segments, by the distance of their samples; `raw` as they were stored."""
    segments_missing: int
    """Live segments whose file somebody removed; they can be read until restart."""
    segments_adopted_total: int
    """Segments of imports that were taken over."""
    incoming_rejected_total: int
    """Files of imports that were put aside because they are no sound segments."""
    deletes: int
    """Deletes whose samples still take up space."""
    deletes_total: int
    """Deletes since the start."""
    job_share: Mapping[str, float] = field(metadata={"label": "kind"})
    """The background job that runs, and the share of its work that is done, 0 to 1; nothing when none runs."""
    jobs_total: Mapping[str, int] = field(metadata={"label": "kind"})
    """Background jobs completed."""
    jobs_aborted_total: Mapping[str, int] = field(metadata={"label": "kind"})
    """Background jobs given up, because the disk failed or a delete came; they are done again."""
    job_seconds_total: Mapping[str, float] = field(metadata={"label": "kind"})
    """Time that background jobs took from the writer."""
    job_cpu_seconds_total: Mapping[str, float] = field(metadata={"label": "kind"})
    """CPU time of background jobs."""
    job_slice_seconds_max: Mapping[str, float] = field(metadata={"label": "kind"})
    """The longest that a background job kept the writer from storing samples at a time."""
    job_samples_read_total: Mapping[str, int] = field(metadata={"label": "kind"})
    """Samples read by background jobs."""
    job_samples_written_total: Mapping[str, int] = field(metadata={"label": "kind"})
    """Samples written by background jobs."""
    job_bytes_before_total: Mapping[str, int] = field(metadata={"label": "kind"})
    """Bytes of the segments that background jobs replaced or dropped."""
    job_bytes_after_total: Mapping[str, int] = field(metadata={"label": "kind"})
    """Bytes of the segments that background jobs made."""
    cuts_total: int
    """Cuts of the head into segments that were completed."""
    compactions_total: int
    """Merges of segments that were completed."""
    maintenance_failures_total: int
    """Background jobs given up because the disk failed, and other trouble met on the way; they are tried again."""
    segments_dropped_total: int
    """Segments removed by retention."""
    time_retentions_total: int
    """How often segments were removed because of their age."""
    size_retentions_total: int
    """How often segments were removed because of the size of all."""
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
