"""Metric families as the JSON form of `io.prometheus.client.MetricFamily`, as `/api/v1/status/self_metrics` gives it.

Format: https://protobuf.dev/programming-guides/json/ - names in camelCase, 64-bit integers as texts, enums by name, and
"NaN", "Infinity" and "-Infinity" as texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict

from ..model.families import MetricFamily
from .client_schema import TYPE_NAMES
from .names import Escaping
from .writer_protobuf import message_of


def to_json(families: Iterable[MetricFamily]) -> list[dict[str, Any]]:
    """Return the families as plain values."""
    return [_family(MessageToDict(message_of(f, Escaping.ALLOW_UTF8))) for f in families]


def _family(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a family with its type by name: the tables of messages know no enums."""
    return {**plain, "type": TYPE_NAMES[plain["type"]]}
