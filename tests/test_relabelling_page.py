"""The page docs/relabelling.md: every block of rules does what stands below it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tinyobs.cli.main import OK, run
from tinyobs.config.loader import parse
from tinyobs.model.label_text import read_labels
from tinyobs.relabel import Action, apply

TEXT = (Path(__file__).parents[1] / "docs" / "relabelling.md").read_text()
BLOCKS = re.findall(r"^```yaml\n# (.+)\n((?:.*\n)+?)# (.+)\n```", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("before", "rules", "after"), BLOCKS)
def test_rules_do_what_the_page_says(before: str, rules: str, after: str) -> None:
    """The label set above a block becomes the one below it, or is dropped."""
    extended = {"tinyobs": {"relabel": {"extended": True}}}
    config = parse(yaml.safe_dump({**extended, "scrape_configs": [{"job_name": "j", "relabel_configs": yaml.safe_load(rules)}]}))  # fmt: skip
    found = apply(read_labels(before), config.scrape_configs[0].relabel_configs)
    assert found == (None if after == "dropped" else read_labels(after))


def test_the_example_of_the_debugger_prints_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules, the command and its output stand in three blocks."""
    part = TEXT.partition("## Step by step")[2]
    rules, command, output = (re.findall(rf"^```{k}\n(.*?)^```", part, re.M | re.S)[0] for k in ("yaml", "sh", "text"))
    (tmp_path / "rules.yml").write_text(rules)
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(command)[1:]) == OK
    assert capsys.readouterr().out == output


def test_every_action_is_on_the_page() -> None:
    """In the text or in a table."""
    assert not [a for a in Action if f"`{a}`" not in TEXT]
