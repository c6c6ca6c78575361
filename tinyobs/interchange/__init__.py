"""Samples as files: CSV, JSON lines, OpenMetrics text, the remote-write stream, Parquet (docs/interchange.md)."""
