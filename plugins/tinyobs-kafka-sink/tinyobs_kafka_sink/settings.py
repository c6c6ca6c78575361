"""The section `tinyobs.kafka_sinks`: a list of topics."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from tinyobs.config.fields import Fault, setting
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret
from tinyobs.sinks.settings import SinkSettings

SECTION: Final = "kafka_sinks"
_OURS: Final = frozenset(
    [
        "bootstrap.servers",
        "metadata.broker.list",
        "acks",
        "request.required.acks",
        "enable.idempotence",
        "delivery.timeout.ms",
        "message.timeout.ms",
        "compression.type",
        "compression.codec",
    ]
)
"""Options of the client that follow from the other settings."""


class Format(StrEnum):
    """What messages hold."""

    JSON = "json"
    REMOTE_WRITE = "remote_write"


class Key(StrEnum):
    """What decides the partition of a message."""

    SERIES = "series"
    METRIC = "metric"
    NONE = "none"


class Compression(StrEnum):
    """How the client compresses batches of messages."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


@frozen(kw_only=True)
class KafkaSinkSettings(SinkSettings):
    """One topic."""

    bootstrap_servers: tuple[str, ...] = setting()
    """Brokers to begin with, as host:port."""
    topic: str = setting()
    """The topic."""
    format: Format = setting(default=Format.JSON)
    """`json`, a message for each sample; `remote_write`, requests of remote write 1.0; default json."""
    key: Key = setting(default=Key.SERIES)
    """`series`, `metric` (its name) or `none`; the order of samples is kept for each key.  Default series."""
    max_samples_per_message: int = setting(default=1000, low=1, high=100_000)
    """Most samples of a message of remote write; default 1000."""
    compression: Compression = setting(default=Compression.LZ4)
    """`none`, `gzip`, `snappy`, `lz4` or `zstd`; default lz4."""
    timeout_ms: DurationMs = setting("timeout", default=DurationMs(30_000), low=100, high=900_000)
    """How long the client tries to deliver a message before it is handed to it again; default 30s."""
    options: tuple[tuple[str, str], ...] = setting(default=())
    """More options of the client (librdkafka), by name."""
    secret_options: tuple[tuple[str, Secret], ...] = setting(default=())
    """Options that are not shown, such as sasl.password."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong."""
        yield from super().faults()
        if not self.bootstrap_servers or not all(self.bootstrap_servers):
            yield Fault("at least one broker is needed, as host:port", "bootstrap_servers")
        if not self.topic:
            yield Fault("a topic is needed", "topic")
        for key, options in (("options", self.options), ("secret_options", self.secret_options)):
            for name, _ in options:
                if name in _OURS:
                    yield Fault(f"{name} follows from other settings of the sink", f"{key}.{name}")


SCHEMA: Final[Any] = tuple[KafkaSinkSettings, ...]
"""The type of the section; called, it gives the default, no topic."""
