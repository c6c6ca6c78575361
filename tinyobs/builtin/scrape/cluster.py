"""Which members of a cluster of scrapers scrape a target.  Pure; every member comes to the same answer.

The rule is that of VictoriaMetrics (lib/promscrape `getClusterMemberNumsForScrapeWork`): a hash of the target's labels after
relabelling chooses a member, the ones after it are replicas.  The hash is our own, so that all members must be TinyObs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

_PLACE: Final = frozenset(("__address__", "__scheme__", "__metrics_path__", "__unix_socket__"))
"""Hidden labels that belong to what a target is.  How it is scraped does not place it: that may change, as may what
versions have to say of it."""


@frozen
class Cluster:
    """A cluster as one of its members sees it."""

    members_count: int = 1
    number: int = 0
    """Of this member, from 0."""
    replication_factor: int = 1
    """How many members scrape each target."""
    shard_by_labels: tuple[str, ...] = ()
    """Labels that choose the member; () or none of them there: all labels."""
    name: str = ""
    member_label: str = ""
    """The label that series get with the number of the member, "" for none."""
    member_url_template: str = ""

    @property
    def is_sharded(self) -> bool:
        """Whether some targets are scraped by other members."""
        return min(self.replication_factor, self.members_count) < self.members_count

    @property
    def seed(self) -> str:
        """What the times of scrapes are spread by besides the target, so that clusters and replicas take turns."""
        return f"{self.name}/{self.number}"

    def members_of(self, labels: Mapping[str, str]) -> tuple[int, ...]:
        """Return the numbers of the members that scrape a target, the first one first.

        labels: of the target after relabelling, those that begin with `__` among them.
        """
        chosen = {k: v for k, v in labels.items() if k in self.shard_by_labels and v}
        if not chosen:
            chosen = {k: v for k, v in labels.items() if v and _is_of_target(k)}
        text = "".join(f"{len(k)}:{k}={len(v)}:{v}," for k, v in sorted(chosen.items()))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        first = int.from_bytes(digest, "big") % self.members_count
        return tuple((first + i) % self.members_count for i in range(min(self.replication_factor, self.members_count)))

    def member_url(self, number: int) -> str:
        """Return where another member is, "" where that was not said."""
        return self.member_url_template.replace("%d", str(number))


def _is_of_target(name: str) -> bool:
    return not name.startswith("__") or name in _PLACE or name.startswith("__param_")


def cluster_of(settings: Any) -> Cluster | None:
    """Return the cluster of the section `tinyobs.scrape.cluster`, None where there is nothing of the kind."""
    if settings.members_count == 1 and not settings.member_label and not settings.name:
        return None
    return Cluster(
        settings.members_count,
        settings.number,
        settings.replication_factor,
        settings.shard_by_labels,
        settings.name,
        settings.member_label,
        settings.member_url_template,
    )
