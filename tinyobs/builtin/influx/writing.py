"""Lines on their way into storage, from wherever they come."""

from __future__ import annotations

from functools import partial
from typing import Final

import structlog
from attrs import frozen

from ...abc import Services
from ...exposition.influx import STRING_FIELD, InfluxDecoder, InfluxOptions, samples_about
from ...exposition.influx_names import Origin
from ...exposition.influx_times import Precision
from ...exposition.pushed import Pushed
from ...receiving.outcome import joined, store_decoded, store_pushed
from ...receiving.pieces import piece_bytes, use_pieces
from ...receiving.threads import in_thread
from ...web.held_bytes import Held
from .settings import SECTION, InfluxSettings

IN_WRITER_BYTES: Final = 384 << 10
"""Bodies up to this size are decoded in the writer's thread: a hop to another one costs as much as decoding a thousand lines.  They
hold up all others, one as long as this for 2 to 5 ms, or 40 to 80 when all of its series are new."""
PIECE_COST: Final = 32
"""Memory that decoding needs for each byte of a piece; see `receiving.pieces`.  Measured: 8 with one field in a line, 18 with 50."""

log = structlog.get_logger(SECTION)


@frozen
class Written:
    """stored: samples.  dropped: lines and samples that were not.  problems: sentences about them.

    is_over_limit: as in `Outcome`.
    """

    stored: int
    dropped: int
    problems: tuple[str, ...]
    is_over_limit: bool


class Writer:
    """Decodes lines and stores them.  Used in the event loop."""

    def __init__(self, services: Services) -> None:
        self.reception = services.reception(SECTION)
        self._services = services
        self._decoder: InfluxDecoder | None = None
        self._seen: InfluxSettings | None = None
        """What the decoder was made for."""

    @property
    def settings(self) -> InfluxSettings:
        """The section as it is now."""
        section: InfluxSettings = self._services.config.tinyobs.section(SECTION)
        return section

    async def write(
        self, lines: bytes, source: str, precision: Precision, origin: Origin, held: Held | None = None
    ) -> Written:
        """Store lines; returns when they are durable.  held: see `store_pushed`, raises as that does."""
        options = InfluxOptions(self._services.clock.now_ms(), precision, origin, self.settings.trim_timestamp_ms)
        decoder, bytes_max = self._current_decoder(), piece_bytes(self._services, PIECE_COST, len(lines), held)
        reception, registry = self.reception, self._services.registry
        outcomes, strings = [], 0

        def noted(pushed: Pushed) -> Pushed:
            nonlocal strings
            strings += pushed.refused.get(STRING_FIELD, 0)
            return pushed

        async def store(pushed: Pushed) -> None:
            outcomes.append(await store_pushed(noted(pushed), source, reception, registry, held))

        if len(lines) <= min(IN_WRITER_BYTES, bytes_max):
            count = samples_about(lines)
            decoded = store_decoded(lambda: noted(decoder.decode(lines, options)), count, source, reception, registry)
            outcomes.append(await decoded)
        elif len(lines) <= bytes_max:
            await store(await in_thread(partial(decoder.decode, lines, options)))
        else:
            if held is not None:
                held.add(len(lines))  # the decoder has a copy
            await use_pieces(decoder.decode_pieces(lines, options, bytes_max), store)
        outcome = joined(outcomes)
        dropped = outcome.refused - strings
        return Written(outcome.stored, dropped, outcome.problems, 0 < outcome.over_limit == dropped)

    async def take(self, lines: bytes, source: str) -> bytes:
        """Store lines of a protocol without answers."""
        settings = self.settings
        written = await self.write(lines, source, settings.precision, Origin(settings.database))
        if written.problems:
            log.debug("lines were refused", source=source, count=written.dropped, first=written.problems[0])
        return b""

    def _current_decoder(self) -> InfluxDecoder:
        settings = self.settings
        if self._decoder is None or settings is not self._seen:
            rules, self._seen = settings.rules(), settings
            if self._decoder is None or rules != self._decoder.memory.rules:
                self._decoder = InfluxDecoder(self._services.registry, rules)
        return self._decoder
