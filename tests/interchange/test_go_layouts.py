"""Layouts of Go: what they read, as Go reads it."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import free_port, pause, running, victoria_metrics

from tinyobs.interchange.go_layouts import read_layout

TIMES = [
    ("2006-01-02 15:04:05", "2023-11-14 22:13:20", 1_700_000_000_000),
    ("2006-01-02 15:04:05", "2023-11-14   22:13:20.1239", 1_700_000_000_123),
    ("2006-01-02 15:04:05", "2023-11-14 22:13:20,5", 1_700_000_000_500),
    ("2006-01-02T15:04:05.000", "2023-11-14T22:13:20.123", 1_700_000_000_123),
    ("2006-01-02T15:04:05.000", "2023-11-14T22:13:20.12", None),
    ("2006-01-02T15:04:05.999", "2023-11-14T22:13:20", 1_700_000_000_000),
    ("2006-01-02T15:04:05.999", "2023-11-14T22:13:20.123456789123", 1_700_000_000_123),
    ("20060102150405", "20231114221320", 1_700_000_000_000),
    ("02/Jan/2006:15:04:05 -0700", "14/Nov/2023:23:13:20 +0100", 1_700_000_000_000),
    ("Mon Jan _2 15:04:05 2006", "tue NOV 14 22:13:20 2023", 1_700_000_000_000),
    ("Mon, 02 Jan 2006 15:04:05 MST", "Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000_000),
    ("Mon, 02 Jan 2006 15:04:05 MST", "Tue, 14 Nov 2023 22:13:20 UTC", 1_700_000_000_000),
    ("Monday, January 2, 2006", "Tuesday, November 14, 2023", 1_699_920_000_000),
    ("1/2/06 3:04:05PM", "11/14/23 10:13:20PM", 1_700_000_000_000),
    ("1/2/06 3:04pm", "11/14/23 12:13am", 1_699_920_780_000),
    ("1/2/06 3:04PM", "11/14/70 10:13PM", 27_468_780_000),
    ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20Z", 1_700_000_000_000),
    ("2006-01-02T15:04:05Z07:00", "2023-11-15T03:43:20+05:30", 1_700_000_000_000),
    ("2006-01-02T15:04:05Z07:00", "2023-11-15T03:43:20+25:30", None),
    ("2006-01-02 15 -07", "2023-11-14 22 -02", 1_700_006_400_000),
    ("2006-002 15:04", "2023-318 22:13", 1_699_999_980_000),
    ("2006-002", "2024-366", 1_735_603_200_000),
    ("2006-002", "2023-366", None),
    ("2006 __2", "2023   5", 1_672_876_800_000),
    ("2006-01-02 002", "2023-11-14 319", None),
    ("2006", "2023", 1_672_531_200_000),
    ("2006-1-2 15h", "2023-11-4 9h", 1_699_088_400_000),
    ("2006-01-02", "2023-11-14 ", None),
    ("2006-01-02", "2023-13-14", None),
    ("2006-01-02", "2023-02-29", None),
    ("2006-01-02", "2023-1-14", None),
    ("2006-01-02 15:04", "2023-01-14 24:00", None),
    ("02.01.2006 um 15 Uhr", "14.11.2023 um 22 Uhr", 1_699_999_200_000),
    ("é2006_01_2006", "é2023_05_2024", 1_714_521_600_000),
    ("Janu 2006", "Janu 2023", 1_672_531_200_000),
    ("Monk 2006", "Monk 2023", 1_672_531_200_000),
]
"""Layout, text, milliseconds or None."""


@pytest.mark.parametrize(("layout", "text", "ms"), TIMES)
def test_times(layout, text, ms):
    """Each is what Go makes of it."""
    times, faults = read_layout(layout).read_all([text.encode()])
    if ms is None:
        assert list(faults) == [0]
    else:
        assert (times.tolist(), faults) == ([ms], {})


@pytest.mark.parametrize("zone", ["CET", "GMT+3", "MST", "+03"])
def test_zones_by_name(zone):
    """They mean different things in different places, and are refused."""
    assert read_layout("2006-01-02 MST").read_all([f"2023-11-14 {zone}".encode()])[1]


def test_the_year_0():
    """A time of day alone is in it, as in Go; so far back nothing is stored."""
    assert (
        read_layout("15:04").read(b"10:30")
        == int(timedelta(hours=10.5) / timedelta(milliseconds=1)) - 62_167_219_200_000
    )
    assert read_layout("2006-01-02").read(b"0000-02-29") == -62_162_121_600_000


def test_many_at_once():
    """Faults have the positions of their texts, which are quoted; long ones are cut."""
    times, faults = read_layout("2006-01-02").read_all([b"2023-11-14", b"x" * 300, b"2023-11-14", b"\xff"])
    assert times.tolist() == [1_699_920_000_000, 0, 1_699_920_000_000, 0]
    assert faults[3] == "not a time like '2006-01-02': \"\\xff\""
    assert len(faults[1]) < 120


@given(
    st.lists(
        st.sampled_from(["2006", "01", "Jan", "_2", "15", "05", ".000", "PM", "-0700", "MST", " ", "x", "0", "é"]),
        max_size=9,
    ),
    st.text(max_size=30),
)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_any_layout_and_text(parts, text):
    """Nothing but faults comes of it."""
    layout = read_layout("2" + "".join(parts))
    times, _ = layout.read_all([text.encode()])
    assert len(times) == 1


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)))
@settings(derandomize=True, max_examples=200, deadline=None)
def test_what_is_written_is_read(moment):
    """With the names of months and days, and an offset."""
    text = moment.strftime("%A %d %B %Y %I:%M:%S.%f%p") + " +0530"
    expected = moment.replace(tzinfo=UTC) - timedelta(hours=5.5)
    assert read_layout("Monday 02 January 2006 03:04:05.000000PM -0700").read(text.encode()) == (
        expected - datetime(1970, 1, 1, tzinfo=UTC)
    ) // timedelta(milliseconds=1)


SINCE_GO_1_20 = ("2006-01-02T15:04:05.999", "2006-01-02T15:04:05Z07:00")
"""Layouts with texts that older readers take otherwise: more than nine digits of a second, an offset of more than a day."""


@pytest.mark.peer
def test_victoria_metrics_reads_the_same(tmp_path):
    """It has Go's own reader."""
    # The parts of a format are between commas.
    times = {i: time for i, time in enumerate(TIMES) if "," not in time[0] and time[0] not in SINCE_GO_1_20}
    address = f"127.0.0.1:{free_port()}"
    flags = [f"-httpListenAddr={address}", f"-storageDataPath={tmp_path / 'vm'}", "-retentionPeriod=100y"]
    with running([victoria_metrics(), *flags], f"http://{address}/health", tmp_path):
        for i, (layout, text, _) in times.items():
            query = urllib.parse.urlencode({"format": f"1:label:n,2:time:custom:{layout},3:metric:m"})
            url = f"http://{address}/api/v1/import/csv?{query}"
            urllib.request.urlopen(urllib.request.Request(url, f'{i},"{text}",1\n'.encode(), method="POST")).close()
        expected = {str(i): ms for i, (_, _, ms) in times.items() if ms is not None}
        for _ in range(100):
            urllib.request.urlopen(f"http://{address}/internal/force_flush").close()
            url = f"http://{address}/api/v1/export?match[]=m&start=1970-01-01T00:00:00Z&end=2100-01-01T00:00:00Z"
            with urllib.request.urlopen(url) as answer:
                lines = [json.loads(line) for line in answer.read().splitlines()]
            found = {line["metric"]["n"]: line["timestamps"][0] for line in lines}
            if len(found) >= len(expected):
                break
            pause(0.1)
    assert found == expected
