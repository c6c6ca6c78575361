"""A server of canned answers, and short ways to look at outcomes."""

from __future__ import annotations

import trio


class Http:
    """A server of canned answers by path; `seen` has the requests as (first line, headers, body)."""

    def __init__(self):
        self.answers = {}
        self.seen = []

    def answer(self, path, body=b"", status="200 OK", **headers):
        """Set the answer for a path; header names have underscores for dashes."""
        headers.setdefault("Content_Length", str(len(body)))
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items() if v is not None]
        self.answers[path] = "\r\n".join([*lines, "", ""]).encode() + body

    async def handle(self, stream):
        """Serve one connection."""
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = await stream.receive_some(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
                length = int(headers.get("content-length", 0))
                while len(buffer) < length:
                    buffer += await stream.receive_some(65536)
                body, buffer = buffer[:length], buffer[length:]
                self.seen.append((first, headers, body))
                answer = self.answers.get(first.split(" ")[1], b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                await stream.send_all(answer)
                if b"Connection: close" in answer:
                    await stream.aclose()
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def silent(stream):
    """Keep a connection open and say nothing."""
    await trio.sleep_forever()


def value(outcome, name, **labels):
    """Return a gauge of an outcome."""
    return outcome.report.value(name, **labels)


def logged(outcome):
    """Return the log of an outcome as one text."""
    return "\n".join(outcome.report.log)
