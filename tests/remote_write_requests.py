"""Requests of remote write, made by the protobuf library."""

import cramjam

from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.exposition.remote_write_v2_schema import Request2

V1, V2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"


class Request:
    """Makes a request of version 2.0."""

    def __init__(self, *symbols):
        self.message = Request2()
        self.numbers = {}
        for text in ("", *symbols):
            self.number(text)

    def number(self, text):
        """Return the number of a symbol."""
        if text not in self.numbers:
            self.numbers[text] = len(self.numbers)
            self.message.symbols.append(text)
        return self.numbers[text]

    def series(self, labels, *samples, refs=None):
        """Add a series of samples (time, value) or (time, value, start); return its message."""
        series = self.message.timeseries.add()
        series.labels_refs.extend(refs if refs is not None else [self.number(t) for pair in labels for t in pair])
        for time, value, *start in samples:
            series.samples.add(timestamp=time, value=value, start_timestamp=start[0] if start else 0)
        return series

    def bytes(self):
        """Return it, not compressed."""
        return self.message.SerializeToString()

    def body(self):
        """Return it as it is sent."""
        return packed(self.bytes())


def histogram(series, time, start=0, **more):
    """Add a histogram of one observation."""
    h = series.histograms.add(timestamp=time, start_timestamp=start, schema=0, count_int=1, sum=1.0, **more)
    h.positive_spans.add(offset=0, length=1)
    h.positive_deltas.append(1)
    return h


def packed(data):
    """Return a message as it is sent."""
    return bytes(cramjam.snappy.compress_raw(data))


def body_1(*series):
    """Return the body of a request of version 1.0 made of (pairs, samples)."""
    message = WriteRequest()
    for pairs, samples in series:
        ts = message.timeseries.add()
        for name, value in pairs:
            ts.labels.add(name=name.encode(), value=value.encode())
        for time, value in samples:
            ts.samples.add(timestamp=time, value=value)
    return packed(message.SerializeToString())


def headers(message=V2, **more):
    """Return the headers of a request."""
    kind = "application/x-protobuf" if message == V1 else f"application/x-protobuf;proto={message}"
    version = "0.1.0" if message == V1 else "2.0.0"
    found = {"content-type": kind, "content-encoding": "snappy", "x-prometheus-remote-write-version": version}
    return found | {name.replace("_", "-"): value for name, value in more.items()}


def written(answer):
    """Return (samples, histograms, exemplars) that an answer says were written, None where it does not."""
    names = [f"x-prometheus-remote-write-{kind}-written" for kind in ("samples", "histograms", "exemplars")]
    if not any(name in answer.headers for name in names):
        return None
    return tuple(int(answer.headers[name]) for name in names)
