"""The pure parts of remote write: answers, pauses, the number of shards, queues, series, names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyobs.abc import CursorStart, Logged, LogPosition
from tinyobs.builtin.remote_write import tinyobs_config_sections
from tinyobs.builtin.remote_write.answers import RETRY_AFTER_SECONDS_MAX, Fate, Written, judge, retry_after
from tinyobs.builtin.remote_write.backoff import Backoff
from tinyobs.builtin.remote_write.counters import Counters, Gauges, families_of
from tinyobs.builtin.remote_write.doubt import REFUSED_MAX, SENT_SINCE_SAVED, doubt_of
from tinyobs.builtin.remote_write.queue import (
    EXEMPLAR_WAIT_SECONDS,
    EXEMPLARS_MAX,
    Piece,
    Settlement,
    ShardQueue,
    custom_histograms,
    without_histograms,
)
from tinyobs.builtin.remote_write.scaling import Rate, Scaling
from tinyobs.builtin.remote_write.series import DROPPED, ELSEWHERE, KEPT, Placing, SeriesTable
from tinyobs.builtin.remote_write.settings import (
    Distribution,
    RemoteWriteSettings,
    cursor_name,
    names_of,
    shown_url,
)
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError
from tinyobs.exposition.remote_write_rows import SendRows
from tinyobs.model.exemplars import Exemplar
from tinyobs.model.histograms import CUSTOM_SCHEMA, Histogram, handles, histograms_of
from tinyobs.model.labels import from_mapping
from tinyobs.model.registry import encode_block
from tinyobs.relabel import Action, Rule

NOW = 1_790_000_000_000
H = Histogram(0, 0.0, 0, 1, 1.0, ((0, 1),), (1,), is_integer=True)
CUSTOM = Histogram(CUSTOM_SCHEMA, 0.0, 0, 1, 1.0, ((0, 1),), (1,), custom_values=(1.0,), is_integer=True)


def verdict(status, v2=False, retry_429=False, **headers):
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return judge(status, named, "some \n text", v2=v2, retry_429=retry_429, now_ms=NOW)


@pytest.mark.parametrize(
    ("status", "fate"),
    [(200, Fate.DELIVERED), (204, Fate.DELIVERED), (500, Fate.AGAIN), (503, Fate.AGAIN), (599, Fate.AGAIN)]
    + [(code, Fate.REFUSED) for code in (300, 302, 400, 401, 404, 409, 413, 415, 422, 429, 499)],
)
def test_what_a_status_means(status, fate):
    """2xx is success, 5xx is tried again, all else is final; 415 as well in 1.0."""
    assert verdict(status).fate is fate
    assert verdict(status).text == "some text"


def test_429_is_tried_again_only_when_asked():
    """With `retry_on_http_429`."""
    assert verdict(429, retry_429=True).fate is Fate.AGAIN


def test_what_2_0_answers_mean():
    """Headers tell what was written; without any of them, or with 415, the receiver knows 1.0 only."""
    found = verdict(204, v2=True, x_prometheus_remote_write_samples_written="7")
    assert (found.fate, found.written) == (Fate.DELIVERED, Written(7, 0, 0))
    assert verdict(204, v2=True).fate is Fate.UNSUPPORTED
    assert verdict(415, v2=True).fate is Fate.UNSUPPORTED
    found = verdict(400, v2=True, x_prometheus_remote_write_histograms_written="x")
    assert (found.fate, found.written, found.written.nothing) == (Fate.REFUSED, Written(), True)
    assert judge(204, {}, "", v2=True, retry_429=False, now_ms=0, is_empty=True).fate is Fate.DELIVERED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999", RETRY_AFTER_SECONDS_MAX),
        ("Mon, 21 Sep 2026 14:13:50 GMT", 30.0),
        ("Mon, 21 Sep 2020 14:13:50 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 30, None),
    ],
)
def test_retry_after(text, seconds):
    """Seconds or an HTTP date; anything else is not there."""
    assert retry_after(text, NOW) == seconds


@given(st.floats(0.001, 1), st.floats(1, 60), st.floats(0, 1))
def test_pauses_double_up_to_a_limit(shortest, longest, chance):
    """None is shorter than the shortest or longer than the longest; they grow, and chance spreads them."""
    pauses = Backoff(shortest, longest, lambda: chance)
    found = [pauses.next() for _ in range(20)]
    assert all(shortest <= p <= longest + 1e-9 for p in found)
    doubling = [p for i, p in enumerate(found) if shortest * 2**i * 1.5 <= longest]
    assert all(shortest * 2**i <= p <= shortest * 2**i * 1.5 + 1e-9 for i, p in enumerate(doubling))
    assert found[-1] >= 0.75 * longest - 1e-9


def test_a_receiver_may_ask_for_a_pause():
    """What it asks for stands; the steps go on beneath."""
    pauses = Backoff(1.0, 8.0, lambda: 0.0)
    assert [pauses.next(), pauses.next(33.0), pauses.next(0.0), pauses.next()] == [1.0, 33.0, 4.0, 8.0]


def test_rates_are_moving_averages():
    """The first interval counts as a whole, later ones by a fifth."""
    rate = Rate()
    rate.tick(10)
    rate.add(100)
    rate.tick(10)
    assert rate.rate == 10
    rate.add(200)
    rate.tick(10)
    assert rate.rate == 12


@pytest.mark.parametrize(
    ("now", "seconds_each", "behind", "expected"),
    [
        (1, 1e-5, 0, 1),  # 10 000 a second take a tenth of a shard
        (1, 5e-4, 0, 5),
        (4, 5e-4, 0, 4),  # 5 is within the tolerance
        (20, 5e-4, 0, 5),
        (20, 5e-4, 11, 20),  # not down while behind
        (1, 1e-1, 0, 50),  # the limit
        (10, 1e-5, 0, 2),  # the other limit
        (2, 1e-4, 120, 7),  # 5 % of the backlog a second: 10 000 + 0.05 * 120 * 10 000
    ],
)
def test_how_many_shards(now, seconds_each, behind, expected):
    """By the load and the time a sample takes, within tolerance and limits."""
    scaling = Scaling(2 if now == 10 else 1, 50)
    scaling.kept.add(100_000)
    scaling.went.add(100_000)
    scaling.took.add(100_000 * seconds_each)
    assert scaling.decide(now, behind, 10) == expected


def test_without_anything_sent_the_number_stays():
    """There is nothing to reckon from."""
    assert Scaling(1, 50).decide(3, 100, 10) == 3


def test_doubt_ends():
    """Behind as many samples as an earlier process may have had ahead of its place, or by a long run of refused ones."""
    doubt = doubt_of(10_000, 50)
    for _ in range(REFUSED_MAX - 1):
        doubt.refused()
    doubt.accepted()
    assert not doubt.is_over
    for _ in range(REFUSED_MAX):
        doubt.refused()
    assert doubt.is_over
    doubt.accepted()
    assert doubt.is_over
    doubt = doubt_of(1, 100)
    assert doubt.samples_left == 100 * 10_000 + SENT_SINCE_SAVED
    assert doubt.covers(doubt.samples_left - 1)
    assert doubt.covers(10)
    assert not doubt.covers(1)
    assert not doubt.is_over


# -- queues ------------------------------------------------------------------------------------------------------


def rows(refs, times, values=None):
    native = [isinstance(v, Histogram) for v in values or ()]
    column = np.array([0.0 if isinstance(v, Histogram) else v for v in values or range(len(refs))], np.float64)
    if any(native):
        column[native] = handles(0, sum(native))
    table = histograms_of([v for v in values if isinstance(v, Histogram)]) if any(native) else None
    return SendRows(np.array(refs, np.uint32), np.array(times, np.int64), column, None, table)


def piece(some, settled=None, in_doubt=False):
    done = [] if settled is None else settled
    return Piece(some, Settlement(Logged(None, LogPosition(1, len(done))), done.append, 1), in_doubt)


def test_a_queue_is_cut_into_requests():
    """Of the given size, across pieces; a piece is settled with the request that has its last sample."""
    queue, settled = ShardQueue(), []
    queue.put(piece(rows([0, 1, 2], [NOW] * 3), settled), 5.0)
    queue.put(piece(rows([0, 1, 2], [NOW + 1] * 3), settled), 6.0)
    assert queue.samples == 6
    first, second = queue.take(4, 7.0), queue.take(4, 7.0)
    assert (first.rows.refs.tolist(), second.rows.refs.tolist()) == ([0, 1, 2, 0], [1, 2])
    assert (len(first.settlements), len(second.settlements), settled) == (1, 1, [])
    for s in (*first.settlements, *second.settlements):
        s.done()
    assert len(settled) == 2
    assert (queue.samples, queue.due(4, 5.0)) == (0, None)


def test_when_a_request_is_due():
    """At once when it is full, else when the oldest sample has waited long enough."""
    queue = ShardQueue()
    queue.put(piece(rows([0], [NOW])), 10.0)
    assert queue.due(2, 5.0) == 15.0
    queue.put(piece(rows([1], [NOW])), 12.0)
    assert queue.due(2, 5.0) == float("-inf")
    queue.take(1, 12.0)
    assert queue.due(2, 5.0) == 17.0


def test_within_a_request_times_ascend():
    """So those of each series do, whatever came in which order; histograms keep their samples."""
    queue = ShardQueue()
    queue.put(piece(rows([0, 1], [NOW + 9, NOW], [1.0, H])), 0.0)
    queue.put(piece(rows([0, 1], [NOW + 5, NOW + 1], [H, 4.0]), in_doubt=True), 0.0)
    out = queue.take(10, 0.0)
    assert out.rows.timestamps_ms.tolist() == [NOW, NOW + 1, NOW + 5, NOW + 9]
    assert out.rows.refs.tolist() == [1, 1, 0, 0]
    assert out.rows.histogram_count == 2
    assert out.in_doubt
    assert (queue.samples, queue.histograms) == (0, 0)


def test_exemplars_go_with_a_sample_of_their_series():
    """Those of other series wait, for a while; too many are not taken."""
    queue = ShardQueue()
    one, two = Exemplar(1, (), 1.0, NOW), Exemplar(2, (), 2.0, NOW)
    assert queue.put_exemplars([one, two], 0.0) == 0
    queue.put(piece(rows([0, 1], [NOW, NOW])), 0.0)
    out = queue.take(10, 1.0)
    assert (dict(out.rows.exemplars), out.rows.lonely, queue.exemplars) == ({1: [one]}, [], 1)
    queue.put(piece(rows([0], [NOW])), 0.0)
    out = queue.take(10, EXEMPLAR_WAIT_SECONDS)
    assert (dict(out.rows.exemplars), out.rows.lonely, queue.exemplars) == ({}, [two], 0)
    assert queue.put_exemplars([one] * (EXEMPLARS_MAX + 7), 0.0) == 7


def test_exemplars_count_towards_the_size():
    """A tenth more than samples is the limit, as in Prometheus."""
    queue = ShardQueue()
    queue.put_exemplars([Exemplar(r, (), 1.0, NOW) for r in range(20)], 0.0)
    queue.put(piece(rows(list(range(20)), [NOW] * 20)), 0.0)
    assert queue.take(20, 0.0).rows.exemplar_count == 2


def test_another_queue_takes_over_waiting_exemplars():
    """When the number of shards changes."""
    old, new = ShardQueue(), ShardQueue()
    old.put_exemplars([Exemplar(1, (), 1.0, NOW)], 0.0)
    new.adopt_exemplars(old)
    new.put(piece(rows([1], [NOW])), 0.0)
    assert new.take(5, 0.0).rows.exemplar_count == 1


def test_histograms_can_be_left_out():
    """Some or all of them; what is left keeps its numbers."""
    some = rows([0, 1, 2, 3], [NOW] * 4, [H, 1.0, CUSTOM, H])
    assert custom_histograms(some, CUSTOM_SCHEMA).tolist() == [False, False, True, False]
    left = without_histograms(some, custom_histograms(some, CUSTOM_SCHEMA))
    assert (left.refs.tolist(), len(left.histograms), left.histograms.schemas().tolist()) == ([0, 1, 3], 2, [0, 0])
    assert without_histograms(some, np.array([True, False, True, True])).histograms is None


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 50)), max_size=12), st.integers(1, 12))
def test_whatever_is_put_in_comes_out(pieces, size):
    """Each sample once, no request too large, those of a series in order; every piece is settled with its last sample."""
    queue, settled, expected = ShardQueue(), [], []
    for number, (count, at) in enumerate(pieces):
        refs = [i % 3 for i in range(count)]
        times = [NOW + at + i for i in range(count)]
        values = [float(100 * number + i) for i in range(count)]
        queue.put(piece(rows(refs, times, values), settled), 0.0)
        expected += values
    out = []
    while queue.due(size, 0.0) is not None:
        request = queue.take(size, 0.0)
        assert 1 <= len(request.rows) <= size
        for ref in range(3):
            assert (np.diff(request.rows.timestamps_ms[request.rows.refs == ref]) >= 0).all()
        out += request.rows.values.tolist()
        for settlement in request.settlements:
            settlement.done()
        assert len(settled) == sum(set(range(100 * n, 100 * n + c)) <= set(out) for n, (c, _) in enumerate(pieces))
    assert sorted(out) == sorted(expected)
    assert queue.samples == 0


# -- series and names ----------------------------------------------------------------------------------------------


def table(series, rules=(), external=(), placing=None):
    told = {}
    labels = [from_mapping(s) for s in series]
    placing = placing or Placing(("a",), "a", RemoteWriteSettings())

    def announce(ref, sent, block):
        assert block == encode_block(sent)
        told[ref] = sent

    return SeriesTable(labels.__getitem__, external, rules, placing, announce), told


def test_external_labels_are_added_before_the_rules():
    """A label of the series stands; the rules see both, and may drop."""
    rules = [
        Rule(source_labels=("cluster",), regex="bad", action=Action.DROP),
        Rule(regex="x", action=Action.LABELDROP),
    ]
    made, told = table(
        [{"__name__": "a", "x": "1"}, {"__name__": "b", "cluster": "own"}, {"__name__": "c", "cluster": "bad"}],
        rules,
        [("cluster", "eu"), ("x", "2")],
    )
    states = made.states(np.array([2, 0, 1, 0], np.uint32))
    assert states.tolist() == [DROPPED, KEPT, KEPT, KEPT]
    assert told == {
        0: from_mapping({"__name__": "a", "cluster": "eu"}),
        1: from_mapping({"__name__": "b", "cluster": "own"}),
    }
    assert made.sent_labels(2) is None


def test_series_without_any_label_left_are_dropped():
    """An empty label set cannot be sent."""
    made, _ = table([{"__name__": "a"}], [Rule(regex=".*", action=Action.LABELDROP)])
    assert made.states(np.array([0], np.uint32)).tolist() == [DROPPED]


def test_a_series_is_always_on_the_same_shard():
    """By a hash of its labels, not of its number in this process."""
    series = [{"__name__": f"n{i}"} for i in range(100)]
    made, _ = table(series)
    other, _ = table(series[::-1])
    refs = np.arange(100, dtype=np.uint32)
    made.states(refs)
    other.states(refs)
    shards = made.shards(refs, 7)
    assert shards.tolist() == other.shards(refs, 7)[::-1].tolist()
    assert set(shards.tolist()) == set(range(7))


def test_destinations_share_series():
    """Each goes to as many as asked for, evenly; one that leaves gives only its own away."""
    names = ("a", "b", "c", "d")
    series = [{"__name__": "n", "i": str(i), "pod": str(i % 10)} for i in range(1000)]
    settings = RemoteWriteSettings(distribution=Distribution.SHARD, replicas=2)

    def owners(names, settings=settings):
        refs = np.arange(len(series), dtype=np.uint32)
        states = [table(series, placing=Placing(names, n, settings))[0].states(refs) for n in names]
        return [{n for n, s in zip(names, states, strict=True) if s[i] == KEPT} for i in range(len(series))]

    before, after = owners(names), owners(names[:3])
    assert all(len(x) == 2 for x in before + after)
    assert all(400 < sum(n in x for x in before) < 600 for n in names)
    assert all(now >= then - {"d"} for then, now in zip(before, after, strict=True))
    by_pod = owners(names, RemoteWriteSettings(distribution=Distribution.SHARD, shard_labels=("pod",)))
    without = owners(names, RemoteWriteSettings(distribution=Distribution.SHARD, shard_ignore_labels=("i",)))
    for found in (by_pod, without):
        assert len({(s["pod"], *x) for s, x in zip(series, found, strict=True)}) == 10
    assert owners(names, RemoteWriteSettings()) == [set(names)] * 1000
    assert ELSEWHERE not in (KEPT, DROPPED)


def config(text):
    return parse(text, "test.yml", tinyobs_config_sections())


def test_names_stay():
    """Their own, or made from the URL alone, so that other settings may change; equal URLs differ."""
    made = config(
        "remote_write: [{url: 'http://a/w', name: x}, {url: 'http://u:p@a/w?q=1'}, {url: 'http://a/w'}, {url: 'http://b'}]"
    )
    names = names_of(made.remote_write)
    assert names[0] == "x"
    assert len(set(names)) == 4
    changed = config("remote_write: [{url: 'http://u:q@a/w', headers: {X: y}, remote_timeout: 1s}]")
    assert names_of(changed.remote_write) == names[1:2]
    assert all(len(n) == 6 for n in names[1:])


def test_urls_are_shown_without_secrets():
    """No user, no password, no query."""
    assert shown_url("https://u:p@h:1/a/b?token=t#f") == "https://h:1/a/b"


def test_names_of_cursors():
    """Long names are shortened, to different ones."""
    assert cursor_name("x") == "remote_write-x"
    assert len(cursor_name("x" * 300)) < 60
    assert cursor_name("x" * 300) != cursor_name("x" * 301)


def test_where_a_new_destination_begins():
    """Now, with the oldest, or some time ago; for each by name."""
    text = "tinyobs: {remote_write: {start: 2h, destinations: [{name: a, start: oldest}, {name: b, start: now}]}}"
    settings = config(text).tinyobs.section("remote_write")
    assert settings.start_of("a") == CursorStart(None)
    assert settings.start_of("b") == CursorStart(0)
    assert settings.start_of("c") == CursorStart(7_200_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start: yesterday", "start is 'now', 'oldest' or a duration such as 2h"),
        ("destinations: [{start: now}]", "a destination is told by its name"),
        ("destinations: [{name: a, start: -1h}]", "start is"),
        ("distribution: both", "unknown distribution"),
        ("replicas: 0", "must be"),
        ("shard_labels: [a]\n    shard_ignore_labels: [b]", "exclude each other"),
    ],
)
def test_faults_of_the_section(text, message):
    """Each is told with its place."""
    with pytest.raises(ConfigError, match=message):
        config(f"tinyobs:\n  remote_write:\n    {text}")


def test_metrics_have_the_names_that_dashboards_know():
    """All of a destination, labelled with its name and URL; the buckets of a histogram are cumulative."""
    counters = Counters()
    counters.durations.observe(0.02)
    counters.durations.observe(400.0)
    counters.drop("samples", "too_old", 3)
    counters.codes["204"] = 1
    gauges = Gauges(
        {"samples": 1, "histograms": 2, "exemplars": 3, "metadata": 0}, 2, 1, 50, 1.5, 10_000, 2000, 7, 9, 0
    )
    found = {f.name: f for f in families_of("n", "http://h/", counters, gauges)}
    buckets = [
        p for p in found["prometheus_remote_storage_sent_batch_duration_seconds"].points if p.suffix == "_bucket"
    ]
    assert (buckets[0].value, buckets[3].value, buckets[-1].value) == (0, 1, 2)
    assert dict(buckets[-1].labels)["le"] == "+Inf"
    dropped = {
        dict(p.labels)["reason"]: p.value for p in found["prometheus_remote_storage_samples_dropped_total"].points
    }
    assert dropped == {"too_old": 3, "dropped_series": 0}
    assert dict(found["prometheus_remote_storage_shards"].points[0].labels) == {"remote_name": "n", "url": "http://h/"}
    assert dict(found["prometheus_wal_watcher_current_segment"].points[0].labels) == {"consumer": "n"}
    expected = """samples_total exemplars_total histograms_total metadata_total samples_failed_total exemplars_failed_total
    histograms_failed_total metadata_failed_total samples_retried_total exemplars_retried_total histograms_retried_total
    metadata_retried_total samples_dropped_total exemplars_dropped_total histograms_dropped_total enqueue_retries_total
    sent_batch_duration_seconds queue_highest_timestamp_seconds queue_highest_sent_timestamp_seconds samples_pending
    exemplars_pending histograms_pending shard_capacity shards shards_max shards_min shards_desired bytes_total
    metadata_bytes_total max_samples_per_send"""
    assert {f"prometheus_remote_storage_{suffix}" for suffix in expected.split()} <= set(found)
