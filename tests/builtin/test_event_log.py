"""What happens to parts of the agent is in the log, at a level that fits."""

from __future__ import annotations

import numpy as np
from structlog.testing import capture_logs

from tinyobs.builtin import event_log
from tinyobs.model.batch import AppendResult, Batch, Refused
from tinyobs.storage.segment_format import SegmentInfo


def test_a_status_with_a_reason_is_a_warning():
    """A crash is worth a look, an ordinary change is not."""
    with capture_logs() as logs:
        event_log.tinyobs_component_status("scrape", "backing_off", "OSError: no")
        event_log.tinyobs_component_status("scrape", "running", "")
    assert logs == [
        {"event": "component status", "component": "scrape", "status": "backing_off", "reason": "OSError: no", "log_level": "warning"},
        {"event": "component status", "component": "scrape", "status": "running", "log_level": "debug"},
    ]  # fmt: skip


def test_refused_samples_are_logged_with_their_reasons():
    """A batch without any makes no line."""
    batch = Batch(np.zeros(3, np.uint32), np.zeros(3, np.int64), np.zeros(3), "push")
    with capture_logs() as logs:
        event_log.tinyobs_batch_committed(batch, AppendResult(3))
        event_log.tinyobs_batch_committed(batch, AppendResult(1, {Refused.TOO_OLD: 2}))
    assert logs == [{"event": "samples refused", "origin": "push", "stored": 1, "too_old": 2, "log_level": "warning"}]


def test_a_segment_is_logged_with_its_figures():
    """Each field is a key of the line; what is no attrs object is shown as text."""
    info = SegmentInfo("segments/00000001.seg", 0, 1, 2, 3, 4, 5)
    with capture_logs() as logs:
        event_log.tinyobs_segment_sealed(info.name, info)
        event_log.tinyobs_segment_sealed("other", 7)
    assert logs[0]["name"] == "segments/00000001.seg"
    assert (logs[0]["series_count"], logs[0]["sample_count"], logs[0]["bytes"]) == (3, 4, 5)
    assert logs[1] == {"event": "segment sealed", "name": "other", "statistics": "7", "log_level": "info"}
