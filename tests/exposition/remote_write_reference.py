"""Remote write 2.0 decoded by the protobuf library, series by series, written for plainness: the oracle of the fast decoder."""

from __future__ import annotations

import struct

from tinyobs.exposition.remote_write_histograms import exemplar_labels
from tinyobs.exposition.remote_write_v2_schema import Request2


def decoded_2(data):
    """Return (rows, exemplars, (refused series, refused samples, refused exemplars)) of a request.

    A row is (labels, time, bits of the value or "histogram", start), in the order of the request; an exemplar is (labels, its labels,
    its value), sorted.
    """
    request = Request2.FromString(data)
    rows, exemplars, refused = [], [], [0, 0, 0]
    for series in request.timeseries:
        labels = labels_of(request, series)
        if labels is None:
            refused[0] += 1
            refused[1] += len(series.samples) + len(series.histograms)
            refused[2] += len(series.exemplars)
            continue
        rows += [(labels, s.timestamp, bits(s.value), s.start_timestamp) for s in series.samples]
        rows += [(labels, h.timestamp, "histogram", h.start_timestamp) for h in series.histograms]
        for e in series.exemplars:
            pairs = pairs_of(request.symbols, e.labels_refs)
            own = None if pairs is None else exemplar_labels(pairs)
            if own is None:
                refused[2] += 1
            else:
                exemplars.append((labels, own, e.value))
    return rows, sorted(exemplars), tuple(refused)


def labels_of(request, series):
    """Return the label set of a series, None where it is refused."""
    size = len(request.symbols)
    if series.HasField("metadata") and max(series.metadata.help_ref, series.metadata.unit_ref) >= size:
        return None
    pairs = pairs_of(request.symbols, series.labels_refs)
    if pairs is None or not (series.samples or series.histograms or series.exemplars):
        return None
    texts = [(name.decode(), value.decode()) for name, value in pairs]
    names = [name for name, _ in texts]
    if "" in names or len(set(names)) < len(names) or not dict(texts).get("__name__"):
        return None
    return tuple(sorted((name, value) for name, value in texts if value))


def pairs_of(symbols, refs):
    """Return the texts of references in pairs, None where one points nowhere or has no partner."""
    if len(refs) % 2 or any(ref >= len(symbols) for ref in refs):
        return None
    raw = [symbols[ref].encode() if isinstance(symbols[ref], str) else symbols[ref] for ref in refs]
    return list(zip(raw[::2], raw[1::2], strict=True))


def bits(value):
    """Return the bits of a number as an integer."""
    return struct.unpack("<Q", struct.pack("<d", value))[0]
