"""Writes what happens to parts of the agent to the log."""

from __future__ import annotations

from typing import Any

import structlog
from attrs import asdict, has

from ..hookspecs import hookimpl
from ..model.batch import AppendResult, Batch

log = structlog.get_logger("events")


@hookimpl
def tinyobs_component_status(name: str, status: str, reason: str) -> None:
    """Log a change of status; crashes are logged with their traceback by the supervisor."""
    if reason:
        log.warning("component status", component=name, status=status, reason=reason)
    else:
        log.debug("component status", component=name, status=status)


@hookimpl
def tinyobs_batch_committed(batch: Batch, result: AppendResult) -> None:
    """Log samples that were refused, with their reasons."""
    if result.refused_total:
        reasons = {str(reason): count for reason, count in result.refused.items()}
        log.warning("samples refused", origin=batch.origin, stored=result.stored, **reasons)


@hookimpl
def tinyobs_segment_sealed(name: str, statistics: object) -> None:
    """Log a new segment with its figures."""
    found: Any = statistics
    figures = asdict(found) if has(type(found)) else {"statistics": str(found)}
    log.info("segment sealed", **{**figures, "name": name})
