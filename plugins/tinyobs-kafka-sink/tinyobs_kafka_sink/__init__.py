"""TinyObs plugin `kafka_sink`: writes what is stored to topics of Kafka (section `tinyobs.kafka_sinks`).

    tinyobs:
      kafka_sinks:
        - {name: stream, bootstrap_servers: ['kafka:9092'], topic: metrics, match: ['{job="node"}']}

Settings: `settings.py`; samples as messages: `messages.py`; the producer: `outlet.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyobs import hookimpl
from tinyobs.abc import ConfigSection, Services, Sink
from tinyobs.sinks.group import SinkGroup

from .outlet import KafkaOutlet
from .settings import SCHEMA, SECTION, KafkaSinkSettings

__all__ = ["KafkaOutlet", "KafkaSinkSettings", "tinyobs_config_sections", "tinyobs_sinks"]


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Declare the section `kafka_sinks`, a list."""
    return [ConfigSection(SECTION, SCHEMA)]


@hookimpl
def tinyobs_sinks(services: Services) -> Sequence[Sink]:
    """Return what produces for all entries; it sleeps while there is none."""
    return [SinkGroup(services, SECTION, KafkaOutlet)]
