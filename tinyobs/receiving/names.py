"""What receivers do with names of other systems: a setting that several of them have."""

from __future__ import annotations

from enum import StrEnum


class Names(StrEnum):
    """What becomes of characters that names of Prometheus could not have before its version 3."""

    UNDERSCORES = "underscores"
    KEEP = "keep"

    @classmethod
    def _missing_(cls, value: object) -> Names | None:
        return cls.KEEP if value == "utf-8" else None  # what keeping them was called in the section `influx`
