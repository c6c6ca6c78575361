"""Limits on what may be stored, whichever way it comes in: the shape of series, their number, and the values of their labels.

A new series is decided on when it is about to be numbered (`decisions.py`, the gate of the registry), so that one that is refused
leaves nothing behind; its samples are taken out, or folded into a sum, by the processor (`processor.py`).  docs/limits.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import Processor, Services
from ...hookspecs import hookimpl
from .processor import Limits as Limits


@hookimpl(tryfirst=True)
def tinyobs_processors(services: Services) -> Sequence[Processor]:
    """Return the one processor; it stands before those of other plugins, which need not know of stand-ins then."""
    return [Limits(services)]
