"""Remote write out: the samples of the log go to other servers (`remote_write` in the configuration).

- `sink.py`: a destination for each entry, reloads; `settings.py`: the section `tinyobs.remote_write`, names
- `destination.py`: reads the log, decides by series (`series.py`), hands on to shards (`shards.py`, `queue.py`)
- `sender.py`: attempts and pauses (`backoff.py`); `answers.py`: what an answer means; `poster.py`: HTTP
- `protocol.py`: 1.0 or 2.0; `metadata.py`: metadata of 1.0; `scaling.py`: how many shards
- `counters.py`: metrics

docs/remote-write.md tells what is guaranteed.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...abc import ConfigSection, Services, Sink
from ...hookspecs import hookimpl
from .settings import SECTION, RemoteWriteSettings
from .sink import RemoteWrite

__all__ = ["RemoteWrite"]


@hookimpl
def tinyobs_config_sections() -> Sequence[ConfigSection]:
    """Return the section `remote_write`."""
    return [ConfigSection(SECTION, RemoteWriteSettings)]


@hookimpl
def tinyobs_sinks(services: Services) -> Sequence[Sink]:
    """Return the sink; it sleeps while no destination is configured."""
    return [RemoteWrite(services)]
