"""Extended relabelling compared with a running VictoriaMetrics, on random rules: its debugger tells what a rule does.

Left out: `.*`, which VictoriaMetrics takes for `(.*)` and Prometheus does not.  TINYOBS_VICTORIAMETRICS names a program
where the installed one is too old to have the debugger.
"""

from __future__ import annotations

import html
import json
import random
import re
import urllib.error
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import yaml
from peers import free_port, get, running, victoria_metrics

from tinyobs import relabel
from tinyobs.config.loader import parse
from tinyobs.model.labels import NAME, Labels, from_mapping, to_text

CASES = 1500
PAIR = re.compile(r'([^=]*)=("(?:[^"\\]|\\.)*")(?:, |})')
NAMES = ["a", "b", "abc", "x.y", NAME]
VALUES = ["", "x", "foo", "foo-bar", "Foo;bar", "10.0.0.1:80", "$1", "a.b.c", "ff"]
REGEXES = ["(.*)", "(.+)", "foo.*", "(f)(o+)", "a|b", "", ".", "(x)?.*", "o", "^f", "[a-c]", "f*"]
TEMPLATES = ["$1", "${1}", "$2-$1", "lit", "", "$$1", "a${1}b", "$0", "{{a}}", "{{b}}-$1", "{{a", "{{x.y}}{{no}}$1"]
SELECTORS = [
    "foo", '{a="x"}', '{a=~"f.*"}', '{b!="foo"}', '{a!~".+"}', '{a="x" or b="x"}', 'foo{a="x" or b=~"f.+"}', "{}",
    '{x.y="foo"}', '{a=~".*",b=""}', '{no=""}', '{no!=""}', '{__name__=~"a.+|foo"}',
]  # fmt: skip
ACTIONS = [
    "replace", "replace_all", "labelmap_all", "keep_if_equal", "drop_if_equal", "keep_if_contains", "drop_if_contains",
    "keep_metrics", "drop_metrics", "graphite", "keep", "drop", "labeldrop", "labelkeep",
]  # fmt: skip


def _random_rule(rng: random.Random) -> dict[str, Any]:
    action = rng.choice(ACTIONS)
    fields: dict[str, Any] = {"action": action}
    if rng.random() < 0.4:
        fields["if"] = rng.choice([rng.choice(SELECTORS), [rng.choice(SELECTORS) for _ in range(2)]])
    if action == "graphite":
        fields["match"] = rng.choice(["*", "a.*.c", "*.b.*", "f*", "**", "foo"])
        fields["labels"] = {name: rng.choice(["$1", "${2}x", "$0", "$9", "${a}", "l"]) for name in rng.sample(["a", "n"], 1)}  # fmt: skip
        return fields
    if action not in ("labelmap_all", "keep_metrics", "drop_metrics", "labeldrop", "labelkeep"):
        fields["source_labels"] = [rng.choice(NAMES) for _ in range(rng.randint(2, 3) if "_if_" in action else rng.randint(1, 2))]  # fmt: skip
    if "_if_" not in action:
        fields["regex"] = rng.choice([rng.choice(REGEXES[1:]), rng.choice(REGEXES), ["foo", "f+"]])
        if action.endswith("_metrics") and fields["regex"] in ("", "(.*)"):
            fields["regex"] = "foo"
    if action == "labelkeep":  # a rule that leaves no label drops at VictoriaMetrics
        fields["regex"] = ["__name__", fields["regex"]] if isinstance(fields["regex"], str) else ["__name__", "a"]
    if action in ("replace", "replace_all", "labelmap_all"):
        fields["replacement"] = rng.choice(TEMPLATES)
    if action in ("replace", "replace_all", "keep_if_contains", "drop_if_contains"):
        fields["target_label"] = rng.choice(["a", "b", "new", "$1" if action == "replace" else "a"])
    return fields


def _ours(rules: list[dict[str, Any]], labels: Labels) -> dict[str, str]:
    config = {"scrape_configs": [{"job_name": "j", "relabel_configs": rules}], "tinyobs": {"relabel": {"extended": True}}}  # fmt: skip
    found = relabel.apply(labels, parse(yaml.safe_dump(config)).scrape_configs[0].relabel_configs)
    # The debugger of VictoriaMetrics shows no labels of its own kind in the end.
    return {k: v for k, v in found or () if k == NAME or not k.startswith("__")}


def _theirs(base: str, rules: list[dict[str, Any]], labels: Labels) -> dict[str, str]:
    form = {"metric": _line(labels), "relabel_configs": yaml.safe_dump(rules), "format": "json"}
    answer = json.loads(get(f"{base}/metric-relabel-debug?{urllib.parse.urlencode(form)}"))
    assert answer["status"] == "success", (answer, rules)
    name, _, rest = html.unescape(answer["resultingLabels"]).partition("{")
    return ({NAME: name} if name else {}) | {k: json.loads(v) for k, v in PAIR.findall(rest)}


def _line(labels: Labels) -> str:
    """Return labels as VictoriaMetrics reads them: names are never in quotes."""
    rest = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels if name != NAME)
    return f"{dict(labels)[NAME]}{{{rest}}}"


def _is_settled(rules: list[dict[str, Any]], labels: Labels) -> bool:
    """Tell whether VictoriaMetrics has one answer: two labels may get the same name there, and both stay."""
    return not any(r["action"] == "labelmap_all" for r in rules) or len({v for _, v in labels}) == 1


@pytest.mark.peer
def test_random_rules_do_what_victoriametrics_does(tmp_path: Path) -> None:
    """One and two rules at a time, on random labels, give the same labels, or drop them as well."""
    base = f"http://127.0.0.1:{free_port()}"
    rng = random.Random(11)
    wrong = []
    command = [
        victoria_metrics("metric-relabel-debug"),
        f"-storageDataPath={tmp_path / 'data'}",
        f"-httpListenAddr={base.removeprefix('http://')}",
    ]
    compared = 0
    with running(command, f"{base}/health", tmp_path):
        while compared < CASES:
            labels = from_mapping({NAME: rng.choice(["foo", "a.b.c", "f"]), **{n: rng.choice(VALUES) for n in NAMES[:4]}})  # fmt: skip
            rules = [_random_rule(rng) for _ in range(rng.randint(1, 2))]
            if not _is_settled(rules, labels):
                labels = from_mapping({NAME: "v", **dict.fromkeys(rng.sample(NAMES[:4], 2), "v")})
            compared += 1
            ours, theirs = _ours(rules, labels), _theirs(base, rules, labels)
            if ours != theirs:
                wrong.append((rules, to_text(labels), ours, theirs))
    assert not wrong, f"{len(wrong)} of {CASES}: {wrong[:4]}"
