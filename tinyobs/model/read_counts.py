"""What reading samples costs, counted for who asks (`abc.Selection.count_reads`)."""

from __future__ import annotations

from attrs import define


@define
class ReadCounts:
    """What reading has cost: pages decoded, and how often the cache had what was wanted."""

    pages: int = 0
    cache_hits: int = 0
