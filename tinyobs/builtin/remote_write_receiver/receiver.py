"""A body of remote write, decoded and stored: where that is done, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from attrs import define, evolve, field
from starlette.requests import Request

from ...abc import Reception, Services
from ...errors import LimitExceeded, TinyObsError, WireError
from ...exposition.remote_write import Decoded, WriteLimits, decode, decode_pieces, decoded_bytes
from ...exposition.remote_write_v2_decode import Decoder2
from ...model.batch import AppendResult, Batch
from ...model.exemplars import ExemplarRefused
from ...model.labels import Labels
from ...receiving.answers import http_error, refused_status
from ...receiving.extra_labels import LabelAdder
from ...receiving.outcome import holding, over_limit, refusals
from ...receiving.pieces import piece_bytes, use_pieces
from ...receiving.push import MALFORMED, TOO_LARGE, admit_push
from ...receiving.threads import check_wanted, in_thread
from ...web.held_bytes import HELD, Held
from ...web.inbox import take_body
from ...web.problem import HttpError
from .negotiation import Message
from .routes import Written

PROTOCOL: Final = "remote_write"
TYPED_FEATURE: Final = "type-and-unit-labels"
"""Type and unit, which series of 2.0 tell as metadata, become labels of theirs."""
DECODE_IN_THREAD_BYTES: Final = 2 << 20
"""Bodies that are longer than this after decompression are decoded in a thread of their own: those that are decoded in the
writer's hold up all others, this many bytes (about 11 000 samples) for 3 ms, or 40 ms when all of their series are new."""
PIECE_COST: Final = 16
"""Memory that decoding needs for each byte of a piece; see `receiving.pieces`.  Measured: 6 where all series are new, in 2.0
7, and 16 where they are as short as can be."""
BYTES_PER_SAMPLE: Final = 64
"""What is assumed of a body that is not decoded yet, after decompression."""

INVALID_LABELS: Final = "invalid_labels"
INVALID_HISTOGRAM: Final = "invalid_histogram"
"""The reasons that samples are counted under which could not be decoded."""

_EXEMPLARS: Final = {
    ExemplarRefused.OUT_OF_ORDER: "out of order exemplar",
    ExemplarRefused.LABELS_TOO_LONG: "exemplar with labels that are too long",
    ExemplarRefused.LIMIT: "exemplar of a series that is beyond a limit of tinyobs.limits",
}


class Receiver:
    """Takes requests; one for an agent."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception = services.reception(PROTOCOL)
        self._decoder_2 = Decoder2(services.registry)
        self._labels = LabelAdder(services.registry)

    async def __call__(self, request: Request, message: Message) -> Written:
        """Read and store a request; returns when it is durable.  Raises `HttpError` or `TinyObsError`."""
        source, extra = admit_push(request, self._services, self._reception, has_flag=True)
        try:
            body = await take_body(request)
            size = decoded_bytes(body)
            held: Held | None = request.scope.get(HELD)
            if held is not None and size <= self._limits.decoded_bytes_max:
                held.add(size)
        except HttpError as e:
            self._reception.refuse(TOO_LARGE if e.status == 413 else "body")
            raise
        taking = _Taking(self._services, self._reception, source, message, held)
        try:
            pieces = self._pieces(body, message, size, held)
            if pieces is None:
                await self._take_whole(taking, body, size, extra)
            else:
                del body
                await use_pieces(map(partial(self._with_labels, extra), pieces), taking.store)
        except WireError as e:
            self._reception.refuse(MALFORMED)
            raise taking.cut_short(http_error(e)) from None
        except LimitExceeded as e:
            self._reception.refuse(TOO_LARGE)
            raise taking.cut_short(http_error(e)) from None
        except HttpError as e:
            raise taking.cut_short(e) from None
        except TinyObsError as e:
            raise taking.cut_short(http_error(e)) from None
        return taking.written

    @property
    def _limits(self) -> WriteLimits:
        return WriteLimits(self._services.config.tinyobs.receivers.decoded_size_max_bytes)

    def _pieces(self, body: bytes, message: Message, size: int, held: Held | None) -> Iterator[Decoded] | None:
        """Return what is in a body that unpacks to `size` bytes, piece by piece; None where that is not long."""
        bytes_max = piece_bytes(self._services, PIECE_COST, size, held)
        if size <= bytes_max:
            return None
        if message is Message.V1:
            return decode_pieces(body, self._services.registry, bytes_max, limits=self._limits, check=check_wanted)
        return self._decoder_2.decode_pieces(
            body,
            bytes_max,
            limits=self._limits,
            typed=self._is_typed,
            hold=(lambda size: None) if held is None else held.add,
        )

    async def _take_whole(self, taking: _Taking, body: bytes, size: int, extra: Labels) -> None:
        """Decode and store a body that unpacks to `size` bytes."""
        made: list[Decoded] = []
        limits = self._limits
        typed = self._is_typed

        def make() -> Batch:
            if taking.message is Message.V2:
                decoded = self._decoder_2.decode(body, limits=limits, typed=typed)
            else:
                decoded = decode(body, self._services.registry, limits=limits)
            made.append(self._with_labels(extra, decoded))
            return made[0].batch

        if size > DECODE_IN_THREAD_BYTES:
            await in_thread(make)
            await taking.store(made[0])
        else:
            result = await self._reception.store_from(make, max(size // BYTES_PER_SAMPLE, 1), taking.source)
            taking.note(made[0], result)

    @property
    def _is_typed(self) -> bool:
        return TYPED_FEATURE in self._services.config.features

    def _with_labels(self, extra: Labels, decoded: Decoded) -> Decoded:
        return evolve(decoded, batch=self._labels.add(decoded.batch, extra)) if extra else decoded


@define(eq=False)
class _Taking:
    """A request that is being stored, as a whole or in pieces."""

    services: Services
    reception: Reception
    source: str
    message: Message
    held: Held | None
    written: Written = field(factory=Written)
    is_over_limit: bool = True
    """Whether all that was refused so far is beyond limits on how many series there are."""

    def cut_short(self, error: HttpError) -> HttpError:
        """Return the answer to a request of which only some pieces were stored; one to 2.0 says how much that is."""
        if self.message is Message.V1:
            return error
        return HttpError(error.status, error.message, {**self.written.headers(), **(error.headers or {})})

    async def store(self, decoded: Decoded) -> None:
        """Store what was decoded."""
        with holding(self.held, decoded.batch):
            result = await self.reception.store(decoded.batch, self.source)
        self.note(decoded, result)

    def note(self, decoded: Decoded, result: AppendResult) -> None:
        """Count what became of what was decoded."""
        decoded.stored()
        self.reception.refuse_all(
            {INVALID_LABELS: decoded.refused_samples, INVALID_HISTOGRAM: decoded.refused_histograms}
        )
        others = _left_out(decoded)
        if self.message is Message.V2:
            others += _exemplars_left_out(decoded, result)
        before, exemplars = self.written, len(decoded.batch.exemplars) - sum(result.exemplars_refused.values())
        self.is_over_limit &= _is_over_limit(decoded, result, self.message)
        self.written = Written(
            before.samples + result.stored - result.histograms_stored,
            before.histograms + result.histograms_stored,
            before.exemplars + exemplars,
            [*before.problems, *refusals(self.services.registry, decoded.batch, result), *others],
            refused_status(self.services, is_over_limit=self.is_over_limit),
        )


def _is_over_limit(decoded: Decoded, result: AppendResult, message: Message) -> bool:
    """Tell whether all that was refused is beyond limits on how many series there are."""
    undecoded = decoded.refused_series + decoded.refused_histograms
    exemplars: set[ExemplarRefused] = set()
    if message is Message.V2:
        undecoded += decoded.refused_exemplars
        exemplars = set(result.exemplars_refused) & set(_EXEMPLARS)
        if over_limit(result):
            exemplars.discard(ExemplarRefused.LIMIT)
    return over_limit(result) == result.refused_total and not undecoded and not exemplars


def _left_out(decoded: Decoded) -> list[str]:
    """Return a sentence for each kind of thing in the request that could not be taken."""
    problems = list(decoded.reasons)
    if decoded.refused_series > len(decoded.reasons):
        problems.append(f"{decoded.refused_series} series of this request have labels that cannot be stored")
    if decoded.refused_histograms:
        problems.append(f"{decoded.refused_histograms} native histograms of this request are invalid")
    return problems


def _exemplars_left_out(decoded: Decoded, result: AppendResult) -> list[str]:
    """Return the sentences about exemplars, for which only 2.0 has an answer: in 1.0 they never fail a request."""
    problems = [
        f"{words} ({result.exemplars_refused[reason]} in this request)"
        for reason, words in _EXEMPLARS.items()
        if result.exemplars_refused.get(reason)
    ]
    if decoded.refused_exemplars:
        problems.append(f"{decoded.refused_exemplars} exemplars of this request have labels that cannot be stored")
    return problems
