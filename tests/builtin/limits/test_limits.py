"""Limits take samples of series beyond them out of every batch, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from structlog.testing import capture_logs

from tinyobs.builtin.limits.processor import LOG_EVERY_MS, Limits
from tinyobs.model.batch import Batch, LimitHit, Refused
from tinyobs.model.exemplars import Exemplar, ExemplarRefused
from tinyobs.model.gate import SOURCE, STAND_INS
from tinyobs.model.labels import from_mapping
from tinyobs.testing.check_processor import check_processor
from tinyobs.testing.services import FakeServices

HOUR = 3_600_000


def series(count, **labels):
    """Label sets that differ in `n`."""
    return [{**labels, "n": str(i)} for i in range(count)]


def test_the_contract_of_processors_is_kept():
    """`check_processor` has nothing to say."""
    services = FakeServices()
    check_processor(Limits(services), services.registry)


def test_a_good_batch_is_the_same_object(scene):
    """Nothing is copied when nothing is refused; an empty batch is fine."""
    for s in (scene(), scene(series_max=10, series_per_metric_max=5)):
        good, empty = s.batch({"a": "1"}, {"a": "2"}), s.batch()
        assert s.limits.process(good) is good
        assert s.limits.process(good) is good
        assert s.limits.process(empty) is empty


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(
    ("limit", "bad", "good", "text"),
    [
        ({"labels_per_series_max": 2}, {"a": "1", "b": "2"}, {"a": "1"}, "labels_per_series_max 2"),
        ({"label_name_bytes_max": 8}, {"ä" * 5: "1"}, {"a" * 8: "1"}, "label_name_bytes_max 8"),
        ({"label_value_bytes_max": 3}, {"a": "€€"}, {"a": "€"}, "label_value_bytes_max 3 of label a"),
        ({"metric_name_bytes_max": 3}, {"__name__": "long"}, {"a": "long"}, "metric_name_bytes_max 3"),
    ],
)
def test_series_of_a_shape_beyond_a_limit_are_taken_out(scene, limit, bad, good, text, gated):
    """Labels are counted with the name, lengths in bytes; the others stay; new series leave nothing behind."""
    s = scene(**limit)
    if not gated:
        s.registry.intern_many((from_mapping({"__name__": "x", **labels}) for labels in (bad, good)), gated=False)
    before = len(s.registry), s.registry.pair_count
    given = s.batch(good, bad, {}, value=[1, 2, 3])
    left = s.limits.process(given)
    assert left.refs.tolist() == [given.refs[0], given.refs[2]]
    assert left.values.tolist() == [1.0, 3.0]
    assert left.refused == {Refused.LIMIT: 1}
    assert left.limits == (LimitHit(text, 1),)
    assert given.refused == {}
    if gated:
        assert len(s.registry) == before[0] + 2
        assert all(s.registry.pair(i) not in bad.items() - good.items() for i in range(s.registry.pair_count))


def test_what_was_refused_before_is_kept(scene):
    """Counts of an earlier processor add up with ours."""
    s = scene(labels_per_series_max=1)
    given = s.batch({"a": "1"}, refused={Refused.LIMIT: 2, Refused.TOO_OLD: 1})
    assert s.limits.process(given).refused == {Refused.LIMIT: 3, Refused.TOO_OLD: 1}


def test_zero_is_no_limit(scene):
    """Everything passes."""
    s = scene(labels_per_series_max=0, label_name_bytes_max=0, label_value_bytes_max=0)
    given = s.batch({str(i): "v" * 10_000 for i in range(100)})
    assert s.limits.process(given) is given


def test_a_reload_decides_anew(scene):
    """Another limit holds for series already seen, and for refs that stood for refused ones."""
    s = scene()
    given = s.batch({"a": "1"})
    assert len(s.limits.process(given)) == 1
    s.configure(labels_per_series_max=1)
    assert len(s.limits.process(given)) == 0
    generation = s.registry.generation
    s.configure()
    assert len(s.limits.process(given)) == 1
    assert s.registry.generation > generation


def test_one_batch_cannot_overrun_the_number_of_series(scene):
    """Within a batch the limit is exact, and those that were first are taken."""
    s = scene(series_max=5)
    given = s.batch(*series(50))
    left = s.limits.process(given)
    assert left.refs.tolist() == given.refs[:5].tolist()
    assert left.refused == {Refused.LIMIT: 45}
    assert left.limits == (LimitHit("series_max 5", 45, is_cardinality=True),)
    assert len(s.registry) == 5


def test_series_that_are_gone_make_room(scene):
    """A series without samples for `forget_after` counts no more; one that comes back is new."""
    s = scene(series_max=2, forget_after="2h")
    s.process(*series(2))
    s.now_ms += HOUR
    assert len(s.process({"n": "0"}, {"n": "new"})) == 1
    generation = s.registry.generation
    s.now_ms += 2 * HOUR
    assert s.process({"n": "0"}, {"n": "new"}).refused == {Refused.LIMIT: 1}, "counted before it was forgotten"
    assert s.registry.generation > generation
    assert len(s.process({"n": "0"}, {"n": "new"})) == 2
    assert len(s.process({"n": "1"})) == 0


def test_series_that_are_there_stay(scene):
    """A lower limit pushes out nobody; those that were there when the limits came count."""
    s = scene()
    first = s.batch(*series(5))
    s.limits.process(first)
    s.configure(series_max=3)
    assert s.limits.process(first) is first
    assert len(s.process({"n": "new"})) == 0


@pytest.mark.parametrize(
    ("limit", "label", "text"),
    [
        ("series_per_metric_max", "__name__", "series_per_metric_max 3 of metric a"),
        ("series_per_job_max", "job", "series_per_job_max 3 of job a"),
    ],
)
def test_the_series_of_one_value_are_counted(scene, limit, label, text):
    """A metric or job that has too many does not take from others, in one batch and in many."""
    s = scene(**{limit: 3})
    left = s.process(*series(10, **{label: "a"}), *series(3, **{label: "b"}))
    assert len(left) == 6
    assert [h.text for h in left.limits] == [text]
    for i in range(3):
        assert len(s.process({label: "a", "m": str(i)})) == 0
        assert len(s.process({label: "c", "m": str(i)})) == 1
    assert len(s.process({label: "c", "m": "3"})) == 0


def test_series_without_a_job_are_not_limited_by_job(scene):
    """There is no job that they would be of."""
    s = scene(series_per_job_max=1)
    assert len(s.process(*series(5))) == 5


def test_the_series_of_one_source_are_counted(scene):
    """The source is known when series are numbered, by the batch for those that are; without one, it is the job."""
    s = scene(series_per_source_max=2)
    token = SOURCE.set("alice")
    left = s.process(*series(3))
    SOURCE.reset(token)
    assert len(left) == 2
    assert [h.text for h in left.limits] == ["series_per_source_max 2 of source alice"]
    known = [from_mapping({"__name__": "y", "n": str(i)}) for i in range(3)]
    refs = s.registry.intern_many(known, gated=False)
    given = s.batch(*[dict(k) for k in known], source="bob")
    assert given.refs.tolist() == refs.tolist()
    assert len(s.limits.process(given)) == 2
    left = s.process(*series(3, job="api"))
    assert [h.text for h in left.limits] == ["series_per_source_max 2 of source job api"]


def test_new_series_are_limited_by_hour_and_day(scene):
    """Each hour and day of the clock has its own number; series that are known are not new."""
    s = scene(new_series_per_hour_max=2, new_series_per_day_max=3)
    assert len(s.process(*series(5))) == 2
    assert len(s.process(*series(5))) == 2
    s.now_ms += HOUR
    s.process()
    left = s.process(*series(5))
    assert len(left) == 3
    assert [h.text for h in left.limits] == ["new_series_per_day_max 3"]
    s.now_ms += 24 * HOUR
    s.process()
    assert len(s.process(*series(5))) == 5


def test_a_reload_does_not_begin_the_hour_anew(scene):
    """Neither for all nor for a rule that stays, wherever it stands then; the next hour begins with nothing."""
    rule = {"match": "y", "new_series_per_hour_max": 1}
    s = scene(new_series_per_hour_max=2, rules=[rule])
    y = [{"__name__": "y", "i": str(i)} for i in range(2)]
    assert len(s.process({"i": "1"}, {"i": "2"}, {"i": "3"}, *y)) == 3
    s.configure(new_series_per_hour_max=2, rules=[{"match": "z", "series_max": 1}, rule])
    assert len(s.process({"i": "1"}, {"i": "3"}, *y)) == 2
    assert s.limits.decisions.report()["newSeriesThisHour"] == 2
    s.configure(new_series_per_hour_max=3, rules=[rule])
    s.process()
    assert len(s.process({"i": "3"}, {"i": "4"}, y[1])) == 1
    s.now_ms += HOUR
    s.process()
    assert len(s.process({"i": "4"}, y[1])) == 2


def test_other_rates_change_nothing_for_series(scene):
    """Sums of folded series go on, and nothing is decided anew."""
    rules = [{"match": "x", "labels": ["p"], "values_max": 1}]
    s = scene(rules=rules)
    s.process({"p": "1"}, {"p": "2"}, value=5)
    generation = s.registry.generation
    s.configure(rules=rules, rates={"samples_per_second": 7})
    s.now_ms += 1000
    assert list(s.stored(s.process({"p": "3"}, value=2)).values()) == [7]
    assert s.registry.generation == generation


def test_rules_replace_limits_for_some_series(scene):
    """The first rule that matches holds; 0 is no limit; what a rule does not say is as for all."""
    s = scene(
        series_per_metric_max=2,
        new_series_per_hour_max=6,
        rules=[
            {"match": '{job="big"}', "series_per_metric_max": 0, "series_max": 4},
            {"match": "up", "new_series_per_hour_max": 1},
        ],
    )
    left = s.process(*series(5, job="big"))
    assert len(left) == 4
    assert [h.text for h in left.limits] == ['series_max 4 of rule {job="big"}']
    assert len(s.process(*series(3, __name__="y"))) == 2
    assert len(s.process(*series(3, __name__="up"))) == 1
    assert [h.text for h in s.process({"__name__": "z"}).limits] == ["new_series_per_hour_max 6"]


def test_values_beyond_those_kept_can_be_refused(scene):
    """With `mode: refuse` the first values of a label stay, by metric, and come free when their series are gone."""
    rule = {"match": "x", "labels": ["path"], "values_max": 2, "mode": "refuse"}
    s = scene(rules=[rule], forget_after="2h")
    left = s.process(*({"path": f"/{i}", "code": c} for i in range(4) for c in "ab"))
    assert len(left) == 4
    assert [h.text for h in left.limits] == ["values_max 2 of label path of metric x"]
    s.now_ms += 3 * HOUR
    s.process()
    assert len(s.process({"path": "/3"}, {"path": "/2"})) == 2
    assert len(s.process({"path": "/1"})) == 0


def test_values_can_be_kept_for_each_combination_of_the_others(scene):
    """With `values_per: series` each set of other labels has its own."""
    rule = {"match": "x", "labels": ["path"], "values_max": 1, "mode": "refuse", "values_per": "series"}
    s = scene(rules=[rule])
    assert len(s.process({"path": "/1", "i": "a"}, {"path": "/2", "i": "b"}, {"path": "/3", "i": "b"})) == 2


def test_a_flood_leaves_nothing_behind(scene):
    """Registry, pairs and the limits themselves stay as small as they are, whatever refuses the series."""
    for limits in (
        {"series_max": 10},
        {"series_per_metric_max": 10},
        {"rules": [{"match": "x", "labels": ["n"], "values_max": 10, "mode": "refuse"}]},
        {"rules": [{"match": "x", "labels": ["n"], "values_max": 10}], "folded_members_max": 10},
    ):
        s = scene(**limits)
        for i in range(20):
            left = s.process(*({"n": f"{i}-{j}"} for j in range(100)))
            assert sum(left.refused.values()) + len(left) + left.absorbed == 100
        assert len(s.registry) <= 11
        assert s.registry.pair_count < 100


def test_stale_markers_of_refused_series_are_not_refused_samples(scene):
    """A scrape marks what it had, whatever became of it."""
    from tinyobs.model.staleness import STALE_NAN

    s = scene(series_max=1)
    given = s.batch(*series(3), value=STALE_NAN)
    left = s.limits.process(given)
    assert len(left) == 1
    assert left.refused == {}


@pytest.mark.parametrize("samples", [0, 1, 2])
@pytest.mark.parametrize("limits", [{"series_max": 1}, {"rules": [{"match": "x", "labels": ["n"], "values_max": 1}]}])
def test_exemplars_of_refused_and_folded_series_go(scene, limits, samples):
    """Those of others stay, those that are refused are told; whether their series have samples in the batch or not."""
    s = scene(**limits)
    refs = s.batch(*({"n": str(i)} for i in range(2))).refs
    exemplars = [Exemplar(ref, (("t", "1"),), 1.0, 0) for ref in refs.tolist()]
    given = evolve(s.batch(*({"n": str(i)} for i in range(samples))), exemplars=exemplars)
    out = s.limits.process(given)
    assert [e.ref for e in out.exemplars] == [0]
    assert out.exemplars_refused == ({ExemplarRefused.LIMIT: 1} if "series_max" in limits else {})


def test_exemplars_of_series_that_nothing_was_decided_on(scene):
    """Numbered before there were limits, or after a change of them: they are decided on as samples are."""
    s = scene()
    refs = s.batch(*series(3000)).refs
    s.configure(label_value_bytes_max=3)
    exemplars = [Exemplar(ref, (), 1.0, 0) for ref in (int(refs[1]), int(refs[2999]))]
    out = s.limits.process(Batch(refs[:0], np.zeros(0, np.int64), np.zeros(0), "test", exemplars=exemplars))
    kept = [e for e in exemplars if len(dict(s.registry.labels(e.ref))["n"]) <= 3]
    assert (out.exemplars, out.exemplars_refused) == (kept, {ExemplarRefused.LIMIT: 1})


def test_stand_ins_say_what_they_stand_for(scene):
    """Whoever asks for the labels of such a ref learns the limit."""
    s = scene(series_max=0, labels_per_series_max=1)
    ref = int(s.batch({"a": "1"}).refs[0])
    assert ref >= STAND_INS
    assert dict(s.registry.labels(ref)) == {"__name__": "refused", "limit": "labels_per_series_max 1"}


def test_refusals_are_logged_now_and_then(scene):
    """One line a minute with an example, however many series and batches."""
    s = scene(labels_per_series_max=1)
    with capture_logs() as logs:
        for i in range(5):
            s.process({"a": str(i)}, {})
        assert [entry["first"] for entry in logs] == ["labels_per_series_max 1"]
        s.now_ms += LOG_EVERY_MS
        s.process({"a": "5"})
        assert len(logs) == 2


def test_statistics_count_samples_by_limit(scene):
    """Refused samples by setting, and the series that count."""
    s = scene(series_max=2, labels_per_series_max=2)
    s.process(*series(5), {"a": "1", "b": "2"})
    found = s.limits.statistics()
    assert found.refused_samples_total == {"labels_per_series_max": 1, "series_max": 3}
    assert found.series == 2


def test_many_series_at_once(scene):
    """More than fit into the arrays at first, with counts that stay right."""
    s = scene(series_per_metric_max=5000)
    given = s.batch(*series(6000))
    assert len(s.limits.process(given)) == 5000
    assert int(s.limits.decisions.counts.of_pair.max()) == 5000
    assert np.all(s.limits.decisions.counts.is_counted(given.refs[:5000]))
