"""Two daemons with one configuration share its targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peers import daemon, get, pause

CONFIG = """
tinyobs:
  scrape: {cluster: {members_count: 2, member_label: scraper, member_url_template: 'http://scraper-%d/targets'}}
scrape_configs:
- job_name: closed
  scrape_interval: 1h
  static_configs: [{targets: [TARGETS]}]
"""


def targets(base: str) -> dict[str, Any]:
    """Return what a daemon says of its targets, when it knows them."""
    while True:
        data: dict[str, Any] = json.loads(get(f"{base}/api/v1/targets"))["data"]
        if data["activeTargets"]:
            return data
        pause()


def test_two_daemons_share_the_targets(tmp_path: Path) -> None:
    """Each target is active at one of them and elsewhere at the other; the flag alone tells them apart."""
    addresses = {f"127.0.0.1:{port}" for port in range(1, 21)}
    config = tmp_path / "tinyobs.yml"
    config.write_text(CONFIG.replace("TARGETS", ", ".join(f"'{a}'" for a in sorted(addresses))))
    found = []
    for member in range(2):
        folder = tmp_path / str(member)
        folder.mkdir()
        with daemon(folder, f"--config.file={config}", f"--scrape.cluster.member-number=pod-{member}") as (base, _):
            found.append(targets(base))
    active = [{t["labels"]["instance"] for t in data["activeTargets"]} for data in found]
    assert active[0] | active[1] == addresses
    assert not active[0] & active[1]
    for member, data in enumerate(found):
        assert {t["labels"]["scraper"] for t in data["activeTargets"]} == {str(member)}
        assert {t["labels"]["instance"] for t in data["elsewhereTargets"]} == active[1 - member]
        assert {tuple(t["memberUrls"]) for t in data["elsewhereTargets"]} == {(f"http://scraper-{1 - member}/targets",)}
        assert data["elsewhereTargetCounts"] == {"closed": len(active[1 - member])}
        assert (data["droppedTargets"], data["droppedTargetCounts"]) == ([], {"closed": 0})
