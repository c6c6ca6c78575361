"""The requests of `flood.py`: bodies of many series, and bodies made to do harm."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable

import cramjam
import numpy as np
from servers import MIB


def json_lines(size: int, seed: int) -> bytes:
    """About `size` bytes: lines of 500 samples, series of their own for each connection."""
    now = int(time.time() * 1000) // 1000 * 1000
    lines, total, i = [], 0, 0
    times = [now - 500_000 + 1000 * k for k in range(500)]
    while total < size:
        metric = {"__name__": "flood", "connection": str(seed), "series": str(i)}
        line = json.dumps({"metric": metric, "values": [float(k + i) for k in range(500)], "timestamps": times}) + "\n"
        lines.append(line)
        total += len(line)
        i += 1
    return "".join(lines).encode()


def remote_write(size: int, seed: int) -> bytes:
    """A snappy body of new series, about `size` bytes when unpacked."""
    from tinyobs.model.label_block import encode_block, varint
    from tinyobs.model.labels import from_mapping

    now = int(time.time() * 1000)
    parts, total, i = [], 0, 0
    sample = b"\x12\x10\x09" + bytes(6) + b"\xf0?" + b"\x10" + varint(now)
    while total < size:
        block = encode_block(from_mapping({"__name__": "flood", "connection": str(seed), "series": str(i)}))
        content = block + sample
        part = b"\x0a" + varint(len(content)) + content
        parts.append(part)
        total += len(part)
        i += 1
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))


def remote_write_2(size: int, seed: int) -> bytes:
    """The same series by version 2.0, which is about two fifths as long."""
    from tinyobs.exposition.remote_write_rows import SendRows
    from tinyobs.exposition.remote_write_v2 import Encoder2
    from tinyobs.model.labels import from_mapping

    count, encoder = size // 73, Encoder2()
    for i in range(count):
        encoder.add(i, from_mapping({"__name__": "flood", "connection": str(seed), "series": str(i)}))
    times = np.full(count, int(time.time() * 1000))
    return bytes(
        cramjam.snappy.compress_raw(encoder.encode(SendRows(np.arange(count, dtype=np.uint32), times, np.ones(count))))
    )


def influx(size: int, seed: int) -> bytes:
    """Lines of new series."""
    return many(size, lambda i: b"flood,connection=%d,series=%d value=1\n" % (seed, i))


def text(size: int, seed: int) -> bytes:
    """Lines of new series as targets expose them."""
    return many(size, lambda i: b'flood{connection="%d",series="%d"} 1\n' % (seed, i))


def otlp(size: int, seed: int) -> bytes:
    """A gauge of which every point is of a new series."""
    time_field = b"\x19" + (time.time_ns()).to_bytes(8, "little")

    def point(i: int) -> bytes:
        value = field(1, b"%d" % i)
        return field(1, field(7, field(1, b"series") + field(2, value)) + time_field + b"\x31" + bytes(8))

    metric = field(1, b"flood_%d" % seed) + field(5, many(size, point))
    return field(1, field(2, field(2, metric)))


def otlp_without_points(size: int) -> bytes:
    """Metrics of two bytes, each of which becomes an object."""
    return field(1, field(2, b"\x12\x00" * (size // 2)))


def many(size: int, make: Callable[[int], bytes]) -> bytes:
    """What is made of 0, 1, 2, ..., until it is `size` bytes."""
    parts, total = [], 0
    while total < size:
        parts.append(make(len(parts)))
        total += len(parts[-1])
    return b"".join(parts)


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf that has a length."""
    from tinyobs.model.label_block import varint

    return bytes([number << 3 | 2]) + varint(len(content)) + content


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def kinds(name: str, connections: int, size: int) -> list[bytes]:
    """A request for each connection; few of them are really different.  size: of bodies of new series."""
    protobuf = {"Content-Type": "application/x-protobuf"}
    version_2 = {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
    if name == "bodies":
        bodies = [request("/api/v1/import", json_lines(30 * MIB, k), {}) for k in range(4)]
    elif name == "packed":
        packed = {"Content-Encoding": "gzip"}
        bodies = [request("/api/v1/import", gzip.compress(json_lines(30 * MIB, k), 1), packed) for k in range(4)]
    elif name == "bombs":
        bomb = gzip.compress(bytes(1 << 30), 6)
        bodies = [request("/api/v1/import", bomb, {"Content-Encoding": "gzip"})]
    elif name == "slow":
        whole = request("/api/v1/import", json_lines(20 * MIB, 0), {})
        bodies = [whole[: len(whole) // 2]]
    elif name == "rates":
        bodies = [request("/api/v1/import", json_lines(1000, k), {}) for k in range(4)]
    elif name == "points":
        bodies = [request("/v1/metrics", otlp_without_points(30 * MIB), protobuf)]
    else:
        path, make, headers = {
            "writes": ("/api/v1/write", remote_write, {"Content-Encoding": "snappy", **protobuf}),
            "writes2": ("/api/v1/write", remote_write_2, {"Content-Encoding": "snappy", **version_2}),
            "influx": ("/write", influx, {}),
            "otlp": ("/v1/metrics", otlp, protobuf),
            "text": ("/api/v1/import/prometheus", text, {}),
        }[name]
        bodies = [request(path, make(size, k), headers) for k in range(16)]
    return [bodies[k % len(bodies)] for k in range(connections)]
