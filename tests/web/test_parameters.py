"""Reading of times, durations, numbers and selectors."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.web.api_v1 import parameters
from tinyobs.web.form import Form
from tinyobs.web.problem import ApiError


def form(**values: str) -> Form:
    """Return a form of single values."""
    return Form({k: [v] for k, v in values.items()})


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1435781451.781", 1435781451781),
        ("1.4357814517810001e9", 1435781451781),
        ("-1.5", -1500),
        ("2015-07-01T20:10:51.781Z", 1435781451781),
        ("2015-07-01T22:10:51.781999+02:00", 1435781451781),
        ("1969-12-31T23:59:59.5Z", -500),
        ("-292273086-05-16T16:47:06Z", parameters.TIME_MS_MIN),
        ("292277025-08-18T07:12:54.999999999Z", parameters.TIME_MS_MAX),
        ("1e300", parameters.TIME_MS_MAX),
        ("-Inf", parameters.TIME_MS_MIN),
    ],
)
def test_times(text: str, time_ms: int) -> None:
    """Seconds with decimals, RFC 3339, and what Go writes for its ends of time."""
    assert parameters.time(form(t=text), "t") == time_ms


@pytest.mark.parametrize(
    "text", ["", "x", "NaN", "1e400", "-1e400", "2015-07-01T20:10:51", "2015-13-01T00:00:00Z", "1_0", "１"]
)
def test_what_is_no_time(text: str) -> None:
    """The message quotes the text."""
    with pytest.raises(ApiError, match="to a valid timestamp") as caught:
        parameters.time(form(t=text), "t")
    assert f'invalid parameter "t": cannot parse "{text}"' in str(caught.value)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_rfc3339_times_are_exact_to_the_millisecond(moment: datetime) -> None:
    """Whatever the date, the milliseconds are those of the calendar."""
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    found = parameters.time(form(t=moment.isoformat() + "Z"), "t")
    assert 0 <= round(exact * 1e6) - found * 1000 < 1000


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_bad_request(text: str) -> None:
    """Nothing but `ApiError` escapes."""
    for read in (parameters.time, parameters.duration):
        with contextlib.suppress(ApiError):
            read(form(t=text), "t")
    with contextlib.suppress(ApiError):
        parameters.limit(form(limit=text))


@pytest.mark.parametrize(
    ("text", "duration_ms"), [("15", 15000), ("0.5", 500), ("1m30s", 90000), ("-2", -2000), ("1d", 86_400_000)]
)
def test_durations(text: str, duration_ms: float) -> None:
    """Seconds with decimals, or units."""
    assert parameters.duration(form(step=text), "step") == duration_ms


def test_a_limit_out_of_range_is_refused() -> None:
    """A number that does not fit 64 bits has Go's message."""
    with pytest.raises(ApiError, match="value out of range"):
        parameters.limit(form(limit="9" * 30))


def test_missing_values_take_their_defaults() -> None:
    """A time of its own default, no limit, no lookback."""
    assert parameters.time_or(form(), "t", 7) == 7
    assert parameters.limit(form()) == 0
    assert parameters.lookback(form()) is None
    assert parameters.number(form(), "limit", -1) == -1


def test_too_many_selectors_are_refused() -> None:
    """The number of `match[]` is bounded."""
    with pytest.raises(ApiError, match="more than 1000 values"):
        parameters.selectors(["up"] * 1001)
