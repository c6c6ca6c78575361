"""The files named in `scrape_failure_log_file`: a line of JSON for each failed scrape.

Keys are those of Prometheus (its JSON logger with `job_name` and `target`), but for the place in its source.
"""

from __future__ import annotations

import json

from ...log_files import LogFiles, log_time


class FailureLog(LogFiles):
    """All failure log files of an agent; `run` is a task beside the pools."""

    def __init__(self) -> None:
        super().__init__("failed scrapes")

    def note(self, file: str, job: str, target: str, error: str, at_ms: int) -> None:
        """Add a line for a failed scrape."""
        entry = {"time": log_time(at_ms), "level": "ERROR", "msg": error, "job_name": job, "target": target}
        self.add(file, json.dumps(entry, ensure_ascii=False).encode())
