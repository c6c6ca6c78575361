"""What looking at a data directory found: one value a finding, in words for an operator and as data for a program."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from attrs import define, field, frozen


class Severity(StrEnum):
    """How bad it is."""

    NORMAL = "normal"
    """As is expected after a crash; the next start tidies it up."""
    DAMAGE = "damage"
    """Something that was stored cannot be read."""


@frozen
class Finding:
    """One thing found.  offset: byte in the file, -1 where the whole file is meant."""

    severity: Severity
    file: str
    offset: int
    problem: str
    lost: str = ""
    """What cannot be read because of it, "" when nothing is lost."""
    advice: str = ""

    def __str__(self) -> str:
        where = self.file if self.offset < 0 else f"{self.file} at byte {self.offset}"
        more = "".join(f"; {text}" for text in (self.lost and f"lost: {self.lost}", self.advice) if text)
        return f"{self.severity}: {where}: {self.problem}{more}"


@define
class VerifyReport:
    """The result of `verify.verify_directory`."""

    findings: list[Finding] = field(factory=list)
    segments: int = 0
    """Segments looked at."""
    series: int = 0
    """Series in them, those in several counted several times."""
    samples: int = 0
    """Samples in segments."""
    log_files: int = 0
    """Log files looked at."""
    log_records: int = 0
    """Records in them."""
    log_samples: int = 0
    """Samples in them."""
    bytes: int = 0
    """Bytes looked at."""

    @property
    def damage(self) -> Sequence[Finding]:
        """The findings that are damage."""
        return [f for f in self.findings if f.severity is Severity.DAMAGE]
