"""Remote write 1.0, the general way: a series decoded by the protobuf library, whatever it holds.

It takes what the fast path of `remote_write.py` does not: several samples, native histograms, exemplars, labels in any
order or encoding, labels that cannot be.
"""

from __future__ import annotations

from attrs import define, field

from .remote_write_gather import Gathered, canonical
from .remote_write_histograms import exemplar_labels
from .remote_write_schema import TimeSeries


@define
class GeneralWay(Gathered):
    """The part of a request that is not the fast path."""

    odd_blocks: dict[int, tuple[bytes, int]] = field(factory=dict)
    """By index: label blocks that are not canonical, and the series they seem to be."""

    def take(self, index: int, data: bytes) -> None:
        """Decode series number `index`; raises `DecodeError` of the protobuf library."""
        series = TimeSeries.FromString(data)
        labels, fault = canonical([(p.name, p.value) for p in series.labels])
        if fault:
            self.refuse_series(fault, len(series.samples) + len(series.histograms), len(series.exemplars))
            return
        if not (series.samples or series.histograms or series.exemplars):
            return
        ref = self.registry.intern(labels)
        block, expected = self.odd_blocks.get(index, (b"", -1))
        if ref == expected:  # labels in another order, nothing worse: the fast path may know them from now on
            self.registry.remember_block(block, ref)
        for sample in series.samples:
            self.add(index, ref, sample.timestamp, sample.value)
        for message in series.histograms:
            self.add_histogram(index, ref, message)
        for message in series.exemplars:
            self.add_exemplar(ref, exemplar_labels([(p.name, p.value) for p in message.labels]), message)
