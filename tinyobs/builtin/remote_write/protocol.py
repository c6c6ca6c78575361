"""The message that a destination is sent, 2.0 or 1.0, and the way back from the one to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import cramjam
import numpy as np
import trio
from attrs import evolve

from ...config.remote import WriteMessage
from ...exposition.remote_write_rows import Encoder1, SendRows, histogram_messages
from ...exposition.remote_write_v2 import Encoder2
from ...model.histograms import CUSTOM_SCHEMA
from ...model.labels import Labels
from ...model.metadata import MetricMetadata
from .counters import CUSTOM_BUCKETS, WITHOUT_SAMPLE, Counters
from .queue import custom_histograms, without_histograms

SUFFIXES: Final = ("_bucket", "_count", "_sum", "_total", "_created", "_info")
"""What names of samples have behind the name of their family."""
COMPRESS_IN_THREAD_BYTES: Final = 1 << 20
"""Longer requests are compressed in a thread, which takes a millisecond for this many bytes."""
HISTOGRAMS_IN_LOOP_MAX: Final = 100
"""More native histograms are encoded in a thread, so that they do not hold up what else runs."""
SERIES_REMEMBERED_MIN: Final = 50_000


class Protocol:
    """Encodes rows in the message that the receiver understands."""

    def __init__(
        self,
        message: WriteMessage,
        sent_labels: Callable[[int], Labels | None],
        metadata: Callable[[], Mapping[str, MetricMetadata]],
        counters: Counters,
    ) -> None:
        """sent_labels: the labels of a series that an encoder has forgotten."""
        self._sent_labels = sent_labels
        self._counters = counters
        self._metadata = metadata
        self._encoder: Encoder1 | Encoder2 = Encoder1() if message is WriteMessage.V1 else Encoder2(self._metadata_of)
        self._used = np.zeros(0, np.bool_)
        """By ref, which series were sent since the last sweep."""

    @property
    def is_2(self) -> bool:
        """Whether requests are of 2.0."""
        return isinstance(self._encoder, Encoder2)

    @property
    def content_type(self) -> str:
        """The header of that name."""
        return self._encoder.content_type

    @property
    def version(self) -> str:
        """The header `X-Prometheus-Remote-Write-Version`."""
        return self._encoder.version

    def fall_back(self) -> None:
        """Send 1.0 from now on."""
        self._encoder = Encoder1()

    def add(self, ref: int, labels: Labels, block: bytes) -> None:
        """Remember a series."""
        self._encoder.add(ref, labels, block)

    def forget_metadata(self) -> None:
        """Metadata has changed."""
        if isinstance(self._encoder, Encoder2):
            self._encoder.forget_metadata()

    def sweep(self) -> None:
        """Forget all series when most of them were not sent since the last call; those that live on are made anew."""
        if len(self._encoder) > max(2 * int(self._used.sum()), SERIES_REMEMBERED_MIN):
            self._encoder.clear()
        self._used[:] = False

    def carried(self, rows: SendRows) -> SendRows:
        """Return what the message can carry; what it cannot is counted.  1.0 has no histograms with custom buckets."""
        if self.is_2 or rows.histograms is None:
            return rows
        custom = custom_histograms(rows, CUSTOM_SCHEMA)
        if not custom.any():
            return rows
        self._counters.drop("histograms", CUSTOM_BUCKETS, int(custom.sum()))
        return without_histograms(rows, custom)

    async def body(self, rows: SendRows) -> bytes:
        """Return the compressed request."""
        top = int(rows.refs.max(initial=0)) + 1
        if top > len(self._used):
            self._used = np.concatenate((self._used, np.zeros(max(top, len(self._used)), np.bool_)))
        self._used[rows.refs] = True
        if rows.histogram_count > HISTOGRAMS_IN_LOOP_MAX:
            rows = evolve(rows, messages=await trio.to_thread.run_sync(histogram_messages, rows))
        try:
            raw = self._encoder.encode(rows)
        except KeyError:
            for ref in {*rows.refs.tolist(), *(e.ref for e in rows.lonely)}:
                if ref not in self._encoder:
                    self._encoder.add(ref, self._sent_labels(ref) or ())
            raw = self._encoder.encode(rows)
        if len(raw) > COMPRESS_IN_THREAD_BYTES:
            return await trio.to_thread.run_sync(_compress, raw)
        return _compress(raw)

    def _metadata_of(self, name: str) -> MetricMetadata | None:
        known = self._metadata()
        found = known.get(name)
        for suffix in SUFFIXES:
            if found is None and name.endswith(suffix):
                found = known.get(name.removesuffix(suffix))
        return found

    def lonely_dropped(self, count: int) -> None:
        """Count exemplars that 2.0 cannot carry because no sample goes with them."""
        if self.is_2:
            self._counters.drop("exemplars", WITHOUT_SAMPLE, count)


def _compress(raw: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(raw))
