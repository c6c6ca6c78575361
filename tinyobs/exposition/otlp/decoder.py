"""Bodies of OTLP metrics -> batches: a body that looks like one before, points that were seen before, and all others.

The three ways give the same samples; the general one is the measure.  What is remembered is bounded (`known.py`, `plan.py`).
A decoder is used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ...errors import WireError
from ...model.block_hash import PADDING_BYTES
from ...model.gate import STAND_INS
from ...model.registry import SeriesRegistry
from .assembly import Decoded, Made, Told
from .deltas import Conversion
from .forms import GENERAL, HISTOGRAM, NUMBER, are_times, words_of
from .json_form import read_json
from .known import Found, Known, Points
from .plan import LAYOUT_BYTES_MAX, Layouts
from .planning import columns_of, plan_of, spans_of, with_points
from .point_sets import Permuted
from .rules import Rules, Translator
from .schema import POINT_MESSAGES, Request
from .walk import Walked, walk

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]


@frozen(eq=False)
class Begun:
    """How far a body was read by its points.

    context_of, kinds, points, found: of its points.  slow: numbers of those that have to take the general way.
    is_kept: whether it is to be remembered what the body looks like.
    """

    data: U8
    walked: Walked
    context_of: I64
    kinds: NDArray[np.int8]
    points: Points
    found: Sequence[Found]
    slow: I64
    is_kept: bool


@frozen(eq=False)
class BegunSet:
    """A body whose points are a set that is known."""

    walked: Walked
    samples: Permuted
    slow: Sequence[int] = ()


class Decoder:
    """Decodes by one set of rules."""

    def __init__(self, registry: SeriesRegistry, rules: Rules, *, share: float = 1.0) -> None:
        """share: of the bounds on what is remembered."""
        self.registry, self.rules = registry, rules
        self._translator = Translator(rules)
        self._known = Known(self._translator, share)
        self._layouts = Layouts(int(LAYOUT_BYTES_MAX * share))
        self._told = Told()

    def quick(self, body: bytes) -> Decoded | None:
        """Return the samples of a protobuf body that looks like one before; takes some 0.1 us a sample."""
        plan = self._layouts.find(body)
        if plan is None:
            return None
        words = words_of(body)
        nanos = plan.times(words)
        if not are_times(nanos).all():
            return None
        made = Made(self.registry, self.rules, self._told, len(nanos))
        made.fast = columns_of(plan, words, nanos)
        made.targets = list(spans_of(plan.resources, nanos, nanos))
        return made.decoded()

    def begin(self, body: bytes) -> Begun | BegunSet | None:
        """Recognise the points of a protobuf body, some 0.3 us each; None where it takes the general way as a whole."""
        self._known.make_room()
        data = np.frombuffer(body + bytes(PADDING_BYTES), np.uint8)
        is_kept = self._layouts.wants(body)
        walked = self._walk(data, body, is_kept)
        if walked is None or not len(walked):
            return None
        contexts, words = self._known.contexts, words_of(data.data)  # type: ignore[arg-type]
        if walked.before is not None and not is_kept:
            samples = self._known.permuted(data, words, walked)
            if samples is not None:
                return BegunSet(walked, samples)
        context_of = np.repeat(walked.metrics, walked.counts)
        kinds = contexts.forms(context_of)
        points = Points(np.arange(len(walked)), walked.starts, walked.ends, contexts.salts(context_of))
        found = []
        for kind in (NUMBER, HISTOGRAM):
            rows = (kinds == kind).nonzero()[0]
            if len(rows):
                found += self._known.find(data, words, kind, points if len(rows) == len(points) else points.take(rows))
        return Begun(data, walked, context_of, kinds, points, found, _others(len(walked), found), is_kept)

    def decode(
        self,
        body: bytes,
        *,
        as_json: bool = False,
        totals: Conversion | None = None,
        begun: Begun | BegunSet | None = None,
    ) -> Decoded:
        """Return the samples of a body.  begun: what `begin` said of it, when nothing was decoded since.

        Raises `WireError` where it is malformed (nothing of it is used), `LimitExceeded` where it is too much, and `NeedsTotals` where it has deltas that are
        to be added up and there are no totals: then it is to be decoded again with them.
        """
        if as_json:
            return self._general(read_json(body), totals)
        if begun is None:
            quick = self.quick(body)
            if quick is not None:
                return quick
            begun = self.begin(body)
        if isinstance(begun, BegunSet):
            return self._by_set(begun)
        made = None if begun is None else self._by_points(body, begun, totals)
        if made is not None:
            return made
        try:
            return self._general(Request.FromString(body), totals)
        except DecodeError:
            raise WireError("malformed ExportMetricsServiceRequest") from None

    # -- the general way -----------------------------------------------------------------------------------------------

    def _general(self, request: Any, totals: Conversion | None) -> Decoded:
        made = Made(self.registry, self.rules, self._told, 0, totals)
        reader = made.reader()
        for resource_metrics in request.resource_metrics:
            resource = self._translator.resource(resource_metrics.resource)
            low, high = 0, 0
            for scope_metrics in resource_metrics.scope_metrics:
                scope = self._translator.scope(scope_metrics.scope, scope_metrics.schema_url)
                for metric in scope_metrics.metrics:
                    context = self._translator.metric(metric, resource, scope)
                    if context is None:
                        continue
                    points = getattr(metric, context.kind).data_points
                    made.take(reader, context, points)
                    times = [t for t in (p.time_unix_nano for p in points) if 0 < t < 1 << 63]
                    low, high = min([low or 1 << 63, *times]), max([high, *times])
            if high:
                made.targets.append((resource, low, high))
        return made.decoded()

    # -- the fast way --------------------------------------------------------------------------------------------------

    def _walk(self, data: U8, body: bytes, is_kept: bool) -> Walked | None:
        known, points_max = self._known, self.rules.samples_max
        walked = known.outlines.find(data, body, points_max)
        if walked is None:
            walked = walk(data, body, known.contexts, points_max)
            if is_kept and walked is not None and len(walked):
                known.outlines.keep(data, body, walked)
        return walked

    def _by_set(self, begun: BegunSet) -> Decoded:
        """Return the samples of a body whose points are a set that is known."""
        samples, nanos = begun.samples, begun.samples.nanos
        made = Made(self.registry, self.rules, self._told, len(nanos))
        times_ms = (nanos // np.uint64(1_000_000)).view(np.int64)[samples.order]
        made.fast = samples.refs, samples.order, times_ms, samples.values, None
        made.targets = list(spans_of(with_points(begun.walked), nanos, nanos))
        return made.decoded()

    def _by_points(self, body: bytes, begun: Begun, totals: Conversion | None) -> Decoded | None:
        """Return the samples of a body by its points; None where some point is damaged."""
        walked, contexts, slow = begun.walked, self._known.contexts, begun.slow
        made = Made(self.registry, self.rules, self._told, len(walked), totals)
        words = words_of(begun.data.data)  # type: ignore[arg-type]
        is_kept = begun.is_kept and not len(slow)
        plan = plan_of(self._known, begun.data, begun.found, walked, contexts.counts(begun.context_of), is_kept)
        nanos = plan.times(words)
        if len(slow):
            try:
                nanos[slow] = self._slow_points(body, begun, made)
            except DecodeError:
                return None
        made.fast = columns_of(plan, words, nanos)
        low = high = nanos
        if len(slow):
            is_good = are_times(nanos)
            low, high = (np.where(is_good, nanos, none) for none in (np.uint64(1 << 63), np.uint64(0)))
        made.targets = list(spans_of(plan.resources, low, high))
        made.add_metadata(contexts.untold(walked.metrics))
        decoded = made.decoded()
        if len(slow):
            self._learn(body, begun, made)
        elif is_kept and not made.metadata:
            self._layouts.keep(body, plan)
            points = self._known.set_of(walked, begun.found, begun.points.salts) if plan.counts is None else None
            if points is not None:
                self._known.outlines.keep_set(body, points)
        return decoded

    def _slow_points(self, body: bytes, begun: Begun, made: Made) -> U64:
        """Take points the general way, and return their times.  Raises `DecodeError`."""
        reader, contexts, walked = made.reader(), self._known.contexts, begun.walked
        for number, count in zip(walked.metrics.tolist(), walked.counts.tolist(), strict=True):
            made.refuse(contexts.context(number), count)
        nanos = np.zeros(len(begun.slow), np.uint64)
        for i, number in enumerate(begun.slow.tolist()):
            context = contexts.context(begun.context_of[number])
            message = POINT_MESSAGES[context.kind].FromString(body[walked.starts[number] : walked.ends[number]])
            nanos[i] = message.time_unix_nano
            if context.refusal is None:
                reader.take(number, context, message)
                made.refuse_many()
        return nanos

    def _learn(self, body: bytes, begun: Begun, made: Made) -> None:
        """Remember the series of points that were not known and may have a form."""
        points = begun.points.take(begun.slow[begun.kinds[begun.slow] != GENERAL])
        of_row = np.array(made.rows.point, np.int64)
        first, end = (of_row.searchsorted(points.point, side) for side in ("left", "right"))
        refs = [made.slow_refs[a:b] for a, b in zip(first.tolist(), end.tolist(), strict=True)]
        good = [i for i, its in enumerate(refs) if len(its) and int(its.max()) < STAND_INS]
        learned = points.take(np.array(good, np.int64))
        self._known.learn(begun.data, body, begun.kinds[learned.point].tolist(), learned, [refs[i] for i in good])


def _others(count: int, found: Sequence[Found]) -> I64:
    """Return the numbers of the points that were not found."""
    if sum(len(f.point) for f in found) == count:
        return np.empty(0, np.int64)
    others = np.ones(count, np.bool_)
    for f in found:
        others[f.point] = False
    return others.nonzero()[0]
