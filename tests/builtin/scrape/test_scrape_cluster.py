"""Targets shared among agents: each has exactly the members that it should."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import tinyobs.builtin.scrape.pool as pool_module
from tinyobs.builtin.scrape.cluster import Cluster, cluster_of
from tinyobs.builtin.scrape.manager import ScrapeManager, pool_defaults
from tinyobs.builtin.scrape.targets import Found, make_targets
from tinyobs.builtin.static_sd import tinyobs_discoverers
from tinyobs.config import scrape_cluster
from tinyobs.config.loader import parse
from tinyobs.config.member_number import with_member_number
from tinyobs.errors import ConfigError
from tinyobs.http_client import HttpError
from tinyobs.testing.services import FakeServices

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "scraping-cluster.md").read_text()


def config_of(member: int, members: int, replicas: int, more: str = "", targets: int = 100) -> str:
    names = ", ".join(f"'h{i}:1'" for i in range(targets))
    return f"""
tinyobs: {{scrape: {{cluster: {{members_count: {members}, member_number: {member}, replication_factor: {replicas}{more}}}}}}}
scrape_configs:
- job_name: j
  static_configs: [{{targets: [{names}]}}]
  relabel_configs: [{{source_labels: [__address__], regex: h(.).*, target_label: digit}}]
"""


def found_by(text: str) -> Found:
    config = parse(text)
    (scrape,) = config.scrape_configs
    groups = [([{"__address__": t} for t in e.targets], {}) for _, entries in scrape.discovery for e in entries]
    return make_targets(groups, pool_defaults(scrape, cluster_of(config.tinyobs.scrape.cluster)))


@pytest.mark.parametrize(("members", "replicas"), [(1, 1), (2, 1), (3, 1), (3, 2), (5, 3), (4, 4)])
def test_members_partition_the_targets_exactly(members: int, replicas: int) -> None:
    """Each target is scraped by as many members as it should be, and every member says which they are."""
    counts: Counter[str] = Counter()
    for member in range(members):
        found = found_by(config_of(member, members, replicas))
        assert len(found.targets) + len(found.elsewhere) == 100
        assert (found.dropped_count, found.errors) == (0, [])
        for target in found.targets:
            counts[target.url] += 1
            assert members == 1 or member in target.members
        for target in found.elsewhere:
            assert member not in target.members
            assert len(set(target.members)) == replicas
    assert set(counts.values()) == {replicas}
    assert len(counts) == 100


def test_the_shares_are_about_equal() -> None:
    """No member has much more than the others."""
    shares = [len(found_by(config_of(m, 4, 1, targets=1000)).targets) for m in range(4)]
    assert sum(shares) == 1000
    assert min(shares) > 200


def test_labels_keep_targets_together() -> None:
    """Targets with one value of the label have one member; without the label all labels choose."""
    together: dict[str, set[int]] = {}
    for member in range(3):
        for target in found_by(config_of(member, 3, 1, ", shard_by_labels: [digit]")).targets:
            together.setdefault(dict(target.labels)["digit"], set()).add(member)
    assert len(together) == 10
    assert all(len(members) == 1 for members in together.values())
    assert [len(found_by(config_of(m, 3, 1, ", shard_by_labels: [no]")).targets) for m in range(3)] == [
        len(found_by(config_of(m, 3, 1)).targets) for m in range(3)
    ]


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_members_are_distinct_numbers_of_the_cluster(labels: dict[str, str], members: int, replicas: int) -> None:
    """Whatever the labels; what discovery tells and how often is scraped do not count, and the order of labels neither."""
    cluster = Cluster(members, replication_factor=replicas)
    found = cluster.members_of(labels)
    assert len(set(found)) == len(found) == min(members, replicas)
    assert all(0 <= n < members for n in found)
    hidden = {"__meta_x": "y", "__scrape_interval__": "1m", "__tmp": "z"}
    assert cluster.members_of({**dict(reversed(labels.items())), **hidden}) == found


def test_the_placement_does_not_change_from_version_to_version() -> None:
    """Members of two versions must agree while one is replaced by the other."""
    cluster = Cluster(1000)
    assert [cluster.members_of({"job": "j", "__address__": f"h{i}:1"})[0] for i in range(4)] == [424, 914, 327, 923]


def test_series_may_tell_their_member() -> None:
    """The label has the number, also where there is one member only."""
    for text, number in (
        (config_of(1, 2, 2, ", member_label: scraper"), "1"),
        (config_of(0, 1, 1, ", member_label: scraper"), "0"),
    ):
        assert {dict(t.labels)["scraper"] for t in found_by(text).targets} == {number}


def test_the_member_may_be_the_end_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a text, or of the host as in a StatefulSet."""
    monkeypatch.setattr(scrape_cluster.socket, "gethostname", lambda: "scraper-2.svc.local")
    for text in ("hostname", "vmagent-2", "2"):
        config = parse(f"tinyobs: {{scrape: {{cluster: {{members_count: 3, member_number: {text}}}}}}}")
        assert config.tinyobs.scrape.cluster.number == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("members_count: 2, member_number: 2", "must be between 0 and 1 where members_count is 2"),
        ("members_count: 2, member_number: web", "'web' is no number and does not end with -N"),
        ("members_count: 2, replication_factor: 3", "must not be larger than members_count"),
        ("shard_by_labels: ['']", "is not a valid label name"),
    ],
)
def test_what_does_not_fit_together_is_refused(text: str, message: str) -> None:
    """A cluster of which two members were the same would lose targets."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse(f"tinyobs: {{scrape: {{cluster: {{{text}}}}}}}")


def test_a_flag_stands_above_the_configuration() -> None:
    """One file does for all members; a number that there is not is refused as in the file."""
    config = parse(config_of(0, 3, 1))
    assert with_member_number(config, "pod-2", "--flag").tinyobs.scrape.cluster.number == 2
    with pytest.raises(ConfigError, match="--flag: must be between 0 and 2 where members_count is 3"):
        with_member_number(config, "3", "--flag")


def test_the_example_of_the_page_shares_its_targets() -> None:
    """Two of three members have each of the six."""
    block = re.search(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert block
    counts: Counter[str] = Counter()
    for member in range(3):
        config = parse(block[1], environment={"MEMBER": str(member)})
        (scrape,) = config.scrape_configs
        groups = [([{"__address__": t} for t in scrape.discovery[0][1][0].targets], {})]
        counts.update(t.url for t in make_targets(groups, pool_defaults(scrape, cluster_of(config.tinyobs.scrape.cluster))).targets)  # fmt: skip
    assert len(counts) == 6
    assert set(counts.values()) == {2}


class NoClient:
    """Never opens a connection."""

    def __init__(self, **arguments: Any) -> None:
        pass

    def stream(self, *arguments: Any) -> Any:
        raise HttpError("no network here")

    async def aclose(self) -> None:
        pass


async def test_a_running_member_shows_where_the_others_are(
    nursery: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its targets are active, those of others are elsewhere and not dropped; a reload moves targets."""
    monkeypatch.setattr(pool_module, "Client", NoClient)
    more = ", member_url_template: 'http://m-%d/targets'"
    services = FakeServices()
    manager = await _running(services, nursery, config_of(0, 2, 1, more, targets=10))
    view = manager.targets_view()
    assert len(view.active) + view.elsewhere_counts["j"] == len(view.active) + len(view.elsewhere) == 10
    assert 0 < len(view.active) < 10
    assert (view.dropped, view.dropped_counts) == ([], {"j": 0})
    assert {(tuple(t.members), tuple(t.member_urls)) for t in view.elsewhere} == {((1,), ("http://m-1/targets",))}
    assert manager.statistics().pool_targets_elsewhere == {"j": view.elsewhere_counts["j"]}
    services.config = parse(config_of(1, 2, 1, more, targets=10), discoverers=list(services.kinds.values()))
    await manager.reconfigure(services.config)
    await trio.sleep(6)
    moved = manager.targets_view()
    assert {t.scrape_url for t in moved.active} == {t.scrape_url for t in view.elsewhere}


async def _running(services: FakeServices, nursery: Any, text: str) -> ScrapeManager:
    services.kinds = {kind.key: kind for kind in tinyobs_discoverers()}
    services.config = parse(text, discoverers=list(services.kinds.values()))
    manager = ScrapeManager(services)
    await nursery.start(manager.run)
    await trio.sleep(6)
    return manager
