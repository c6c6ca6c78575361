"""Where the buckets of native histograms begin and end.

Bucket `i` of an exponential schema `s` ends at 2^(i / 2^s), that of custom bounds at `bounds[i]`.  Source: prometheus
model/histogram/generic.go (getBoundExponential, targetIdx).
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]

SCHEMA_MAX: Final = 8
"""The finest exponential schema."""
_ULP: Final = 2.0**-53
_BELOW: Final = (
    "111111211121111111231122222222221121112112221122112210221122112211111122223321321121112111121111"
    "111210112133112212221121213322222121223322322122222222323233323311221121223321332233212232332232"
    "2243223233433343333333444455435422322333324422333243223333543344"
)  # fmt: skip
"""Upstream's table of 2^(i/256 - 1) is below the nearest float by so many units of the last place, less one."""


@lru_cache(1)
def _fractions() -> Floats:
    """Return 2^(i/256 - 1) for i = 0 .. 255 as upstream has it."""
    with localcontext() as context:
        context.prec = 40
        nearest = [float(Decimal(2) ** (Decimal(i) / 256 - 1)) for i in range(256)]
    return np.array(nearest) - (np.array([int(c) for c in _BELOW]) - 1) * _ULP


def exponential(schema: int, indexes: Indexes) -> Floats:
    """Return the upper (positive) bounds of buckets."""
    if schema > SCHEMA_MAX:
        with np.errstate(over="ignore"):
            finer: Floats = np.exp2(indexes / 2.0**schema)
        return finer
    if schema < 0:
        exponents, fractions = np.minimum(indexes << -schema, 2000), np.ones(len(indexes))
        last = exponents == 1024
    else:
        places = (indexes & ((1 << schema) - 1)) << (SCHEMA_MAX - schema)
        exponents, fractions = (indexes >> schema) + 1, _fractions()[places]
        last = (exponents == 1025) & (places == 0)
    with np.errstate(over="ignore", under="ignore"):
        found: Floats = np.ldexp(fractions, np.clip(exponents, -2000, 2000))
    # The last bucket ends with the largest float; the one behind it is that of infinite observations.
    found[last] = np.finfo(np.float64).max
    return found


def limits(schema: int, bounds: Floats, indexes: Indexes, *, custom: bool) -> tuple[Floats, Floats]:
    """Return the (lower, upper) bounds of positive buckets."""
    if custom:
        edges = np.concatenate(([-np.inf], bounds, [np.inf]))
        return edges[indexes], edges[indexes + 1]
    return exponential(schema, indexes - 1), exponential(schema, indexes)


def coarser(indexes: Indexes, by: int) -> Indexes:
    """Return which bucket of a schema lower by `by` each bucket falls into."""
    found: Indexes = ((indexes - 1) >> by) + 1
    return found
