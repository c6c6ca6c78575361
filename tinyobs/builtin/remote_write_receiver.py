"""Accepts Prometheus remote write 1.0 at `/api/v1/write` (`--web.enable-remote-write-receiver`).

A request is answered 204 when every sample of it is durable; refused samples are named in a 400, the good ones of the
request stay stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from ..abc import Route, Services
from ..exposition.remote_write import Decoded, decode, decoded_bytes
from ..hookspecs import hookimpl
from ..model import labels as lb
from ..model.batch import AppendResult, Batch, Refused
from ..web.api_v1.write import write_routes
from ..web.services import WriteOutcome

DECODE_IN_THREAD_BYTES: Final = 2 << 20
"""Bodies that are longer than this after decompression are decoded in a thread of their own: those that are decoded in the
writer's hold up all others, this many bytes (about 11 000 samples) for 3 ms, or 40 ms when all of their series are new."""
BYTES_PER_SAMPLE: Final = 64
"""What is assumed of a body that is not decoded yet, after decompression."""

_WORDS: Final = {
    Refused.OUT_OF_ORDER: "out of order sample",
    Refused.TOO_OLD: "too old sample",
    Refused.OUT_OF_BOUNDS: "out of bounds",
    Refused.DUPLICATE: "duplicate sample for timestamp",
    Refused.LIMIT: "series beyond a limit of tinyobs.limits",
}
"""What senders' operators know from Prometheus."""


@hookimpl
def tinyobs_routes(services: Services) -> Sequence[Route]:
    """Return the route; without the flag it answers that the receiver is not enabled."""
    enabled = services.settings.remote_write_receiver
    return write_routes(Receiver(services).receive if enabled else None)


class Receiver:
    """Decodes bodies and stores them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def receive(self, body: bytes) -> WriteOutcome:
        """Store a body; returns when it is durable.  Raises what `decode` and `Services.append` raise."""
        registry, size = self._services.registry, decoded_bytes(body)
        if size > DECODE_IN_THREAD_BYTES:
            decoded = await trio.to_thread.run_sync(decode, body, registry)
            result = await self._services.append(decoded.batch)
        else:
            made: list[Decoded] = []

            def make() -> Batch:
                made.append(decode(body, registry))
                return made[0].batch

            result = await self._services.append_from(make, size // BYTES_PER_SAMPLE)
            decoded = made[0]
        return WriteOutcome(result.stored, [*self._refused(decoded.batch, result), *_left_out(decoded)])

    def _refused(self, batch: Batch, result: AppendResult) -> list[str]:
        problems = []
        for reason, count in result.refused.items():
            at = result.example.get(reason)
            text = f"{_WORDS[reason]} ({count} in this request)"
            if at is not None and at < len(batch):
                series = lb.to_text(self._services.registry.labels(int(batch.refs[at])))
                text += f"; the first: series {series}, timestamp {int(batch.timestamps_ms[at])}"
            problems.append(text)
        return problems


def _left_out(decoded: Decoded) -> list[str]:
    """Return a sentence for each kind of thing in the request that could not be taken."""
    problems = list(decoded.reasons)
    if decoded.refused_series > len(decoded.reasons):
        problems.append(f"{decoded.refused_series} series of this request have labels that cannot be stored")
    if decoded.refused_histograms:
        problems.append(f"{decoded.refused_histograms} native histograms of this request are invalid")
    return problems
