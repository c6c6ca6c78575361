"""The steps between those who send samples and the storage, in the order of the plugins.

Whatever leaves a step must be numbered for good.  Stand-ins (`model/gate.py`) are taken out by the limits, which come first; a
step that numbers series itself and lets the gate decide on them would bring others in, and those behind it would take them for
numbers of series that nobody has.  So the refs that a step has changed are looked at: one maximum for a batch, and exemplars.
And a batch whose columns are not equally long, which the storage could not be trusted to survive, fails here alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..abc import Processor
from ..errors import PluginError
from ..model.batch import Batch
from ..model.gate import STAND_INS


def processed(processors: Sequence[Processor], batch: Batch) -> Batch:
    """Return what the steps make of a batch; raises `PluginError` that names who lets in stand-ins, or made a ragged batch."""
    for processor in processors:
        made = processor.process(batch)
        if made.refs is not batch.refs and int(made.refs.max(initial=0)) >= STAND_INS:
            raise PluginError(_fault(processor, np.count_nonzero(made.refs >= STAND_INS), "samples"))
        if made.exemplars is not batch.exemplars and (stand_ins := made.exemplar_refs() >= STAND_INS).any():
            raise PluginError(_fault(processor, np.count_nonzero(stand_ins), "exemplars"))
        batch = made
    if not len(batch.refs) == len(batch.timestamps_ms) == len(batch.values):
        lengths = f"{len(batch.refs)} refs, {len(batch.timestamps_ms)} timestamps and {len(batch.values)} values"
        raise PluginError(f"a batch of {batch.origin or 'an unknown origin'} has {lengths}")
    return batch


def _fault(processor: Processor, count: np.intp, what: str) -> str:
    kind = type(processor)
    return (
        f"the processor {processor.name!r} ({kind.__module__}.{kind.__qualname__}) returned"
        f" {count} {what} of series that are beyond a limit:"
        " it must number series with gated=False"
    )
