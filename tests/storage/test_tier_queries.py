"""Queries over tiers give what raw samples give: exactly where windows fit, within bounds elsewhere."""

from __future__ import annotations

import random

import pytest
from tier_cases import DAY0_MS, FIVE_MS, MINUTE_MS, Clock, ask, ask_at, assert_close, days, load, open_tiered, tiers_of

from tinyobs.model.staleness import STALE_NAN
from tinyobs.storage.options import DAY_MS, HOUR_MS
from tinyobs.testing.mem_disk import MemDisk


def series_of(seed):
    """Counters with resets, gauges, gaps, markers and irregular scrapes over four and a half days."""
    rng = random.Random(seed)
    counter, gauge, broken, jumpy, value = [], [], [], [], 0.0
    n = int(4.5 * DAY_MS / MINUTE_MS)
    for i, (t, _) in enumerate(days([0] * n)):
        value = 0.0 if rng.random() < 0.002 else value + rng.randrange(5)
        counter.append((t, value))
        gauge.append((t, rng.gauss(100.0, 10.0)))
        if i // 97 % 3:
            broken.append((t + rng.randrange(20_000), value))
        elif i % 97 == 0 and broken:
            broken.append((t, STALE_NAN))
        if rng.random() < 0.3:
            jumpy.append((t + rng.randrange(50_000), float(i)))
    return {"counter_total": counter, "gauge": gauge, "broken_total": broken, "jumpy_total": jumpy}


@pytest.fixture(scope="module", params=[1, 2])
def engine(request):
    clock = Clock(DAY0_MS)
    engine = open_tiered(MemDisk(), clock=clock)
    load(engine, series_of(request.param), clock)
    assert {w for w, _ in tiers_of(engine)} == {FIVE_MS, HOUR_MS}
    yield engine
    engine.close()


EXACT = [
    "rate({__name__=~'.+_total'}[RANGE])",
    "increase({__name__=~'.+_total'}[RANGE])",
    "delta(gauge[RANGE])",
    "rate(counter_total[RANGE] anchored)",
    "increase(broken_total[RANGE] smoothed)",
    *(
        f"{f}_over_time({{__name__!=''}}[RANGE])"
        for f in ("avg", "min", "max", "sum", "count", "last", "first", "present")
    ),
    "timestamp(broken_total)",
    "{__name__!=''}",
    "absent_over_time(broken_total[RANGE])",
]


@pytest.mark.parametrize("text", EXACT)
@pytest.mark.parametrize(
    ("step", "width", "tier"), [(HOUR_MS, HOUR_MS, "1h"), (HOUR_MS, FIVE_MS, "5m"), (FIVE_MS, FIVE_MS, "5m")]
)
def test_aligned_windows_are_exact(engine, text, step, width, tier):
    """Where steps and ranges fit the buckets, tiers answer as raw samples do, and the answer names the tier."""
    if "RANGE" not in text:
        tier = "1h" if step == HOUR_MS else "5m"
    text = text.replace("RANGE", f"{width // 1000}s" if width < HOUR_MS or tier == "1h" else "30m")
    span = DAY0_MS + 6 * HOUR_MS, DAY0_MS + 4 * DAY_MS + 8 * HOUR_MS
    got, result = ask(engine, text, *span, step)
    want, raw = ask(engine, text, *span, step, resolution_ms=0)
    assert_close(got, want)
    assert any(f"samples from the {tier} downsampling tier" in i for i in result.infos)
    assert not any("tier" in i for i in raw.infos)
    assert result.statistics.samples_read < raw.statistics.samples_read


@pytest.mark.parametrize("text", [t for t in EXACT if "RANGE" in t and "smoothed" not in t])
def test_one_window_is_exact_wherever_it_lies(engine, text):
    """A single window takes whole buckets from the tier and its ends from raw samples."""
    text = text.replace("RANGE", "50h")
    for at in (DAY0_MS + 3 * DAY_MS + 12_345_678, DAY0_MS + 4 * DAY_MS + 40_000_123):
        got, result = ask_at(engine, text, at)
        want, _ = ask_at(engine, text, at, resolution_ms=0)
        assert_close(got, want)
        assert any("1h downsampling tier" in i for i in result.infos)


@pytest.mark.parametrize("text", [t for t in EXACT if "RANGE" in t and "smoothed" not in t and "anchored" not in t])
@pytest.mark.parametrize("shift", [61_234, 3_000_001])
def test_other_windows_are_those_of_the_borders_before(engine, text, shift):
    """Windows that fit no bucket are rounded down to the borders of buckets, and exact for what they are then."""
    text, step = text.replace("RANGE", "6h"), HOUR_MS
    start, end = DAY0_MS + 12 * HOUR_MS, DAY0_MS + 3 * DAY_MS - HOUR_MS
    got, result = ask(engine, text, start + shift, end + shift, step)
    assert any("1h downsampling tier" in i for i in result.infos)
    want, _ = ask(engine, text, start, end, step, resolution_ms=0)
    assert_close({k: {t - shift: v for t, v in row.items()} for k, row in got.items()}, want)


def test_steps_below_the_tier_stay_raw(engine):
    """Nothing changes for steps of less than five minutes, for other functions, and where raw samples are asked for."""
    start, end = DAY0_MS + DAY_MS, DAY0_MS + DAY_MS + 6 * HOUR_MS
    for text, step in [
        ("rate(counter_total[1h])", 299_000),
        ("stddev_over_time(gauge[1h])", HOUR_MS),
        ("irate(counter_total[1h])", HOUR_MS),
        ("counter_total", MINUTE_MS),
    ]:
        got, result = ask(engine, text, start, end, step)
        want, _ = ask(engine, text, start, end, step, resolution_ms=0)
        assert got == want
        assert not any("tier" in i for i in (*result.infos, *result.warnings))
    assert not ask_at(engine, "counter_total", start)[1].infos
    assert not ask_at(engine, "counter_total[1h]", start)[1].infos


def test_a_resolution_forces_its_tier(engine):
    """`resolution` takes the tier although the step is short."""
    start, end = DAY0_MS + DAY_MS, DAY0_MS + DAY_MS + 6 * HOUR_MS
    got, result = ask(engine, "sum_over_time(gauge[1h])", start, end, 60_000, resolution_ms=FIVE_MS)
    want, _ = ask(engine, "sum_over_time(gauge[1h])", start, end, 60_000, resolution_ms=0)
    assert any("5m downsampling tier" in i for i in result.infos)
    (a,), (b,) = got.values(), want.values()
    for t in range(start, end + 1, 60_000):
        border = t // FIVE_MS * FIVE_MS
        assert a[t] == pytest.approx(b[border], rel=1e-9)
    _, result = ask(engine, "quantile_over_time(0.5, gauge[1h])", start, end, HOUR_MS, resolution_ms=HOUR_MS)
    assert any("needs all samples" in w for w in result.warnings)
