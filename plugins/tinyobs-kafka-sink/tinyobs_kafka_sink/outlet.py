"""A producer of Kafka: what was delivered, by the word of the brokers, is settled; what was not is produced again.

The client is librdkafka (confluent-kafka) with `acks=all` and as an idempotent producer, so that its own second tries
neither repeat messages nor change their order.  It works in threads of its own; ours call it for moments only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import structlog
import trio
from confluent_kafka import KafkaError, KafkaException, Producer
from tinyobs.abc import Logged, Services
from tinyobs.sinks.chosen import Chosen
from tinyobs.sinks.group import Counts, Outlet, TryAgain

from .messages import REMOTE_WRITE_HEADERS, Message, Messages
from .settings import Format, KafkaSinkSettings

POLL_SECONDS: Final = 0.2
"""How long a thread waits for deliveries before it looks whether it is still wanted."""
_REFUSALS: Final = frozenset(
    (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD, KafkaError.RECORD_LIST_TOO_LARGE)
)
"""Codes of errors that come again however often a message is produced."""

log = structlog.get_logger("kafka_sink")


class KafkaOutlet(Outlet):
    """Produces for one entry of the section."""

    def __init__(self, services: Services, settings: KafkaSinkSettings, counts: Counts) -> None:
        self._settings, self._counts = settings, counts
        self._chosen = Chosen(services.registry, settings.match)
        self._messages = Messages(services.registry, settings)
        self._producer: Any = None
        self._waiting: list[Message] = []
        self._failed: list[tuple[int, Any]] = []
        """(number among the waiting, error) of what was not delivered."""
        self._last_error = ""

    async def take(self, records: Sequence[Logged]) -> bool:
        """Make messages of records."""
        for logged in records:
            self._waiting += self._messages.of(self._chosen.of(logged.batch))
            await trio.lowlevel.checkpoint()
        return True

    async def flush(self) -> None:
        """Produce what waits, and wait until all of it is delivered or has failed."""
        if not self._waiting:
            return
        self._failed = []
        await trio.to_thread.run_sync(self._produce)
        left = len(self._waiting)
        while left:
            left = await trio.to_thread.run_sync(self._producer.flush, POLL_SECONDS)
        await self._judge()

    async def aclose(self) -> None:
        """Give the client up, with what it still has."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await trio.to_thread.run_sync(_give_up, producer)

    def _produce(self) -> None:
        """Hand messages to the client.  Raises `TryAgain` when there is none for these settings."""
        headers = REMOTE_WRITE_HEADERS if self._settings.format is Format.REMOTE_WRITE else None
        try:
            if self._producer is None:
                self._producer = Producer(self._options(), logger=logging.getLogger("tinyobs.kafka_sink"))
            for number, message in enumerate(self._waiting):
                self._hand_over(number, message, headers)
        except KafkaException as e:
            raise TryAgain(f"the client cannot work: {_text(e.args[0])}") from e

    def _hand_over(self, number: int, message: Message, headers: Any) -> None:
        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                self._failed.append((number, error))

        while True:
            try:
                self._producer.produce(
                    self._settings.topic,
                    value=message.value,
                    key=message.key,
                    headers=headers,
                    timestamp=max(message.at_ms, 0),
                    on_delivery=delivered,
                )
            except BufferError:  # the client's queue is full: deliveries make room
                self._producer.poll(POLL_SECONDS)
            except KafkaException as e:
                self._failed.append((number, e.args[0]))
                return
            else:
                return

    async def _judge(self) -> None:
        """Count what was delivered or refused, keep the rest; raises `TryAgain` where there is some."""
        failed = dict(self._failed)
        again: list[Message] = []
        refused: list[Any] = []
        for number, message in enumerate(self._waiting):
            error = failed.get(number)
            if error is None:
                self._counts.samples += message.samples
                self._counts.sends += 1
                self._counts.bytes += len(message.value)
            elif error.code() in _REFUSALS:
                self._counts.refused += message.samples
                refused.append(error)
            else:
                again.append(message)
        if refused:
            log.error("messages were refused", sink=self._settings.name, messages=len(refused), error=_text(refused[0]))
        self._waiting = again
        if again:
            error = next(e for _, e in self._failed if e.code() not in _REFUSALS)
            if any(e.fatal() for _, e in self._failed):
                await self.aclose()  # this client will deliver nothing any more
            more = f" ({self._last_error})" if self._last_error else ""
            raise TryAgain(f"{len(again)} messages were not delivered: {_text(error)}{more}")
        self._last_error = ""

    def _note_error(self, error: Any) -> None:
        self._last_error = _text(error)

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "client.id": "tinyobs",
            "linger.ms": "5",
            "error_cb": self._note_error,
            **dict(settings.options),
            **{name: value.reveal() for name, value in settings.secret_options},
            "bootstrap.servers": ",".join(settings.bootstrap_servers),
            "acks": "all",
            "enable.idempotence": "true",
            "compression.type": str(settings.compression),
            "delivery.timeout.ms": str(settings.timeout_ms),
        }


def _give_up(producer: Any) -> None:
    producer.purge()
    producer.flush(POLL_SECONDS)


def _text(error: Any) -> str:
    return str(error.str()) if isinstance(error, KafkaError) else str(error)
