"""Which backups to keep: pure, from their times and a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import frozen

from .backup_format import Backup


@frozen
class KeepPolicy:
    """How many to keep: the newest ones, and the newest of each of so many days, weeks and months (UTC)."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether it would keep nothing."""
        return not (self.last or self.daily or self.weekly or self.monthly)


def kept_backups(backups: Sequence[Backup], policy: KeepPolicy) -> set[str]:
    """Return the names of the backups to keep.  Days, weeks and months without a backup do not count."""
    newest_first = sorted(backups, key=lambda b: b.created_ms, reverse=True)
    kept = {b.name for b in newest_first[: policy.last]}
    periods: Sequence[tuple[int, Callable[[datetime], object]]] = (
        (policy.daily, lambda t: t.date()),
        (policy.weekly, lambda t: t.isocalendar()[:2]),
        (policy.monthly, lambda t: (t.year, t.month)),
    )
    for count, period_of in periods:
        seen: set[object] = set()
        for b in newest_first:
            period = period_of(datetime.fromtimestamp(b.created_ms / 1000, UTC))
            if period not in seen and len(seen) < count:
                kept.add(b.name)
                seen.add(period)
    return kept
