"""Accepts metrics by OTLP over HTTP (`--web.enable-otlp-receiver`), in protobuf and JSON, at the paths that senders know.

A request is answered 200 when every sample of it is durable; data points that were left out are told as a partial success,
the good ones of the request stay stored.  Translation is that of the section `otlp` of the configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import trio
from attrs import define, evolve, field, frozen
from starlette.requests import Request
from starlette.responses import Response

from ..abc import ConfigSection, Dialect, Route, Services
from ..config.fields import setting
from ..errors import LimitExceeded, TinyObsError, Unavailable
from ..exposition.otlp.answers import JSON, PROTOBUF, failure, response
from ..exposition.otlp.assembly import Decoded
from ..exposition.otlp.decoder import Decoder
from ..exposition.otlp.deltas import Conversion, DeltaTotals
from ..exposition.otlp.pieces import request_pieces
from ..exposition.otlp.points import NeedsTotals
from ..exposition.otlp.rules import Rules
from ..hookspecs import hookimpl
from ..model.durations import DurationMs
from ..model.labels import Labels
from ..receiving.answers import RETRY_SECONDS, http_error, refused_error, refused_status
from ..receiving.outcome import store_pushed
from ..receiving.pieces import hold_document, piece_bytes, use_pieces
from ..receiving.push import MALFORMED, Push, take_push
from ..receiving.threads import check_wanted, in_thread, turn
from ..web.api_v1.envelope import allow
from ..web.problem import HttpError

PATHS: Final = (
    "/api/v1/otlp/v1/metrics",
    "/v1/metrics",
    "/opentelemetry/v1/metrics",
    "/opentelemetry/api/v1/push",
)
"""Of Prometheus, of the protocol itself, and of VictoriaMetrics."""
QUICK_BYTES_MAX: Final = 1 << 20
"""Bodies up to this size that look like one before are read in the event loop, 1 ms at most."""
BEGIN_BYTES_MAX: Final = 256 << 10
"""Bodies up to this size are read in the event loop as far as their points are known, 2 ms at most."""
INLINE_POINTS_MAX: Final = 50
"""And so many points of theirs that are not, some 40 us each."""
FLAG_FEATURE: Final = "otlp-write-receiver"
CONVERT_FEATURE: Final = "otlp-deltatocumulative"
NATIVE_FEATURE: Final = "otlp-native-delta-ingestion"
INLINE_BYTES_MAX: Final = 16 << 10
"""Bodies up to this size are decoded in the event loop, some 4 ms where all of their series are new; longer ones in a thread,
unless they look like one before (30 us for 100 KB)."""
PIECE_COST: Final = 64
"""Memory that decoding needs for each byte of a piece; see `receiving.pieces`.  Measured: 17 to 35 where all series are new, 105
for metrics without points."""
DECODERS_MAX: Final = 8
"""Sets of additional labels (`extra_label`) for which it is remembered what was seen, each with this part of the memory that
there is without any; with one more all begin anew."""
PROBLEMS_SHOWN_MAX: Final = 10
"""Sentences in an answer."""


@frozen(kw_only=True)
class OtlpReceiverSettings:
    """Bounds of requests, and of adding up deltas (`otlp-deltatocumulative`)."""

    delta_max_stale_ms: DurationMs = setting(
        "delta_max_stale", default=DurationMs(300_000), low=1000, high=7 * 24 * 3_600_000
    )
    """Silence after which the total of a stream of deltas is forgotten; default 5m."""
    samples_max: int = setting(default=1_000_000, low=1, high=100_000_000)
    """Data points, or samples, of one request; one with more is refused; default 1000000."""
    delta_streams_max: int = setting(default=1_000_000, low=1, high=100_000_000)
    """Streams of deltas whose totals are kept; points of others are refused; default 1000000."""


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `otlp` below `tinyobs`."""
    return [ConfigSection("otlp", OtlpReceiverSettings)]


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the routes; without the flag they answer that the receiver is not enabled."""
    receiver = OtlpReceiver(services)
    routes = [Route(path, receiver.push, ("POST",), True, Dialect(_failure)) for path in PATHS]
    return [*routes, Route(PATHS[0], allow, ("OPTIONS",))]


def rules_of(services: Services) -> Rules:
    """Return how metrics are translated, as configured now."""
    config, features = services.config, services.config.features
    otlp = config.otlp
    strategy = otlp.translation_strategy.value
    return Rules(
        escape=strategy.startswith("Underscore"),
        suffixes=strategy.endswith("WithSuffixes"),
        key_prefix=otlp.label_name_underscore_sanitization,
        keep_runs=otlp.label_name_preserve_multiple_underscores,
        promote_all=otlp.promote_all_resource_attributes,
        promoted=frozenset(
            otlp.ignore_resource_attributes
            if otlp.promote_all_resource_attributes
            else otlp.promote_resource_attributes
        ),
        keep_identifying=otlp.keep_identifying_resource_attributes,
        custom_buckets=otlp.convert_histograms_to_nhcb,
        scope_labels=otlp.promote_scope_metadata,
        types="type-and-unit-labels" in features,
        native_delta=NATIVE_FEATURE in features,
        convert_delta=CONVERT_FEATURE in features,
        starts="st-storage" in features,
        lookback_ms=services.settings.lookback_ms,
        samples_max=config.tinyobs.section("otlp").samples_max,
    )


class OtlpReceiver:
    """The handler.  One request is decoded at a time, and of those with deltas to add up one is stored at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reception = services.reception("otlp")
        self._config: Any = None
        self._rules = Rules()
        self._decoders: dict[Labels, Decoder] = {}
        self._totals: DeltaTotals | None = None
        self._decoding = trio.Lock()
        self._adding_up = trio.Lock()

    async def push(self, request: Request) -> Response:
        """Answer a request."""
        if not (self._services.settings.otlp_receiver or FLAG_FEATURE in self._services.config.features):
            # For people, as Prometheus puts it.
            return HttpError(404, "otlp write receiver needs to be enabled with --web.enable-otlp-receiver").response()
        content_type = _content_type(request)
        try:
            push = await take_push(request, self._services, self._reception, has_flag=True)
            if content_type is None:
                self._reception.refuse("encoding")
                raise HttpError(
                    415,
                    f"unsupported content type: {request.headers.get('content-type')}, supported: [{JSON}, {PROTOBUF}]",
                )
            return await self._take(push, content_type)
        except TinyObsError as e:
            raise http_error(e) from None

    async def _take(self, push: Push, content_type: str) -> Response:
        """Decode and store a request, a large one in pieces, and answer when it is durable."""
        taken = _Taken(push, content_type == JSON)
        body, bytes_max = push.body, piece_bytes(self._services, PIECE_COST, len(push.body), push.held)
        if taken.as_json:
            hold_document(body, push.held)
        if taken.as_json or len(body) <= bytes_max:
            await self._take_piece(taken, body)
        else:
            await use_pieces(request_pieces(body, bytes_max, check_wanted), partial(self._take_piece, taken))
        message = "; ".join(taken.problems[:PROBLEMS_SHOWN_MAX])
        if taken.rejected and not taken.stored:
            raise refused_error(refused_status(self._services, is_over_limit=taken.is_over_limit), message)
        return Response(response(content_type, taken.rejected, message), 200, media_type=content_type)

    async def _take_piece(self, taken: _Taken, body: bytes) -> None:
        decoder = self._decoder(taken.push.extra_labels)
        try:
            decoded = await self._decode(decoder, body, taken.as_json)
        except NeedsTotals:
            # The totals of a request before this one must have moved on, if it was stored.
            async with self._adding_up:
                totals = self._delta_totals().begin(self._services.clock.now_ms())
                await self._store(await self._decode(decoder, body, taken.as_json, totals), taken)
        else:
            await self._store(decoded, taken)

    async def _decode(self, decoder: Decoder, body: bytes, as_json: bool, totals: Conversion | None = None) -> Decoded:
        decode = partial(decoder.decode, body, as_json=as_json, totals=totals)
        try:
            async with turn(self._decoding):
                if len(body) <= INLINE_BYTES_MAX:
                    return decode()
                quick = None if as_json or len(body) > QUICK_BYTES_MAX else decoder.quick(body)
                if quick is not None:
                    return quick
                if not as_json and len(body) <= BEGIN_BYTES_MAX:
                    begun = decoder.begin(body)
                    decode = partial(decode, begun=begun)
                    if begun is not None and len(begun.slow) <= INLINE_POINTS_MAX:
                        return decode()
                return await in_thread(decode)
        except Unavailable:
            raise  # the daemon stops
        except TinyObsError:
            self._reception.refuse(MALFORMED)
            raise

    async def _store(self, decoded: Decoded, taken: _Taken) -> None:
        """Store what was decoded; returns when it is durable."""
        taken.points += decoded.points
        if taken.points > self._rules.samples_max:
            self._reception.refuse(MALFORMED)
            raise LimitExceeded(
                "tinyobs.otlp.samples_max", f"the request has more than {self._rules.samples_max} samples"
            )
        push = taken.push
        outcome = await store_pushed(decoded.pushed, push.source, self._reception, self._services.registry, push.held)
        decoded.settle()
        left_out = outcome.refused - sum(decoded.pushed.refused.values())
        taken.rejected += min(decoded.rejected + left_out, decoded.points)
        taken.stored += outcome.stored
        taken.is_over_limit &= outcome.is_over_limit or not outcome.refused
        taken.problems += outcome.problems

    def _decoder(self, extra_labels: Labels) -> Decoder:
        """Return the decoder for the configuration as it is now."""
        if self._config is not self._services.config:
            self._config = self._services.config
            rules = rules_of(self._services)
            if rules != self._rules:
                self._rules = rules
                self._decoders.clear()
        found = self._decoders.get(extra_labels)
        if found is None:
            if len(self._decoders) >= DECODERS_MAX:
                self._decoders.clear()
            rules = evolve(self._rules, extra_labels=extra_labels)
            share = 1 / DECODERS_MAX if extra_labels else 1.0
            found = self._decoders[extra_labels] = Decoder(self._services.registry, rules, share=share)
        return found

    def _delta_totals(self) -> DeltaTotals:
        settings: OtlpReceiverSettings = self._services.config.tinyobs.section("otlp")
        if self._totals is None:
            self._totals = DeltaTotals(settings.delta_max_stale_ms, settings.delta_streams_max)
        self._totals.stale_ms, self._totals.streams_max = settings.delta_max_stale_ms, settings.delta_streams_max
        return self._totals


@define(eq=False)
class _Taken:
    """A request, and what became of its pieces so far.  points, rejected: data points.  stored: samples.

    is_over_limit: whether all that was refused is beyond limits on numbers of series, as in `Outcome`.
    """

    push: Push
    as_json: bool
    points: int = 0
    rejected: int = 0
    stored: int = 0
    is_over_limit: bool = True
    problems: list[str] = field(factory=list)


def _content_type(request: Request) -> str | None:
    """Return which form a request has, None for one that is not known; without a word of it it is protobuf."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return {"": PROTOBUF, PROTOBUF: PROTOBUF, "application/protobuf": PROTOBUF, JSON: JSON}.get(kind)


def _failure(request: Request, error: HttpError) -> Response:
    """Return an error in the form of the request.  507 becomes 503: of the two, senders try again after that alone."""
    kind = _content_type(request) or PROTOBUF
    headers, status = dict(error.headers or {}), error.status
    if status == 507:
        status = 503
        headers.setdefault("retry-after", RETRY_SECONDS)
    return Response(failure(kind, status, error.message), status, headers, kind)
