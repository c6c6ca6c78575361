"""What became of pushed samples: stored, counted, and what was refused put into sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen

from ..abc import Reception
from ..errors import ExpositionError, WireError
from ..exposition.pushed import Pushed
from ..model import labels as lb
from ..model.batch import AppendResult, Batch, Refused
from ..model.registry import SeriesRegistry
from ..web.held_bytes import Held

MALFORMED: Final = "malformed"
"""The reason that bodies and lines are counted under when they cannot be read."""

_WORDS: Final[Mapping[Refused, str]] = {
    Refused.OUT_OF_ORDER: "out of order sample",
    Refused.TOO_OLD: "too old sample",
    Refused.OUT_OF_BOUNDS: "out of bounds",
    Refused.DUPLICATE: "duplicate sample for timestamp",
    Refused.LIMIT: "series beyond a limit of tinyobs.limits",
    Refused.INVALID: "invalid native histogram",
}
"""What senders' operators know from Prometheus."""


@frozen
class Outcome:
    """stored: samples.  refused: how many were not.  problems: a sentence for each kind of those.

    over_limit: how many of them are beyond limits on how many series there are.
    """

    stored: int
    refused: int = 0
    problems: tuple[str, ...] = ()
    over_limit: int = 0

    @property
    def is_over_limit(self) -> bool:
        """Whether that is so of all that was refused; see `answers.refused_status`."""
        return 0 < self.over_limit == self.refused


async def store_pushed(
    pushed: Pushed, source: str, reception: Reception, registry: SeriesRegistry, held: Held | None = None
) -> Outcome:
    """Store a decoded push and count what was left out; returns when it is durable, raises as `Reception.store` does.

    held: where the samples are counted as long as they wait for the disk; `HttpError` 503 where there is no room for them.
    """
    batch = pushed.batch
    if not (len(batch) or batch.metadata or batch.exemplars):
        reception.refuse_all(pushed.refused)
        return Outcome(0, sum(pushed.refused.values()), pushed.problems)
    with holding(held, batch):
        result = await reception.store(batch, source)
    return _outcome(pushed, result, reception, registry)


class holding:  # noqa: N801 - a context manager: one made of a generator takes several times as long
    """Count the samples of a batch with the bodies of all requests; raises `HttpError` when they do not fit."""

    def __init__(self, held: Held | None, batch: Batch) -> None:
        self._held, self._batch = held, batch
        self._bytes = 0

    def __enter__(self) -> None:
        if self._held is None:
            return
        batch = self._batch
        size = batch.refs.nbytes + batch.timestamps_ms.nbytes + batch.values.nbytes
        size += 0 if batch.starts_ms is None else batch.starts_ms.nbytes
        size += 0 if batch.histograms is None else batch.histograms.words.nbytes
        self._held.add(size)
        self._bytes = size

    def __exit__(self, *raised: object) -> None:
        if self._held is not None:
            self._held.give_back(self._bytes)


def over_limit(result: AppendResult) -> int:
    """Return how many samples were refused because there are too many series."""
    return sum(h.samples for h in result.limits if h.is_cardinality)


def is_beyond_shapes(result: AppendResult) -> bool:
    """Tell whether all limits that samples are beyond are on what a series looks like: they never will be taken."""
    return bool(result.limits) and not any(h.is_cardinality for h in result.limits)


async def store_decoded(
    decode: Callable[[], Pushed], samples: int, source: str, reception: Reception, registry: SeriesRegistry
) -> Outcome:
    """Decode in the writer's thread and store; for decoders with a memory, which one thread may use at a time.

    samples: about as many.  Raises what `decode` and `Reception.store_from` raise; counts a body that cannot be decoded.
    """
    decoded: list[Pushed] = []

    def make() -> Batch:
        decoded.append(decode())
        return decoded[0].batch

    try:
        result = await reception.store_from(make, samples, source)
    except (WireError, ExpositionError):
        reception.refuse(MALFORMED)
        raise
    return _outcome(decoded[0], result, reception, registry)


def _outcome(pushed: Pushed, result: AppendResult, reception: Reception, registry: SeriesRegistry) -> Outcome:
    if not (pushed.refused or result.refused):
        return Outcome(result.stored, 0, pushed.problems)
    reception.refuse_all(pushed.refused)
    undecoded = sum(pushed.refused.values())
    return Outcome(
        result.stored,
        undecoded + result.refused_total,
        (*pushed.problems, *refusals(registry, pushed.batch, result)),
        over_limit(result),
    )


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what became of the pieces of one request as one."""
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(
        sum(o.stored for o in outcomes),
        sum(o.refused for o in outcomes),
        tuple(problem for o in outcomes for problem in o.problems),
        sum(o.over_limit for o in outcomes),
    )


def refusals(registry: SeriesRegistry, batch: Batch, result: AppendResult) -> tuple[str, ...]:
    """Return a sentence for each reason for which samples of a batch were refused, with the first of them."""
    problems: list[str] = []
    for reason, count in result.refused.items():
        if reason is Refused.LIMIT and result.limits:
            texts = (f"{h.text} ({h.samples} samples in this request)" for h in result.limits)
            problems.extend(f"series beyond the limit {text}" for text in texts)
            continue
        at = result.example.get(reason)
        text = f"{_WORDS[reason]} ({count} in this request)"
        if at is not None and at < len(batch):
            series = lb.to_text(registry.labels(int(batch.refs[at])))
            text += f"; the first: series {series}, timestamp {int(batch.timestamps_ms[at])}"
        problems.append(text)
    return tuple(problems)
