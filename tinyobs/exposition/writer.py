"""Metric families -> a body in whatever format was negotiated."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.families import MetricFamily
from .formats import Format
from .negotiate import Answer
from .writer_openmetrics import write_openmetrics
from .writer_protobuf import write_protobuf
from .writer_text import write_text


def write(families: Iterable[MetricFamily], answer: Answer) -> bytes:
    """Return the families in the format of `answer`; families of one name must have been merged."""
    if answer.format is Format.PROTOBUF:
        return write_protobuf(families, answer.escaping)
    if answer.format.is_openmetrics:
        return write_openmetrics(families, answer.escaping)
    return write_text(families, answer.escaping)
