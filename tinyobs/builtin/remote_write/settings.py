"""The section `tinyobs.remote_write`: what prometheus.yml has no keys for, and the names of destinations.

tinyobs:
  remote_write:
    start: oldest
    distribution: shard
    shard_labels: [instance]
    replicas: 2
    destinations: [{name: archive, start: 2d}]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from attrs import field, frozen

from ...abc import CursorStart
from ...config.fields import Fault
from ...config.remote import RemoteWriteConfig
from ...model.durations import parse_duration

SECTION: Final = "remote_write"
NOW: Final = "now"
OLDEST: Final = "oldest"
CURSOR_PREFIX: Final = "remote_write-"
_LONG: Final = 60


class Distribution(StrEnum):
    """Which destinations a series goes to."""

    REPLICATE = "replicate"
    SHARD = "shard"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a way that there is not."""
        return f"unknown distribution {text!r}, there are replicate and shard"


@frozen(kw_only=True)
class DestinationSettings:
    """What is said of one destination."""

    name: str = ""
    """The `name` of the entry in `remote_write`."""
    start: str = NOW
    """Where it begins when it is new: as `start` of the section."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong."""
        if not self.name:
            yield Fault("a destination is told by its name", "name")
        yield from _start_faults(self.start)


@frozen(kw_only=True)
class RemoteWriteSettings:
    """How all destinations work together."""

    start: str = NOW
    """Where a new destination begins: `now`, `oldest`, or how far back, as a duration."""
    distribution: Distribution = Distribution.REPLICATE
    """`replicate`: every destination gets all series.  `shard`: each series goes to `replicas` of them."""
    replicas: int = field(default=1, metadata={"low": 1})
    """How many destinations a series goes to when they share the series."""
    shard_labels: tuple[str, ...] = ()
    """The labels that choose the destination; none: all labels."""
    shard_ignore_labels: tuple[str, ...] = ()
    """Labels that do not choose the destination."""
    destinations: tuple[DestinationSettings, ...] = ()
    """What is different for single destinations."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong."""
        yield from _start_faults(self.start)
        if self.shard_labels and self.shard_ignore_labels:
            yield Fault("shard_labels and shard_ignore_labels exclude each other", "shard_ignore_labels")

    def start_of(self, name: str) -> CursorStart:
        """Return where a destination begins when it has no place in the log yet."""
        text = next((d.start for d in self.destinations if d.name == name), self.start)
        if text == OLDEST:
            return CursorStart(None)
        return CursorStart(0 if text == NOW else parse_duration(text))


def _start_faults(text: str) -> Iterator[Fault]:
    if text in (NOW, OLDEST):
        return
    try:
        parse_duration(text)
    except ValueError:
        yield Fault(f"start is 'now', 'oldest' or a duration such as 2h, not {text!r}", "start")


def names_of(configs: Sequence[RemoteWriteConfig]) -> list[str]:
    """Return the name of each destination: its own, else six digits that are made from the URL.

    They stay the same when anything else of the configuration changes, for the place in the log is kept by name.
    """
    names: list[str] = []
    for config in configs:
        text, again = shown_url(config.url), 0
        name = config.name
        while not name or (name in names and not config.name):
            name = hashlib.sha256(f"{text} {again}".encode()).hexdigest()[:6]
            again += 1
        names.append(name)
    return names


def shown_url(url: str) -> str:
    """Return a URL without what may be secret: user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def cursor_name(name: str) -> str:
    """Return the name of a destination's cursor; a long one is shortened by its hash."""
    if len(name.encode()) > _LONG:
        name = hashlib.sha256(name.encode()).hexdigest()[:32]
    return CURSOR_PREFIX + name
