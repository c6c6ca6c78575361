"""Which forms of histograms are read of a target, and since when things count.

Not here: what becomes of histograms with too many or too fine buckets (the scraper's).
"""

from __future__ import annotations

from attrs import frozen


@frozen
class HistogramRules:
    """Which forms of histograms are read.

    native: native histograms; without, a classic one is read of them.  always_classic: the classic form also where there
    is a native one.  convert: classic histograms become native ones with custom buckets.
    """

    native: bool = False
    always_classic: bool = False
    convert: bool = False
