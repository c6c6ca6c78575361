"""The statements of InfluxQL that clients send before they write, answered as an InfluxDB without any points would.

Databases and retention policies need not be made: whatever a client names is there.  To query there is PromQL.
Source: the InfluxDB 1.8 documentation, "Manage your database" and "Explore your schema".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from ...web.problem import HttpError

STATEMENTS_MAX: Final = 100
"""Statements of one request."""

_DATABASES: Final = re.compile(r"SHOW\s+DATABASES", re.IGNORECASE)
_POLICIES: Final = re.compile(r"SHOW\s+RETENTION\s+POLICIES(?:\s.+)?", re.IGNORECASE | re.DOTALL)
_POLICY_COLUMNS: Final = ["name", "duration", "shardGroupDuration", "replicaN", "default"]
_POLICY: Final = ["autogen", "0s", "168h0m0s", 1, True]
"""The one that InfluxDB makes by itself for each database: it keeps points for ever."""
_MAKING: Final = re.compile(
    r"(?:CREATE\s+DATABASE|(?:CREATE|ALTER)\s+RETENTION\s+POLICY)\s.+", re.IGNORECASE | re.DOTALL
)
_EMPTY: Final = re.compile(
    r"SHOW\s+(?:MEASUREMENTS|SERIES|(?:TAG|FIELD)\s+KEYS|TAG\s+VALUES|USERS|CONTINUOUS\s+QUERIES)(?:\s.+)?",
    re.IGNORECASE | re.DOTALL,
)


def answer_statements(text: str, databases: Sequence[str]) -> list[dict[str, Any]]:
    """Return the result of each statement; raises `HttpError` 400 for one that is not among them."""
    statements = [statement.strip() for statement in text.split(";") if statement.strip()]
    if len(statements) > STATEMENTS_MAX:
        raise HttpError(400, f"more than {STATEMENTS_MAX} statements")
    return [{"statement_id": i, **_answer(statement, databases)} for i, statement in enumerate(statements)]


def _answer(statement: str, databases: Sequence[str]) -> dict[str, Any]:
    if _DATABASES.fullmatch(statement):
        return {"series": [{"name": "databases", "columns": ["name"], "values": [[name] for name in databases]}]}
    if _POLICIES.fullmatch(statement):
        return {"series": [{"columns": _POLICY_COLUMNS, "values": [_POLICY]}]}
    if _MAKING.fullmatch(statement) or _EMPTY.fullmatch(statement):
        return {}
    raise HttpError(400, "only CREATE DATABASE, SHOW DATABASES and their like are answered; query with PromQL")
