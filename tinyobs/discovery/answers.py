"""Reads values out of JSON that a server sent: what is missing is empty, what is of another type is an error.

Every source of targets answers with objects of which a discovery wants some texts, and nobody promises that a server
(or what stands in its place) sends them; a wrong type must keep the last good targets, not crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .refreshing import DiscoveryError


class Fields:
    """A JSON object; `where` names it in errors."""

    def __init__(self, value: Any, where: str = "the answer") -> None:
        """Raises `DiscoveryError` when it is no object; null counts as an empty one."""
        if not isinstance(value, dict | None):
            raise DiscoveryError(f"{where} is no object but {_kind(value)}")
        self.values: Mapping[str, Any] = value or {}
        self.where = where

    def __contains__(self, key: str) -> bool:
        """Tell whether a key is there and not null."""
        return self.values.get(key) is not None

    def text(self, key: str) -> str:
        """Return a text, "" when it is missing."""
        value = self.values.get(key)
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        raise self._mistake(key, "a text")

    def number(self, key: str) -> int:
        """Return a whole number, 0 when it is missing."""
        value = self.values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is None:
            return 0
        raise self._mistake(key, "a whole number")

    def flag(self, key: str) -> bool:
        """Return a truth value, False when it is missing."""
        value = self.values.get(key)
        if isinstance(value, bool | None):
            return bool(value)
        raise self._mistake(key, "true or false")

    def texts(self, key: str) -> list[str]:
        """Return a list of texts, [] when it is missing."""
        value = self.values.get(key)
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            return value
        raise self._mistake(key, "a list of texts")

    def pairs(self, key: str) -> dict[str, str]:
        """Return an object of texts, {} when it is missing."""
        value = self.values.get(key)
        if value is None:
            return {}
        if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
            return value
        raise self._mistake(key, "an object of texts")

    def fields(self, key: str) -> Fields:
        """Return an object, an empty one when it is missing."""
        return Fields(self.values.get(key), f"{key} of {self.where}")

    def items(self, key: str) -> list[Fields]:
        """Return a list of objects, [] when it is missing."""
        return objects(self.values.get(key), f"{key} of {self.where}")

    def _mistake(self, key: str, wanted: str) -> DiscoveryError:
        return DiscoveryError(f"{key} of {self.where} is not {wanted} but {_kind(self.values[key])}")


def objects(value: Any, where: str = "the answer") -> list[Fields]:
    """Return a list of objects, [] for null; raises `DiscoveryError` when it is none."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise DiscoveryError(f"{where} is no list but {_kind(value)}")
    return [Fields(v, f"item {i} of {where}") for i, v in enumerate(value)]


def _kind(value: Any) -> str:
    """Name what a value is; not the value, which may be long or secret."""
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
    return names.get(type(value), "null" if value is None else "a number")
