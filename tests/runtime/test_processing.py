"""The steps before storage, and what becomes of one that lets in series that are beyond a limit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from attrs import evolve

from tinyobs import hookimpl
from tinyobs.abc import Processor
from tinyobs.errors import PluginError
from tinyobs.model.batch import Batch
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.gate import STAND_INS
from tinyobs.model.labels import from_mapping
from tinyobs.runtime.processing import processed
from tinyobs.runtime.settings import AgentSettings
from tinyobs.testing.agents import running_agent


def batch(*refs):
    return Batch(np.array(refs, np.uint32), np.zeros(len(refs), np.int64), np.zeros(len(refs)), "test")


class Renumbers(Processor):
    """Gives each sample another ref."""

    name = "renumbers"

    def __init__(self, *refs):
        self.refs = np.array(refs, np.uint32)

    def process(self, given):
        return evolve(given, refs=self.refs)


class Watches(Processor):
    """Notes what it was given."""

    def __init__(self):
        self.seen = []

    def process(self, given):
        self.seen.append(given.refs.tolist())
        return given


def test_steps_come_one_after_another():
    """Each sees what the one before made; without any the batch is the same object."""
    given, watches = batch(0, 1), Watches()
    assert processed([], given) is given
    assert processed([watches, Renumbers(7, 8), watches], given).refs.tolist() == [7, 8]
    assert watches.seen == [[0, 1], [7, 8]]
    assert len(processed([Renumbers()], batch())) == 0


def test_a_step_that_lets_in_stand_ins_is_named_and_nothing_behind_it_sees_them():
    """The error says which step, how many samples, and what its author has to do."""
    watches = Watches()
    with pytest.raises(PluginError) as e:
        processed([Renumbers(1, 2), Renumbers(3, STAND_INS), watches], batch(0, 1))
    assert "the processor 'renumbers'" in str(e.value)
    assert "Renumbers) returned 1 samples" in str(e.value)
    assert "gated=False" in str(e.value)
    assert watches.seen == []


def test_a_step_that_lets_in_exemplars_of_stand_ins_is_named():
    """They are looked at where a step has changed them."""

    class Adds(Watches):
        name = "adds"

        def process(self, given):
            return evolve(given, exemplars=[Exemplar(1, (), 1.0, 0), Exemplar(STAND_INS, (), 1.0, 0)])

    watches = Watches()
    with pytest.raises(PluginError, match=r"'adds' .* returned 1 exemplars of series"):
        processed([Adds(), watches], batch(0))
    assert watches.seen == []


def test_stand_ins_that_a_step_was_given_are_not_its_fault():
    """The limits, which come first, are given them and take them out."""
    watches = Watches()
    given = batch(0, STAND_INS + 1)
    assert processed([watches, Renumbers(0, 1)], given).refs.tolist() == [0, 1]


class Copies(Processor):
    """Adds a series of its own to every batch that was stored by hand; `gated` as its author got it wrong."""

    name = "copies"

    def __init__(self, registry):
        self.registry = registry
        self.count = 0

    def process(self, given):
        if given.origin != "test":
            return given
        self.count += 1
        ref = self.registry.intern(from_mapping({"__name__": "copy", "n": str(self.count)}))
        return evolve(given, refs=np.full(len(given), ref, np.uint32))


class CopiesPlugin:
    @hookimpl
    def tinyobs_processors(self, services):
        return [Copies(services.registry)]


async def test_whoever_stores_is_told_and_the_agent_goes_on(tmp_path):
    """A batch that fails so is not stored, neither are others disturbed."""
    file = tmp_path / "tinyobs.yml"
    file.write_text(f"tinyobs: {{limits: {json.dumps({'series_per_metric_max': 1})}}}\n")
    settings = AgentSettings(
        config_file=file,
        storage_url=f"file:{tmp_path / 'data'}",
        listen=("127.0.0.1:0",),
        plugins_off=("host", "event_log"),
    )
    async with running_agent(settings, plugins={"mine": CopiesPlugin()}) as agent:
        await agent.store("x", 1.0)
        with pytest.raises(PluginError, match="the processor 'copies'"):
            await agent.store("x", 2.0)
        assert await agent.query("copy") == {'copy{n="1"}': 1}
