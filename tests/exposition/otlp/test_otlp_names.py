"""Names of OpenTelemetry become those that Prometheus gives them."""

from __future__ import annotations

import pytest

from tinyobs.exposition.otlp.names import COUNTER, GAUGE, label_name, metric_name, unit_name


@pytest.mark.parametrize(
    ("name", "unit", "kind", "escaped", "kept"),
    [
        ("requests", "", COUNTER, "requests_total", "requests_total"),
        ("requests_total", "", COUNTER, "requests_total", "requests_total"),
        ("total.requests", "", COUNTER, "requests_total", "total.requests_total"),
        ("cpu.usage", "1", GAUGE, "cpu_usage_ratio", "cpu.usage_ratio"),
        ("cpu_usage_ratio", "1", GAUGE, "cpu_usage_ratio", "cpu_usage_ratio"),
        ("items", "1", COUNTER, "items_total", "items_total"),
        ("items", "1", "sum", "items", "items"),
        ("response.time", "ms", "histogram", "response_time_milliseconds", "response.time_milliseconds"),
        ("response_time_seconds", "s", "summary", "response_time_seconds", "response_time_seconds"),
        ("cpu_seconds_total", "s", COUNTER, "cpu_seconds_total", "cpu_seconds_total"),
        ("throughput", "By/s", GAUGE, "throughput_bytes_per_second", "throughput_bytes_per_second"),
        ("requests", "1/s", GAUGE, "requests_per_second", "requests_per_second"),
        ("hits", "{hit}/m", COUNTER, "hits_per_minute_total", "hits_per_minute_total"),
        ("x", "By/{thing}", GAUGE, "x_bytes", "x_bytes"),
        ("x", "unit@with#signs/chars", GAUGE, "x_unit_with_signs_per_chars", "x_unit@with#signs_per_chars"),
        ("a__b", "u__v", GAUGE, "a_b_u_v", "a__b_u__v"),
        ("123requests", "", GAUGE, "_123requests", "123requests"),
        ("a:b", " s ", GAUGE, "a:b_seconds", "a:b_seconds"),
        ("x", "/", GAUGE, "x", "x"),
        ("réq", "%", GAUGE, "r_q_percent", "réq_percent"),
        ("x_per_second", "m/s", GAUGE, "x_per_second_meters_per_second", "x_meters_per_second"),
    ],
)
def test_metrics_get_suffixes(name, unit, kind, escaped, kept):
    """Units become words, counters end in `_total`, ratios in `_ratio`, and nothing is there twice."""
    assert metric_name(name, unit, kind, escape=True, suffixes=True) == escaped
    assert metric_name(name, unit, kind, escape=False, suffixes=True) == kept


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("metric@@##$$name", "metric_name"),
        ("keeps__runs", "keeps__runs"),
        ("123x", "_123x"),
        ("a.b", "a_b"),
        (".a.", "a"),
        ("_", "_"),
    ],
)
def test_metrics_without_suffixes(name, wanted):
    """Only what may not be in a name is replaced."""
    assert metric_name(name, "s", COUNTER, escape=True, suffixes=False) == wanted
    assert metric_name(name, "s", COUNTER, escape=False, suffixes=False) == name


@pytest.mark.parametrize(("name", "suffixes"), [("", True), ("@#$", True), ("@#$", False), ("ü", False)])
def test_metrics_whose_name_is_empty(name, suffixes):
    """What has no name left cannot be stored."""
    with pytest.raises(ValueError, match="comes out as"):
        metric_name(name, "", GAUGE, escape=True, suffixes=suffixes)


def test_a_metric_without_a_name():
    """Not even where all characters may be in one."""
    with pytest.raises(ValueError, match="without a name"):
        metric_name("", "", GAUGE, escape=False, suffixes=False)


@pytest.mark.parametrize(
    ("name", "plain", "runs", "keyed", "both"),
    [
        ("with.dots:and:colons", *["with_dots_and_colons"] * 4),
        ("ends with 字符", "ends_with_", "ends_with___", "ends_with_", "ends_with___"),
        ("123label", *["key_123label"] * 4),
        ("_one", "_one", "_one", "key_one", "key_one"),
        ("__two", "_two", "__two", "key_two", "__two"),
        ("__reserved..x__", "__reserved_x__", "__reserved__x__", "__reserved_x__", "__reserved__x__"),
    ],
)
def test_labels(name, plain, runs, keyed, both):
    """With and without the two settings."""
    made = [label_name(name, escape=True, key_prefix=k, keep_runs=r) for k in (False, True) for r in (False, True)]
    assert made == [plain, runs, keyed, both]
    assert label_name(name, escape=False, key_prefix=True, keep_runs=True) == name


@pytest.mark.parametrize("name", ["", "__", "ようこそ", "ü"])
def test_labels_whose_name_is_empty(name):
    """Underscores alone are no name."""
    with pytest.raises(ValueError, match="comes out as"):
        label_name(name, escape=True, key_prefix=True, keep_runs=False)


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [("s", "seconds"), ("By/s", "bytes_per_second"), ("1", ""), ("1/s", "per_second"), ("{x}", ""), ("a b", "a_b"), ("%", "percent")],
)  # fmt: skip
def test_units(unit, wanted):
    """As they stand in metadata and in `__unit__`."""
    assert unit_name(unit, escape=True) == wanted
