"""The checkers of contracts accept what keeps them, ours and the examples', and name what does not."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio

from tinyobs.abc import Discoverer, DiscovererKind, Exporter, Processor, Source, TargetGroup
from tinyobs.builtin.file_sd import tinyobs_discoverers as file_kinds
from tinyobs.builtin.host.exporter import HostExporter
from tinyobs.builtin.host.settings import HostSettings
from tinyobs.builtin.inprocess import InProcess
from tinyobs.builtin.limits import Limits
from tinyobs.builtin.scrape.manager import ScrapeManager
from tinyobs.builtin.static_sd import tinyobs_discoverers as static_kinds
from tinyobs.config.discovery import FileSdConfig, StaticConfig
from tinyobs.model.families import MetricFamily, Point, counter, gauge
from tinyobs.model.labels import from_mapping
from tinyobs.model.metadata import MetricType
from tinyobs.testing.check_discoverer import check_discoverer
from tinyobs.testing.check_exporter import check_exporter
from tinyobs.testing.check_processor import check_processor
from tinyobs.testing.check_source import check_source
from tinyobs.testing.services import FakeServices


def example(name):
    """Import the plugin of an example."""
    path = Path(__file__).parents[2] / "examples" / name / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"checked_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Spoiling(Processor):
    """Writes into what it is given, or makes columns of other kinds."""

    def __init__(self, how):
        self.how = how

    def process(self, batch):
        return self.how(batch)


def in_place(batch):
    batch.values[:] = 0
    return batch


def test_processors_keep_their_promises():
    """The limits of the package."""
    services = FakeServices()
    check_processor(Limits(services), services.registry)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (in_place, "read-only"),
        (lambda b: attrs.evolve(b, refs=b.refs[:1]), "columns have one length"),
        (lambda b: attrs.evolve(b, values=b.values.astype(np.float32)), "columns keep their types"),
        (lambda b: attrs.evolve(b, origin=""), "the origin stays"),
        (lambda b: None, "a processor returns a batch"),
    ],
)
def test_a_processor_that_breaks_one_is_found(how, error):
    """NumPy itself guards the arrays."""
    with pytest.raises((AssertionError, ValueError), match=error):
        check_processor(Spoiling(how), FakeServices().registry)


class Fixed(Exporter):
    """Yields what it is told."""

    name = "fixed"

    def __init__(self, *families):
        self.families = families

    def collect(self):
        return self.families


def test_exporters_keep_their_promises():
    """The host's, and one with a labelled gauge."""
    assert check_exporter(HostExporter(HostSettings()))
    assert [f.name for f in check_exporter(Fixed(gauge("x", "Help.", 1, a="b")))] == ["x"]


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ([gauge("x", "Help.", 1), gauge("x", "Help.", 2)], "each family is there once"),
        ([gauge("x y", "Help.", 1)], "no metric name"),
        ([gauge("x", "", 1)], "no help text"),
        ([counter("x", "Help.", 1)], "does not end in _total"),
        ([counter("x_total", "Help.", -1)], "a counter is not negative"),
        ([counter("x_total", "Help.", math.inf)], "infinite counter"),
        ([MetricFamily("x", MetricType.GAUGE, "Help.", (Point(1.0), Point(2.0)))], "has a point twice"),
        ([MetricFamily("x", MetricType.GAUGE, "Help.", (Point(1),))], "a value is a float"),
        ([MetricFamily("x", MetricType.GAUGE, "Help.", (Point(1.0, (("b", "1"), ("a", "1"))),))], "sorted and unique"),
        ([MetricFamily("x", MetricType.GAUGE, "Help.", (Point(1.0, from_mapping({"__name__": "y"})),))], "no label of"),
        ([MetricFamily("x", MetricType.GAUGE, "Help.", (Point(1.0, (("a", ""),)),))], "an empty label"),
    ],
)
def test_an_exporter_that_breaks_one_is_found(families, message):
    """With the name of the family."""
    with pytest.raises(AssertionError, match=message):
        check_exporter(Fixed(*families))


@pytest.mark.parametrize("kind", [InProcess, ScrapeManager])
async def test_sources_keep_their_promises(kind, autojump_clock):
    """The two of the package start, end and start again."""
    services = FakeServices()
    await check_source(lambda: kind(services), services.config)


class Odd(Source):
    """Never says that it works, or does not end when it should, or has odd statistics."""

    name = "odd"

    def __init__(self, silent=False, slow=False, statistics=None):
        self.silent, self.slow, self._statistics = silent, slow, statistics

    async def run(self, *, task_status):
        if not self.silent:
            task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            if self.slow:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3600)

    def statistics(self):
        return self._statistics


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"silent": True}, "was not called within"),
        ({"slow": True}, "it took 3600"),
        ({"statistics": {}}, "statistics are an attrs object"),
    ],
)
async def test_a_source_that_breaks_one_is_found(how, message, autojump_clock):
    """Deadlines pass in no time under the test clock."""
    with pytest.raises(AssertionError, match=message):
        await check_source(lambda: Odd(**how))


async def test_discoverers_keep_their_promises(tmp_path):
    """The two of the package and that of the example."""
    (tmp_path / "t.json").write_text('[{"targets": ["x:1"]}]')
    (tmp_path / "hosts").write_text("127.0.0.1 x\n")
    hosts = example("hosts_file_sd")
    for kind, config in (
        (static_kinds()[0], StaticConfig(targets=("x:1",))),
        (file_kinds()[0], FileSdConfig(files=(str(tmp_path / "t.json"),))),
        (hosts.tinyobs_discoverers()[0], hosts.HostsFileConfig(file=str(tmp_path / "hosts"))),
    ):
        groups = await check_discoverer(kind, config, str(tmp_path))
        assert sum(len(g.targets) for g in groups) == 1


class Publishing(Discoverer):
    """Publishes what it is told, None for nothing, and says that it works or not."""

    def __init__(self, groups, silent=False):
        self.groups, self.silent = groups, silent

    async def run(self, publish, *, task_status):
        if self.groups is not None:
            await publish(self.groups)
        if not self.silent:
            task_status.started()
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("key", "groups", "silent", "message"),
    [
        ("x_sd", [], False, "ends in _configs"),
        ("x_sd_configs", None, False, "it publishes before"),
        ("x_sd_configs", [TargetGroup("a", ()), TargetGroup("a", ())], False, "told apart by their source"),
        ("x_sd_configs", [TargetGroup("a", ({"x": "y"},))], False, "every target has an address"),
        ("x_sd_configs", [TargetGroup("a", ())], True, "was not called within"),
    ],
)
async def test_a_discoverer_that_breaks_one_is_found(key, groups, silent, message, autojump_clock):
    """The assertion says which."""
    kind = DiscovererKind(key, StaticConfig, lambda config, context: Publishing(groups, silent))
    with pytest.raises(AssertionError, match=message):
        await check_discoverer(kind, StaticConfig())
