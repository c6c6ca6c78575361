"""`tinyobs relabel`: what rules do to label sets that are named, and to those that are stored."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from peers import daemon
from storage.engine_cases import OPTIONS, START_MS, Clock, append, labels, maintain_all

from tinyobs.cli.main import FAILED, OK, STORAGE, USAGE, run
from tinyobs.model.registry import SeriesRegistry
from tinyobs.storage.engine import Engine
from tinyobs.storage.posix_disk import PosixDisk

RULES = """
- {action: keep, source_labels: [__name__], regex: m|n}
- {action: labeldrop, regex: i}
- {target_label: cluster, replacement: eu}
- {source_labels: [__name__], target_label: __name__, regex: n, replacement: new}
"""
CONFIG = """
tinyobs: {relabel: {extended: true}}
scrape_configs:
- job_name: a
  relabel_configs: [{action: keep, if: '{x="1"}'}]
  metric_relabel_configs: [{action: drop_metrics, regex: [go_.+, process_.+]}]
remote_write: [{url: http://localhost/write, write_relabel_configs: [{action: labeldrop, regex: x}]}]
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "rules.yml").write_text(RULES)
    return str(tmp_path / "rules.yml")


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "tinyobs.yml").write_text(CONFIG)
    return str(tmp_path / "tinyobs.yml")


def test_debug_shows_each_step(rules: str, capsys: Any) -> None:
    """What changed, what did not, and where it ended."""
    assert run(["relabel", "debug", "--rules", rules, 'n{i="1"}', "x"]) == OK
    assert (
        capsys.readouterr().out
        == """\
n{i="1"}
  1. keep source_labels: [__name__] regex: m|n
     unchanged
  2. labeldrop regex: i
     - i="1"
  3. replace target_label: cluster replacement: eu
     + cluster="eu"
  4. replace source_labels: [__name__] regex: n target_label: __name__ replacement: new
     ~ __name__="new" (was "n")
-> new{cluster="eu"}

x
  1. keep source_labels: [__name__] regex: m|n
     DROPPED keep: "x" does not match m|n
  2. labeldrop regex: i
     not reached
  3. replace target_label: cluster replacement: eu
     not reached
  4. replace source_labels: [__name__] regex: n target_label: __name__ replacement: new
     not reached
-> dropped
"""
    )


def test_debug_reads_lines_and_prints_json(rules: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label sets come from standard input, one a line, and leave as one line each."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"__name__": "m"}\n\nq{}\n'))
    assert run(["relabel", "debug", "--rules", rules, "--json"]) == OK
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["output"] == {"__name__": "m", "cluster": "eu"}
    assert [s["matched"] for s in first["steps"]] == [True, False, True, False]
    assert (second["output"], second["steps"][0]["reason"]) == (None, 'keep: "q" does not match m|n')


@pytest.mark.parametrize(
    ("options", "text", "end"),
    [
        ([], '{x="1"}', '-> {x="1"}'),
        (["--pool", "a"], '{x="2"}', "-> dropped"),
        (["--stage", "metric"], "go_threads", "-> dropped"),
        (["--stage", "write"], 'up{x="1"}', "-> up"),
        (["--stage", "alert"], '{x="1"}', '-> {x="1"}'),
    ],
)
def test_debug_takes_the_rules_of_a_stage(config: str, options: list[str], text: str, end: str, capsys: Any) -> None:
    """The only pool and the only remote write need not be named."""
    assert run(["relabel", "debug", "--config.file", config, *options, text]) == OK
    assert capsys.readouterr().out.splitlines()[-1] == end


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["up"], USAGE, "give either --rules or --config.file"),
        (["--rules", "{rules}", "--config.file", "{config}", "up"], USAGE, "give either"),
        (["--config.file", "{config}", "--pool", "b", "up"], USAGE, 'scrape pool "b" not found'),
        (["--rules", "{rules}", "{"], USAGE, "is not a label set"),
        (["--rules", "/nowhere", "up"], FAILED, "/nowhere: No such file"),
        (["--rules", "{config}", "up"], FAILED, "expected a list of relabelling rules"),
    ],
)
def test_debug_says_what_it_needs(
    rules: str, config: str, arguments: list[str], code: int, message: str, capsys: Any
) -> None:
    """Wrong usage and faults in files have codes of their own."""
    given = [a.replace("{rules}", rules).replace("{config}", config) if len(a) > 1 else a for a in arguments]
    assert run(["relabel", "debug", *given]) == code
    assert message in capsys.readouterr().err


def test_extended_rules_of_a_file_are_asked_for(tmp_path: Path, capsys: Any) -> None:
    """A file of rules alone has no place for the switch."""
    file = tmp_path / "x.yml"
    file.write_text("relabel_configs: [{action: drop, if: up}]")
    assert run(["relabel", "debug", "--rules", str(file), "up"]) == FAILED
    assert "needs `tinyobs: {relabel: {extended: true}}`" in capsys.readouterr().err
    assert run(["relabel", "debug", "--rules", str(file), "--extended", "up"]) == OK


def test_preview_of_a_directory(rules: str, tmp_path: Path, capsys: Any) -> None:
    """Counts, effects by rule, label and metric, and examples; the directory stays as it is."""
    engine = Engine.open(PosixDisk(tmp_path / "data"), SeriesRegistry(), OPTIONS, Clock())
    series = [labels("m", i="0"), labels("m", i="1"), labels("n", i="2"), labels("other", i="3")]
    append(engine, [(s, START_MS, 1.0) for s in series])
    maintain_all(engine, START_MS)
    engine.close()
    where = ["--rules", rules, "--storage.tsdb.path", str(tmp_path / "data")]
    assert run(["relabel", "preview", *where]) == OK
    assert (
        capsys.readouterr().out
        == """\
series     4
kept       3
dropped    1
changed    3
collided   2 (they become 1)
rule 1: keep: dropped 1, changed 0
rule 2: labeldrop: dropped 0, changed 3
rule 3: replace: dropped 0, changed 3
rule 4: replace: dropped 0, changed 1
label __name__: changed 1
label cluster: added 3
label i: removed 3
metric other: dropped 1
metric n: becomes new (1)
DROPPED  other{i="3"}  by rule 1, keep: "other" does not match m|n
CHANGED  m{i="0"} -> m{cluster="eu"}
CHANGED  m{i="1"} -> m{cluster="eu"}
CHANGED  n{i="2"} -> new{cluster="eu"}
COLLIDED m{cluster="eu"} would be 2 series:
         m{i="0"}
         m{i="1"}
"""
    )
    assert run(["relabel", "preview", *where, "--match", '{i=~"[12]"}', "--match", "n", "--limit", "0", "--json"]) == OK
    data = json.loads(capsys.readouterr().out)
    assert (data["series"], data["changed"], data["examples"]["changed"]) == (2, 2, [])
    assert run(["relabel", "preview", "--rules", rules, "--storage.tsdb.path", str(tmp_path / "no")]) == STORAGE


def test_preview_of_a_daemon(rules: str, tmp_path: Path, capsys: Any) -> None:
    """The command sends the rules, and shows what the daemon tells."""
    with daemon(tmp_path) as (url, _):
        assert run(["relabel", "preview", "--rules", rules, "--url", url, "--start", "2026-01-01T00:00:00Z"]) == OK
        assert capsys.readouterr().out.startswith("series ")
        assert run(["relabel", "preview", "--rules", rules, "--url", url, "--match", "{}"]) == FAILED
        assert "must contain at least one non-empty matcher" in capsys.readouterr().err
    assert run(["relabel", "preview", "--rules", rules, "--url", url]) == FAILED
