"""Native histograms and exemplars of remote write: protobuf messages -> values of the model.

Source: prompb/types.proto (`Histogram`, `BucketSpan`, `Exemplar`).  Integer histograms carry their buckets as differences
to the bucket before, here they are absolute counts.  Which series they belong to, and what becomes of refused ones, is
the business of `remote_write.py`; the way back is in `remote_write_encoder.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from ..model.exemplars import LABEL_CHARACTERS_MAX
from ..model.histogram_checks import coarsened, fault_of
from ..model.histograms import Histogram, ResetHint
from ..model.labels import Labels


def histogram_of(message: Any) -> tuple[Histogram, str]:
    """Return (histogram, "") or (what was sent, why it is refused).

    The count tells which kind it is.  An unknown reset hint is `UNKNOWN`.
    """
    is_integer = message.WhichOneof("count") != "count_float"
    if is_integer:
        count, zero_count = message.count_int, message.zero_count_int
        positive = tuple(accumulate(message.positive_deltas))
        negative = tuple(accumulate(message.negative_deltas))
    else:
        count, zero_count = message.count_float, message.zero_count_float
        positive, negative = tuple(message.positive_counts), tuple(message.negative_counts)
    hint = message.reset_hint
    h = Histogram(
        message.schema,
        message.zero_threshold,
        zero_count,
        count,
        message.sum,
        tuple([(s.offset, s.length) for s in message.positive_spans]),
        positive,
        tuple([(s.offset, s.length) for s in message.negative_spans]),
        negative,
        tuple(message.custom_values),
        ResetHint(hint) if 0 <= hint <= ResetHint.GAUGE else ResetHint.UNKNOWN,
        is_integer,
    )
    h = coarsened(h)
    return h, fault_of(h)


def exemplar_labels(raw: Sequence[tuple[bytes, bytes]]) -> Labels | None:
    """Return the labels of an exemplar in order, None where they cannot be: a name twice, too long, not UTF-8."""
    try:
        pairs = [(name.decode(), value.decode()) for name, value in raw]
    except UnicodeDecodeError:
        return None
    if len({name for name, _ in pairs}) < len(pairs) or not all(name for name, _ in pairs):
        return None
    if sum(len(name) + len(value) for name, value in pairs) > LABEL_CHARACTERS_MAX:
        return None
    return tuple(sorted(pairs))
