"""What tests of remote write share: a receiver in place of HTTP, and samples."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace

import cramjam
import httpx
import numpy as np
import trio
from attrs import Factory, define, frozen

from tinyobs.builtin.remote_write import RemoteWrite
from tinyobs.builtin.remote_write import poster as poster_module
from tinyobs.builtin.remote_write import tinyobs_config_sections as sections
from tinyobs.config.loader import parse
from tinyobs.exposition.remote_write_schema import WriteRequest
from tinyobs.exposition.remote_write_v2_schema import Request2
from tinyobs.http_client import HttpError
from tinyobs.model.batch import Batch
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.testing.services import FakeServices

HANG = "hang"
BREAK = "break"


@frozen
class Sample:
    """One sample or histogram as it arrived."""

    labels: dict[str, str]
    time: int
    value: object
    start: int = 0


@frozen
class Asked:
    """One request as it arrived, and when."""

    at: float
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_2(self):
        return "v2.Request" in self.headers["Content-Type"]

    def message(self):
        """Return the message, read by protobuf."""
        return (Request2 if self.is_2 else WriteRequest).FromString(bytes(cramjam.snappy.decompress_raw(self.body)))

    def labels_of(self, series, message):
        if self.is_2:
            texts = [message.symbols[i] for i in series.labels_refs]
            return dict(zip(texts[::2], texts[1::2], strict=True))
        return {x.name.decode(): x.value.decode() for x in series.labels}

    def samples(self):
        """Return all samples in order."""
        message = self.message()
        out = []
        for series in message.timeseries:
            labels = self.labels_of(series, message)
            out += [Sample(labels, s.timestamp, s.value, getattr(s, "start_timestamp", 0)) for s in series.samples]
            out += [Sample(labels, h.timestamp, h, getattr(h, "start_timestamp", 0)) for h in series.histograms]
        return out

    def exemplars(self):
        """Return (labels of the series, value) of exemplars."""
        message = self.message()
        return [(self.labels_of(s, message), e.value) for s in message.timeseries for e in s.exemplars]


@define
class Receiver:
    """Stands for `http_client.Client`.

    replies: what the next requests are answered, a status or (status, headers, text), HANG or BREAK; then `always`.
    `answer` may decide by the request instead.
    """

    replies: list = Factory(list)
    always: object = 204
    answer: object = None
    asked: list[Asked] = Factory(list)
    under_way: int = 0
    most_under_way: int = 0
    seconds: float = 0.0
    configs: list = Factory(list)

    def client(self, config, **more):
        self.configs.append((config, more))
        return self

    @asynccontextmanager
    async def stream(self, method, url, headers, content):
        assert method == "POST"
        asked = Asked(trio.current_time(), url, dict(headers), content)
        self.asked.append(asked)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            reply = self.replies.pop(0) if self.replies else self.always
            if self.answer is not None:
                reply = self.answer(asked)
            await trio.sleep(self.seconds)
            if reply == HANG:
                await trio.sleep_forever()
            if reply == BREAK:
                raise HttpError("connection reset")
            status, more, text = reply if isinstance(reply, tuple) else (reply, {}, "")
            written = {}
            if asked.is_2 and status // 100 == 2 and "none" not in more:
                written = written_headers(asked)

            async def pieces():
                yield text.encode()

            yield SimpleNamespace(status=status, headers=httpx.Headers({**written, **more}), pieces=pieces)
        finally:
            self.under_way -= 1

    async def aclose(self):
        pass

    def samples(self):
        """Return all samples of all requests, whatever they were answered."""
        return [s for a in self.asked for s in a.samples()]


def written_headers(asked, samples=None, histograms=None, exemplars=None):
    """Return the headers of a receiver of 2.0."""
    message = asked.message()
    counts = {
        "Samples": sum(len(s.samples) for s in message.timeseries) if samples is None else samples,
        "Histograms": sum(len(s.histograms) for s in message.timeseries) if histograms is None else histograms,
        "Exemplars": sum(len(s.exemplars) for s in message.timeseries) if exemplars is None else exemplars,
    }
    return {f"X-Prometheus-Remote-Write-{kind}-Written": str(n) for kind, n in counts.items()}


def batch_of(registry, samples, exemplars=(), metadata=None):
    """Return a batch of (name or labels, time, value or histogram[, start])."""
    rows = [(*s, 0)[:4] for s in samples]
    labels = [from_mapping(n if isinstance(n, dict) else {"__name__": n}) for n, *_ in rows]
    refs = registry.intern_many(labels) if rows else np.zeros(0, np.uint32)
    native = [isinstance(v, Histogram) for _, _, v, _ in rows]
    values = np.array([0.0 if h else r[2] for r, h in zip(rows, native, strict=True)], np.float64)
    values[native] = handles(0, sum(native))
    starts = np.array([r[3] for r in rows], np.int64)
    return Batch(
        refs,
        np.array([r[1] for r in rows], np.int64),
        values,
        "test",
        metadata=metadata or {},
        histograms=histograms_of([r[2] for r, h in zip(rows, native, strict=True) if h]) if any(native) else None,
        starts_ms=starts if starts.any() else None,
        exemplars=tuple(exemplars),
    )


async def run_inline(work, *arguments, **_):
    """Stands for `trio.to_thread.run_sync`: a virtual clock does not wait for threads."""
    await trio.lowlevel.checkpoint()
    return work(*arguments)


@asynccontextmanager
async def sending(receiver, text, monkeypatch, services=None, **more):
    """Run a sink whose only destination is `receiver`, as configured; yields the services, whose `commit` feeds it.

    text: keys of the destination.  more: `top` for other keys of the configuration.
    """
    monkeypatch.setattr(poster_module, "Client", receiver.client)
    monkeypatch.setattr(trio.to_thread, "run_sync", run_inline)
    services = services or FakeServices()
    services.config = config_of(text, **more)
    services.metadata = getattr(services, "metadata", {})
    services.open_storage = lambda: SimpleNamespace(metadata=lambda: services.metadata)
    sink = RemoteWrite(services)
    services.sink = sink
    async with trio.open_nursery() as nursery:
        await nursery.start(services.followers.run)
        await nursery.start(sink.run)
        yield services
        nursery.cancel_scope.cancel()


def config_of(text, top=""):
    """Return a configuration with one destination."""
    return parse(f"remote_write:\n- {{url: 'http://h/write', name: far, {text}}}\n{top}", "test.yml", sections())


def commit(services, *samples, **more):
    """Commit samples (name or labels, time, value[, start]) as one record."""
    services.commit(batch_of(services.registry, samples, **more))


async def settled(services):
    """Wait until the place in the log is behind all records."""
    while services.log.places.get("remote_write-far") != services.log.end():  # noqa: ASYNC110
        await trio.sleep(0.05)


def counters(services):
    """Return what is counted of the destination."""
    return services.sink._memories["far"].counters
