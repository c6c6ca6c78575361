"""Samples of matched series are aggregated on their way into storage, and what comes of it is stored by the clock."""

from __future__ import annotations

import numpy as np
import pytest
import trio

from tinyobs.abc import ConfigSection
from tinyobs.aggregation.aggregator import ORIGIN
from tinyobs.builtin.stream_aggregation import tinyobs_config_sections, tinyobs_processors, tinyobs_sources
from tinyobs.builtin.stream_aggregation.component import WAITING_MAX
from tinyobs.config import loader
from tinyobs.config.stream_aggregation import SECTION, StreamAggregationSettings
from tinyobs.errors import ConfigError, Unavailable
from tinyobs.model.batch import Batch
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.testing.check_processor import check_processor
from tinyobs.testing.check_source import check_source
from tinyobs.testing.inline_threads import inline_threads
from tinyobs.testing.services import EPOCH_MS, FakeServices

SECTIONS = [ConfigSection(SECTION, StreamAggregationSettings)]
MINUTE = 60_000
FIRST = -(-EPOCH_MS // MINUTE) * MINUTE
"""The first full minute of the virtual clock."""


def parsed(text):
    """A configuration with this section."""
    indented = "\n".join("    " + line for line in text.splitlines())
    return loader.parse(f"tinyobs:\n  stream_aggregation:\n{indented}\n", "test.yml", SECTIONS)


SUM = "rules: [{match: x, interval: 1m, by: [job], outputs: [sum_samples]}]"


@pytest.fixture(autouse=True)
def _inline():
    """No worker threads, so that the virtual clock stands still while they would work."""
    with inline_threads():
        yield


class Bench:
    """The plugin on fake services."""

    def __init__(self, text=SUM):
        self.services = FakeServices(parsed(text))
        (self.processor,) = tinyobs_processors(self.services)
        (self.source,) = tinyobs_sources(self.services)

    def batch(self, *series, values=None, **more):
        """A batch of now with one sample for each series."""
        refs = self.services.registry.intern_many([from_mapping(s) for s in series]).astype(np.uint32)
        times = np.full(len(refs), self.services.clock.now_ms(), np.int64)
        given = np.arange(1.0, len(refs) + 1) if values is None else np.asarray(values)
        return Batch(refs, times, given, "test", **more)


def series(name, **labels):
    """Labels with a name."""
    return {"__name__": name, **labels}


@pytest.mark.parametrize("text", [SUM, "rules: []", "drop_input: true", SUM + "\nkeep_input: true"])
def test_the_contracts_are_kept(text):
    """The processor is one."""
    bench = Bench(text)
    check_processor(bench.processor, bench.services.registry)


async def test_the_source_keeps_its_contract(autojump_clock):
    """It starts, takes over a configuration, ends, and can be started again."""
    bench = Bench()
    await check_source(lambda: tinyobs_sources(bench.services)[0], parsed("rules: []"))


async def test_aggregates_are_stored_at_the_end_of_each_interval(autojump_clock, nursery):
    """The timestamp is the end of the interval; the samples that made them are not stored, others are."""
    bench = Bench()
    await nursery.start(lambda task_status: bench.source.run(task_status=task_status))
    left = bench.processor.process(bench.batch(series("x", job="a", i="1"), series("x", job="a", i="2"), series("y")))
    assert (left.values.tolist(), left.absorbed) == ([3.0], 2)
    await trio.sleep(121)
    assert bench.services.samples() == {
        'x:1m_by_job_sum_samples{job="a"}': [(FIRST + MINUTE, 3.0)],
    }
    assert bench.services.batches[0].origin == ORIGIN
    assert bench.processor.process(bench.services.batches[0]) is bench.services.batches[0]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("options", "left"), [("", [2.0]), ("keep_input: true", [1.0, 2.0]), ("drop_input: true", [])])
def test_what_is_stored_beside_the_aggregates(options, left):
    """What no rule took, all, or nothing."""
    bench = Bench(SUM + "\n" + options)
    assert bench.processor.process(bench.batch(series("x"), series("y"))).values.tolist() == left


def test_exemplars_go_with_their_series():
    """Those of series that are kept back are gone."""
    bench = Bench()
    given = bench.batch(series("x"), series("y"))
    exemplars = [Exemplar(int(ref), (), 1.0, 1) for ref in given.refs]
    left = bench.processor.process(bench.batch(series("x"), series("y"), exemplars=exemplars))
    assert [e.ref for e in left.exemplars] == given.refs[1:].tolist()


@pytest.mark.parametrize(
    ("outputs", "goes_on", "ignored"),
    [("max", 1, {("1", "histogram"): 1}), ("sum_samples", 0, {}), ("max, avg", 0, {("1", "histogram"): 1})],
)
def test_native_histograms_pass_where_no_output_can_be_made_of_them(outputs, goes_on, ignored):
    """They are counted, and stored as they came; a rule that can take them takes them."""
    bench = Bench(SUM.replace("sum_samples", outputs))
    table = histograms_of([Histogram(0, 0.0, 1, 1, 1.0, is_integer=True)])
    given = bench.batch(series("x", i="h"), series("y", i="f"), values=[handles(0, 1)[0], 5.0], histograms=table)
    left = bench.processor.process(given)
    assert left.refs.tolist() == [*given.refs[:goes_on].tolist(), given.refs[1]]
    assert left.absorbed == 1 - goes_on
    assert bench.source.statistics().ignored_samples_total == ignored


def test_the_memory_for_native_histograms_is_a_setting():
    """Of a rule; what does not fit is ignored."""
    table = histograms_of([Histogram(0, 0.0, 1, 1, 1.0, is_integer=True)])
    for size, ignored in (("0B", {("1", "no_room"): 1}), ("1KiB", {})):
        bench = Bench(f"{SUM}\nhistograms_size_max: {size}")
        bench.processor.process(bench.batch(series("x", i="h"), values=[handles(0, 1)[0]], histograms=table))
        assert bench.source.statistics().ignored_samples_total == ignored


async def test_what_cannot_be_stored_waits_and_is_lost_in_the_end(autojump_clock, nursery):
    """A full queue costs nothing; results of more than an hour are too many."""
    bench = Bench("flush_on_shutdown: true\n" + SUM)
    bench.services.fail_with = Unavailable("full")
    await nursery.start(lambda task_status: bench.source.run(task_status=task_status))
    for _ in range(WAITING_MAX + 10):
        bench.processor.process(bench.batch(series("x")))
        await trio.sleep(60)
    bench.services.fail_with = None
    await trio.sleep(2)
    assert len(bench.services.batches) == WAITING_MAX
    assert bench.source.statistics().lost_samples_total > 0
    nursery.cancel_scope.cancel()


async def test_the_last_interval_is_stored_where_asked(autojump_clock):
    """At the end of the process, with the time at which the interval would have ended."""
    for flush, wanted in ((True, [(FIRST + MINUTE, 1.0)]), (False, None)):
        bench = Bench(f"flush_on_shutdown: {str(flush).lower()}\n{SUM}")
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status, source=bench.source: source.run(task_status=task_status))
            bench.processor.process(bench.batch(series("x")))
            nursery.cancel_scope.cancel()
        assert bench.services.samples().get("x:1m_by_job_sum_samples") == wanted


async def test_a_reload_keeps_the_state_of_rules_that_stay(autojump_clock, nursery):
    """Others begin anew; their names are those of the list."""
    total = "{name: t, match: x, interval: 1m, outputs: [total], ignore_first_sample_interval: 0s}"
    bench = Bench(f"rules: [{total}]")
    await nursery.start(lambda task_status: bench.source.run(task_status=task_status))
    bench.processor.process(bench.batch(series("x"), values=[5.0]))
    await bench.source.reconfigure(parsed(f"rules: [{{match: y, interval: 1m, outputs: [max]}}, {total}]"))
    bench.processor.process(bench.batch(series("x"), series("y"), values=[7.0, 1.0]))
    await trio.sleep(121)
    assert bench.services.values(__name__="x:1m_total").tolist() == [7.0]
    assert bench.services.values(__name__="y:1m_max").tolist() == [1.0]
    found = bench.source.statistics()
    assert found.matched_samples_total == {"1": 1, "t": 2}
    assert found.output_samples_total == {"1": 1, "t": 1}
    nursery.cancel_scope.cancel()


async def test_results_are_stored_once_though_a_reload_comes_between(autojump_clock, nursery, monkeypatch):
    """Those of a rule that is gone wait for those of the interval that is being stored."""
    hourly = "{match: y, interval: 1h, outputs: [max], flush_on_shutdown: true}"
    bench = Bench(f"rules: [{{match: x, interval: 1m, outputs: [max]}}, {hourly}]")
    append = bench.services.append

    async def append_slowly(batch, **more):
        await trio.sleep(10)
        return await append(batch, **more)

    monkeypatch.setattr(bench.services, "append", append_slowly)
    await nursery.start(lambda task_status: bench.source.run(task_status=task_status))
    bench.processor.process(bench.batch(series("x"), series("y")))
    await trio.sleep((FIRST + MINUTE - bench.services.clock.now_ms()) / 1000 + 1)
    assert not bench.services.batches
    await bench.source.reconfigure(parsed("rules: [{match: x, interval: 1m, outputs: [max]}]"))
    stored = [bench.services.registry.labels(b.refs[0])[0][1] for b in bench.services.batches]
    assert stored == ["x:1m_max", "y:1h_max"]
    nursery.cancel_scope.cancel()


FILE = """
- match:
  - 'http_requests_total{env=~"prod|dev"}'
  - '{__name__=~".+_total"}'
  interval: 1m30s
  dedup_interval: 30s
  enable_windows: true
  staleness_interval: 5m
  ignore_first_sample_interval: 1.5m
  no_align_flush_to_interval: true
  flush_on_shutdown: true
  without: [instance]
  outputs: [total, rate_sum, "quantiles(0.5, 0.99)"]
  keep_metric_names: false
  ignore_old_samples: true
  ignore_first_intervals: 1
  drop_input_labels: [pod]
  input_relabel_configs:
  - if: 'foo{bar="baz"}'
    action: replace_all
    source_labels: [__name__]
    regex: "-"
    replacement: "_"
    target_label: __name__
  output_relabel_configs:
  - target_label: aggregated
    replacement: 'true'
- name: second
  interval: 60s
  outputs: [histogram_bucket]
"""


def test_a_file_of_victoriametrics_is_read_as_it_is(tmp_path):
    """With every option, extended relabelling included; inline rules come first."""
    (tmp_path / "aggr.yml").write_text(FILE)
    (tmp_path / "c.yml").write_text(
        "tinyobs: {stream_aggregation: {file: aggr.yml, rules: [{interval: 5s, outputs: [avg]}], histogram: vmrange}}"
    )
    config = loader.load(tmp_path / "c.yml", SECTIONS)
    one, two, three = config.tinyobs.section(SECTION).plan().rules
    assert (one.suffix, three.suffix, three.name) == (":5s_", ":60s_", "second")
    assert (two.suffix, two.interval_ms, two.dedup_interval_ms) == (":1m30s_without_instance_", 90_000, 30_000)
    assert (two.ignore_first_sample_interval_ms, two.staleness_interval_ms) == (90_000, 300_000)
    assert (three.staleness_interval_ms, three.histogram) == (120_000, "vmrange")
    assert len(two.input_relabel_configs) == len(two.output_relabel_configs) == 1
    assert config.to_yaml().count("aggr.yml") == 1


FAULTS = {
    "{interval: 1x, outputs: [avg]}": (1, 14, "'1x' is no duration"),
    "{interval: 1m, outputs: [avg, foo]}": (1, 33, "unknown output 'foo'"),
    "{interval: 1m, outputs: [avg, avg]}": (1, 33, "stands here twice"),
    "{interval: 1m, outputs: []}": (1, 27, "at least one output"),
    "{outputs: [avg]}": (1, 3, "missing key 'interval'"),
    "{interval: 1m, outputs: [avg], match: ['{a=']}": (1, 42, "is not a series selector"),
    "{interval: 1m, outputs: [avg], by: [a], without: [b]}": (1, 52, "exclude each other"),
    "{interval: 1m, outputs: [avg], dedup_interval: 7s}": (1, 50, "must be a multiple"),
    "{interval: 500ms, outputs: [avg]}": (1, 14, "at least 1s"),
    "{interval: 1m, outputs: [avg], staleness_interval: 1s}": (1, 54, "must not be shorter"),
    "{interval: 1m, outputs: [avg, min], keep_metric_names: true}": (1, 58, "needs one output"),
    "{interval: 1m, outputs: ['quantiles(2)']}": (1, 28, "must be in the range"),
    "{interval: 1m, output: [avg]}": (1, 3, "missing key 'outputs'"),
}


@pytest.mark.parametrize("rule", FAULTS)
def test_faults_are_told_with_their_place(rule, tmp_path):
    """In the file of rules, and inline."""
    line, column, message = FAULTS[rule]
    (tmp_path / "aggr.yml").write_text(f"- {rule}\n")
    (tmp_path / "c.yml").write_text("tinyobs: {stream_aggregation: {file: aggr.yml}}")
    with pytest.raises(ConfigError) as e:
        loader.load(tmp_path / "c.yml", SECTIONS)
    problem = e.value.problems[0]
    assert (problem.file, problem.line, problem.column) == (str(tmp_path / "aggr.yml"), line, column)
    assert message in problem.message
    with pytest.raises(ConfigError, match=r"test\.yml") as e:
        parsed(f"rules:\n- {rule}")
    assert (e.value.problems[0].line, e.value.problems[0].column) == (4, column + 4)


def test_a_file_that_is_not_there_is_told(tmp_path):
    """It is a problem of the configuration."""
    (tmp_path / "c.yml").write_text("tinyobs: {stream_aggregation: {destinations: {a: {file: none.yml}}}}")
    with pytest.raises(ConfigError, match=r"none\.yml.*cannot be read"):
        loader.load(tmp_path / "c.yml", [*SECTIONS])
    assert tinyobs_config_sections() == SECTIONS
