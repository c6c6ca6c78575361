"""docs/receivers/replicas.md: its example works, its table is that of the code."""

from __future__ import annotations

import re

from receiver_pages import FOLDER, agent_of, blocks

from tinyobs.builtin.replicas.settings import ReplicaSettings
from tinyobs.config.fields import plan
from tinyobs.config.loader import parse
from tinyobs.model.durations import DurationMs, format_duration

PAGE = (FOLDER / "replicas.md").read_text()
OURS, THEIRS = blocks("replicas", "yaml")


async def test_the_example_works():
    """Of two replicas one is stored, with the metrics that the page names."""
    labels = dict(parse(THEIRS, "f.yml").global_config.external_labels)
    async with agent_of(OURS, "127.0.0.1:0") as running:
        for name in (labels["__replica__"], "b"):
            assert (await running.store("x", 1.0, **{**labels, "__replica__": name})).stored == 1
        assert await running.query("x") == {'x{cluster="europe"}': 1.0}
        _, metrics = await running.get("/metrics")
        for name in re.findall(r"`(tinyobs_replicas_\w+)`", PAGE):
            assert name in metrics.decode(), name
        assert len(re.findall(r"^# TYPE \S+_elected_replica_changes_total ", metrics.decode(), re.MULTILINE)) == 1


def test_the_settings_are_those_of_the_code():
    """Keys and defaults."""
    rows = dict(re.findall(r"^\| `tinyobs\.replicas\.(\w+)` \| `([^`]*)` \|", PAGE, re.MULTILINE))
    shown = {
        p.key: format_duration(p.default()) if p.type is DurationMs else str(p.default()).removesuffix("()")
        for p in plan(ReplicaSettings)
    }
    assert rows == {k: v.lower() if v in ("True", "False") else v for k, v in shown.items()}
