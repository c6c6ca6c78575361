"""What a decoder makes of a body, in a form to compare."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from otlp_bodies import SECOND_NS, START_NS, Body

from tinyobs.errors import WireError
from tinyobs.exposition.otlp.assembly import Decoded
from tinyobs.exposition.otlp.decoder import Decoder
from tinyobs.exposition.otlp.rules import Rules
from tinyobs.exposition.otlp.schema import Request
from tinyobs.model.histograms import is_handle, numbers_of
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry

TARGET = "target_info"


def decoder(**rules: Any) -> Decoder:
    """Return a decoder with a registry of its own."""
    return Decoder(SeriesRegistry(), Rules(**rules))


def rows(registry: SeriesRegistry, decoded: Decoded) -> list[tuple[object, ...]]:
    """Return (series, time, value as text or histogram, start) of all samples, in order."""
    batch = decoded.pushed.batch
    histograms = numbers_of(batch.values)
    out: list[tuple[object, ...]] = []
    for i, ref in enumerate(batch.refs.tolist()):
        value: object = batch.values[i : i + 1].tobytes().hex()
        if is_handle(batch.values[i : i + 1])[0]:
            assert batch.histograms is not None
            value = repr(batch.histograms.one(int(histograms[i])))
        start = 0 if batch.starts_ms is None else int(batch.starts_ms[i])
        out.append((to_text(registry.labels(ref)), int(batch.timestamps_ms[i]), value, start))
    return out


def everything(registry: SeriesRegistry, decoded: Decoded) -> tuple[object, ...]:
    """Return all that a decoded request says, but for metadata."""
    exemplars = [
        (to_text(registry.labels(e.ref)), e.labels, repr(e.value), e.timestamp_ms, e.has_time)
        for e in decoded.pushed.batch.exemplars
    ]
    pushed = decoded.pushed
    return rows(registry, decoded), exemplars, dict(pushed.refused), decoded.points, decoded.rejected


def floats(body: bytes, **rules: Any) -> dict[str, list[tuple[int, float]]]:
    """Return series -> [(time in ms, value), ...] of a body, without `target_info`."""
    made = decoder(**rules)
    decoded = made.decode(body)
    found: dict[str, list[tuple[int, float]]] = {}
    batch = decoded.pushed.batch
    for ref, at, value in zip(batch.refs.tolist(), batch.timestamps_ms.tolist(), batch.values.tolist(), strict=True):
        text = to_text(made.registry.labels(ref))
        if not text.startswith(TARGET):
            found.setdefault(text, []).append((at, value))
    return found


def general(made: Decoder, body: bytes) -> Any:
    """Return what the general way says of a body, with the same numbers of series; None where it refuses it."""
    try:
        request = Request.FromString(body)
    except DecodeError:
        return None
    return made._general(request, None)


def same(made: Decoder, body: bytes) -> bool:
    """Check a body against the general way; tells whether it could be read."""
    wanted = general(made, body)
    try:
        found = made.decode(body)
    except WireError:
        assert wanted is None
        return False
    assert wanted is not None
    assert everything(made.registry, found) == everything(made.registry, wanted)
    found.settle()
    return True


def exporter(step: int, size: int = 12) -> Body:
    """Return what a program exports: the same each time, but for times and numbers."""
    at = START_NS + step * 10 * SECOND_NS
    body = Body(scope="lib", service__name="shop", service__instance__id="i", host__name="h")
    body.scope_metrics.schema_url = b"https://x"
    for i in range(size):
        body.gauge(f"gauge.{i}", 1.5 * step, unit="s", at_ns=at, http__method="GET", code=i)
        body.gauge(f"ints.{i}", step * 7, at_ns=at)
        body.sum(f"sum.{i}", float(step), start_ns=START_NS, at_ns=at, route="/" * i)
        body.histogram(
            f"duration.{i % 3}", [step, i, 3, 4][: i % 4 + 1], [0.1, 2.5, 10.0][: i % 4], total=step * 0.5 if i % 2 else None,
            start_ns=START_NS, at_ns=at, route=str(i),
        )  # fmt: skip
    ends = body.histogram("with.ends", [1, step], [1.0], at_ns=at)
    ends.min, ends.max = 0.5 * step, 2.0 * step
    return body
