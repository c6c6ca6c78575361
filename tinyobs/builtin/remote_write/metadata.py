"""Metadata for receivers of remote write 1.0: all that is known, again and again, in requests of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from ...config.remote import MetadataConfig
from ...errors import TinyObsError
from ...exposition.remote_write_encoder import encode
from ...exposition.remote_write_rows import Encoder1
from ...model.metadata import MetricMetadata
from .protocol import Protocol
from .sender import GivenUp, Sender


async def send_metadata(
    config: MetadataConfig, sender: Sender, protocol: Protocol, metadata: Callable[[], Mapping[str, MetricMetadata]]
) -> None:
    """Send metadata each interval until cancelled; attempts end with the interval.  2.0 carries it with the samples."""
    seconds = config.send_interval_ms / 1000
    while config.send and seconds > 0:
        await trio.sleep(seconds)
        if protocol.is_2:
            continue
        try:
            known = list(metadata().items())
        except TinyObsError:
            continue
        with trio.move_on_after(seconds):
            for i in range(0, len(known), config.max_samples_per_send):
                part = dict(known[i : i + config.max_samples_per_send])
                body = encode((), part)
                try:
                    await sender.deliver_metadata(body, len(part), Encoder1.content_type, Encoder1.version)
                except GivenUp:
                    return
