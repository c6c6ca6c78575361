"""The samples of one of several replicas are stored, under series that are the same for all of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tinyobs.abc import ConfigSection
from tinyobs.builtin.replicas import tinyobs_config_sections, tinyobs_processors
from tinyobs.builtin.replicas.settings import SECTION, ReplicaSettings
from tinyobs.config import loader
from tinyobs.errors import ConfigError
from tinyobs.model.batch import Batch, Refused
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.labels import from_mapping, to_text
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent
from tinyobs.testing.check_processor import check_processor
from tinyobs.testing.services import FakeServices

SECTIONS = [ConfigSection(SECTION, ReplicaSettings)]


def parsed(**settings):
    """A configuration with this section."""
    text = ", ".join(f"{key}: {value}" for key, value in {"enabled": "true", **settings}.items())
    return loader.parse(f"tinyobs: {{replicas: {{{text}}}}}\n", "test.yml", SECTIONS)


class Bench:
    """The plugin on fake services, with a clock that tests move."""

    def __init__(self, **settings):
        self.services = FakeServices(parsed(**settings))
        self.now_ms = 0
        self.services.clock = SimpleNamespace(now_ms=lambda: self.now_ms)
        (self.processor,) = tinyobs_processors(self.services)

    def batch(self, *labels, **more):
        """A batch with one sample for each label set."""
        given = [from_mapping({"__name__": "x", **one}) for one in labels]
        refs = self.services.registry.intern_many(given).astype(np.uint32)
        return Batch(refs, np.arange(len(refs)), np.arange(float(len(refs))), "test", **more)

    def stored(self, batch):
        """Return the series of what is stored, and how many samples were dealt with."""
        out = self.processor.process(batch)
        return [to_text(self.services.registry.labels(int(ref))) for ref in out.refs], out.absorbed


def replica(name, cluster="c", **more):
    """Labels of a replica."""
    return {"cluster": cluster, "__replica__": name, **more}


def test_duplicates_are_dealt_with_and_the_label_goes():
    """Series without the labels pass; the same series is stored whichever replica is elected."""
    bench = Bench()
    both = bench.batch(replica("a", i="1"), replica("b", i="1"), {"i": "2"}, {"__replica__": "a"}, {"cluster": "c"})
    others = ['x{i="2"}', 'x{__replica__="a"}', 'x{cluster="c"}']
    assert bench.stored(both) == (['x{cluster="c", i="1"}', *others], 1)
    bench.now_ms = 30_000
    assert bench.stored(bench.batch(replica("b", i="1"))) == (['x{cluster="c", i="1"}'], 0)
    assert bench.stored(bench.batch(replica("a", i="1"))) == ([], 1)
    found = bench.processor.statistics()
    assert found.deduplicated_samples_total == {"c": 2}
    assert found.elected_replica_changes_total == {"c": 1}
    assert found.elected_replica_timestamp_seconds == {("c", "b"): 30.0}


def test_more_clusters_than_there_may_be_are_refused():
    """The sender is told."""
    bench = Bench(clusters_max="1")
    out = bench.processor.process(bench.batch(replica("a"), replica("a", "d")))
    assert (len(out), out.refused, out.absorbed) == (1, {Refused.LIMIT: 1}, 0)
    assert bench.processor.statistics().refused_samples_total == 1


def test_exemplars_go_the_way_of_their_replica():
    """Under the series that is stored."""
    bench = Bench()
    given = bench.batch(replica("a"), replica("b"))
    exemplars = [Exemplar(int(ref), (), 1.0, 1) for ref in given.refs]
    out = bench.processor.process(bench.batch(replica("a"), replica("b"), exemplars=exemplars))
    assert [e.ref for e in out.exemplars] == out.refs.tolist()


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_the_contracts_are_kept(enabled):
    """With nothing to choose, the batch is the very same object."""
    bench = Bench(enabled=enabled)
    check_processor(bench.processor, bench.services.registry)
    batch = bench.batch({"i": "1"})
    assert bench.processor.process(batch) is batch


def test_other_labels_may_name_them_and_the_label_may_stay():
    """A reload takes over, and keeps who is elected."""
    bench = Bench(cluster_label="dc", replica_label="r", drop_replica_label="false")
    assert bench.stored(bench.batch({"dc": "1", "r": "a"}, {"dc": "1", "r": "b"})) == (['x{dc="1", r="a"}'], 1)
    bench.services.config = parsed(cluster_label="dc", replica_label="r")
    assert bench.stored(bench.batch({"dc": "1", "r": "b"}, {"dc": "1", "r": "a"})) == (['x{dc="1"}'], 1)


def test_faults_are_told():
    """Times that contradict, and one label for two things."""
    for settings in ({"failover_timeout": "10s"}, {"cluster_label": "__replica__"}):
        with pytest.raises(ConfigError):
            parsed(**settings)
    assert tinyobs_config_sections() == SECTIONS


async def test_whoever_sends_duplicates_is_told_that_they_are_stored(tmp_path):
    """In a whole agent, where limits come after."""
    config = "tinyobs: {replicas: {enabled: true}}\n"
    settings = AgentSettings(storage_url=f"file:{tmp_path}", listen=("127.0.0.1:0",), config_text=config)
    async with running_agent(settings) as running:
        for name in ("a", "b"):
            result = await running.store("x", 1.0, cluster="c", __replica__=name)
            assert (result.stored, result.refused_total) == (1, 0)
        assert await running.query("count_over_time(x[1m])") == {'{cluster="c"}': 1.0}
