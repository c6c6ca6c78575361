"""Relabelling compared with a running Prometheus, on random rules."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from peers import free_port, get, pause, prometheus_3, running

from tinyobs import relabel
from tinyobs.model.labels import from_mapping
from tinyobs.relabel import Action, Rule

CASES = 400
NAMES = ["a", "b", "abc", "__tmp_x", "__meta_k8s_pod", "__meta_k8s_app"]
VALUES = ["", "x", "foo", "foo-bar", "Foo;bar", "10.0.0.1:80", "é-Ü", "a$1b", "$"]
REGEXES = [
    "(.*)",
    "(.+)",
    "foo.*",
    "(f)(o+)",
    "(?P<head>.)(.*)",
    "a|b",
    "__meta_k8s_(.+)",
    "",
    ".",
    "(x)?.*",
    "[^;]*;(.*)",
]
TEMPLATES = [
    "$1",
    "${1}",
    "$2-$1",
    "${head}x",
    "$head",
    "lit",
    "",
    "$$1",
    "a${1}b$",
    "${1",
    "$0",
    "$1x",
    "x_${2}",
    "$x$y",
]
TARGETS = ["a", "b", "new", "__tmp_y", "t_$1", "${1}", "x-y", "t_${head}"]


def _random_rule(rng: random.Random) -> dict[str, Any]:
    """Return the fields of a rule that makes sense."""
    while True:
        action = rng.choice(list(Action))
        fields: dict[str, Any] = {"action": str(action)}
        if action not in (Action.LABELDROP, Action.LABELKEEP, Action.LABELMAP):
            fields["source_labels"] = [rng.choice(NAMES) for _ in range(rng.randint(0, 2))]
        if action not in (Action.KEEP_EQUAL, Action.DROP_EQUAL):
            fields["regex"] = rng.choice(REGEXES)
        if action in (Action.REPLACE, Action.LABELMAP):
            fields["replacement"] = rng.choice(TEMPLATES)
        if action in (Action.REPLACE, Action.HASHMOD, Action.LOWERCASE, Action.UPPERCASE, Action.KEEP_EQUAL, Action.DROP_EQUAL):  # fmt: skip
            fields["target_label"] = rng.choice(TARGETS)
        if action is Action.LABELMAP:
            # Names that do not meet: of two that do, the order in which Prometheus took over the labels would decide.
            fields["regex"] = rng.choice(["__meta_k8s_(.+)", "(.+)", "(?P<head>.)(.*)"])
            fields["replacement"] = rng.choice({"(?P<head>.)(.*)": ["${head}_$2", "y$$${head}$2"]}.get(fields["regex"], ["x_${1}", "a${1}b$"]))  # fmt: skip
        if action is Action.HASHMOD:
            fields["modulus"] = rng.choice([1, 7, 1000])
        # These would drop nearly every target, or the address.
        if action in (Action.KEEP, Action.KEEP_EQUAL, Action.LABELKEEP) and rng.random() < 0.8:
            continue
        if not list(_rule(fields).faults()):
            return fields


def _rule(fields: dict[str, Any]) -> Rule:
    known = {**fields, "action": Action(fields["action"])}
    if "source_labels" in known:
        known["source_labels"] = tuple(known["source_labels"])
    return Rule(**known)


def _targets(program: str, folder: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the active targets of a Prometheus with this configuration, when their number no longer grows."""
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config, allow_unicode=True))
    base = f"http://127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={base.removeprefix('http://')}",
    ]
    seen = -1
    with running(command, f"{base}/-/ready", folder):
        for _ in range(120):
            pause(0.5)
            active: list[dict[str, Any]] = json.loads(get(f"{base}/api/v1/targets?state=active"))["data"][
                "activeTargets"
            ]
            if active and len(active) == seen:
                return active
            seen = len(active)
    raise AssertionError("no targets")


@pytest.mark.peer
@pytest.mark.slow
def test_random_rules_do_what_prometheus_does(tmp_path: Path) -> None:
    """The labels of a target after relabelling are the same, for hundreds of random rule sets."""
    program = prometheus_3()
    rng = random.Random(7)
    jobs, expected = [], {}
    for i in range(CASES):
        labels = {name: rng.choice(VALUES) for name in rng.sample(NAMES, 4)}
        fields = [_random_rule(rng) for _ in range(rng.randint(1, 3))]
        # Prometheus sets these after the labels of the group; setting them again keeps the target alive and known.
        defaults = {
            "job": f"j{i}", "__scrape_interval__": "1h", "__scrape_timeout__": "10s", "__metrics_path__": "/metrics",
            "__scheme__": "http",
        }  # fmt: skip
        rescue = [{"target_label": k, "replacement": v} for k, v in {**defaults, "__address__": "127.0.0.1:1"}.items()]
        first = [Rule(target_label=k, replacement=v) for k, v in defaults.items()]
        job = {"job_name": f"j{i}", "scrape_interval": "1h"}
        jobs.append({**job, "static_configs": [{"targets": ["127.0.0.1:1"], "labels": labels}], "relabel_configs": fields + rescue})  # fmt: skip
        before = from_mapping({**labels, "__address__": "127.0.0.1:1"})
        after = relabel.apply(before, first + [_rule(f) for f in fields])
        if after is not None:
            shown = {k: v for k, v in after if not k.startswith("__")}
            expected[f"j{i}"] = {**shown, "job": f"j{i}", "instance": shown.get("instance", "127.0.0.1:1")}
    active = {t["scrapePool"]: t["labels"] for t in _targets(program, tmp_path, {"scrape_configs": jobs})}
    rules = {job["job_name"]: job for job in jobs}
    wrong = [(rules[name], expected.get(name), active.get(name)) for name in rules if expected.get(name) != active.get(name)]  # fmt: skip
    assert not wrong, wrong[:3]
    assert len(expected) > CASES // 2
