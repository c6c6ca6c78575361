"""What a query tells the storage of its purpose."""

from __future__ import annotations

from attrs import frozen


@frozen
class SelectHints:
    """What the asker will do with the samples, so that coarser ones may serve (docs/format/tiers.md).

    function: the PromQL function over ranges ("rate", "avg_over_time", ...), "" for instant selectors, "[]" for the
    samples as such.  first_ms: the first moment of evaluation, offset and `@` in it.  step_ms: time between two
    evaluations, 0 for one.  range_ms: width of the range, or the lookback.  resolution_ms: the tier that is wanted (0
    raw), None lets the storage choose.
    """

    function: str = ""
    first_ms: int = 0
    step_ms: int = 0
    range_ms: int = 0
    resolution_ms: int | None = None
