"""OpenTSDB's telnet protocol: `put <metric> <time> <value> <tag>=<value> ...`, one data point a line.

Other commands are those that people type: `version`, `help`, `exit`.  A `put` is answered only where it failed.  What comes
behind `exit` is not read.
"""

from __future__ import annotations

from typing import Final

from tinyobs.exposition.floats import parse_float, printable
from tinyobs.exposition.pushed import Pushed
from tinyobs.receiving.streams import LastAnswer

from .points import MALFORMED, Points, SeriesMemory, time_ms

HELP: Final = b"available commands: put version help exit\n"
ANSWERS: Final = {b"help": HELP, b"version": b"TinyObs, as OpenTSDB\n", b"stats": b""}
LAST: Final = (b"exit", b"quit")
"""Commands that end the connection."""


def read_lines(lines: bytes, memory: SeriesMemory) -> tuple[Pushed, bytes]:
    """Return the data points of lines, and what to answer; a line that cannot be read costs no other one.

    The answer is a `LastAnswer` where the connection is to be closed.
    """
    points = Points()
    answers: list[bytes] = []
    for number, line in enumerate(lines.split(b"\n"), 1):
        words = line.split(None, 4)
        if not words:
            continue
        if words[0] in LAST:
            return points.pushed(), LastAnswer(b"".join(answers))
        if words[0] != b"put":
            answer = ANSWERS.get(words[0])
            if answer is None:
                points.faults.add(MALFORMED, f"line {number}: unknown command: {printable(line)}")
                answer = f"unknown command: {printable(words[0])}\n".encode()
            answers.append(answer)
            continue
        try:
            _put(words, memory, points)
        except ValueError as e:
            points.faults.add(MALFORMED, f"line {number}: {e}")
            answers.append(f"put: {e}\n".encode())
    return points.pushed(), b"".join(answers)


def _put(words: list[bytes], memory: SeriesMemory, points: Points) -> None:
    if len(words) < 4:
        raise ValueError("not enough arguments (a metric, a time, a value and tags)")
    _, metric, at, number, *rest = words
    time = time_ms(at, parse_float)
    value = parse_float(number)
    if value != value:
        raise ValueError("a value that is not a number")
    key = (metric, *rest)
    ref = memory.find(key)
    if ref is None:
        try:
            tags = [tag.decode().partition("=")[::2] for tag in (rest[0].split() if rest else ())]
            ref = memory.remember(key, metric.decode(), tags)
        except UnicodeDecodeError:
            raise ValueError("a metric or a tag is not UTF-8") from None
    points.add(ref, time, value)
