"""The section `tinyobs.scrape`: what belongs to scraping as a whole and not to one scrape config."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from .fields import Fault, setting

HOST_NAME: Final = "hostname"
"""As `member_number`: the number at the end of the host's name."""
_NUMBER: Final = re.compile(r"(?:.*-)?([0-9]{1,9})\Z", re.DOTALL)


@frozen(kw_only=True)
class ClusterSettings:
    """Several agents with one configuration that share the targets among them."""

    members_count: int = setting(default=1, low=1, high=100_000)
    """How many agents there are; default 1."""
    member_number: str = setting(default="0")
    """Of this agent, from 0; a text that ends with `-N` is number N, `hostname` takes the host's name; default 0."""
    replication_factor: int = setting(default=1, low=1, high=100_000)
    """How many agents scrape each target; default 1."""
    shard_by_labels: tuple[str, ...] = setting(default=())
    """Labels of targets that choose the agent; default none, which is all."""
    name: str = setting(default="")
    """Of the cluster: clusters of different names scrape at different times; default none."""
    member_label: str = setting(default="")
    """Label with the number of the agent that all scraped series get; default none."""
    member_url_template: str = setting(default="")
    """URL of an agent with `%d` for its number, for links to where a target is scraped; default none."""

    @property
    def number(self) -> int:
        """The number of this agent; `ValueError` when there is none."""
        text = socket.gethostname().partition(".")[0] if self.member_number == HOST_NAME else self.member_number
        found = _NUMBER.match(text)
        if found is None:
            raise ValueError(f"{text!r} is no number and does not end with -N")
        return int(found[1])

    def faults(self) -> Iterator[Fault]:
        """Yield what does not fit together."""
        try:
            if self.number >= self.members_count:
                last = self.members_count - 1
                yield Fault(f"must be between 0 and {last} where members_count is {last + 1}", "member_number")
        except ValueError as e:
            yield Fault(str(e), "member_number")
        if self.replication_factor > self.members_count:
            yield Fault("must not be larger than members_count", "replication_factor")
        for i, name in enumerate(self.shard_by_labels):
            if not name:
                yield Fault('"" is not a valid label name', f"shard_by_labels[{i}]")


@frozen(kw_only=True)
class ScrapeSettings:
    """Scraping as a whole."""

    cluster: ClusterSettings = setting(factory=ClusterSettings)
