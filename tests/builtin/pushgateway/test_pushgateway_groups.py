"""Groups over time: what is stored when, what ends, and what happens where something fails."""

from __future__ import annotations

import errno
import json

import pytest
import trio
from attrs import evolve
from gateways import Gateways

from tinyobs.builtin.pushgateway import handlers
from tinyobs.config.settings import RateSettings
from tinyobs.errors import StorageError, Unavailable
from tinyobs.model.batch import AppendResult, Refused
from tinyobs.model.labels import to_text
from tinyobs.model.staleness import is_stale_value
from tinyobs.storage.layout import PUSH_JOURNAL
from tinyobs.testing.fault_disk import FaultDisk
from tinyobs.testing.mem_disk import Loss, MemDisk
from tinyobs.testing.services import EPOCH_MS


def series(services, name):
    """Samples of a name: (seconds since the start, value or None for the end)."""
    return {
        text: [((at - EPOCH_MS) / 1000, None if is_stale_value(value) else value) for at, value in samples]
        for text, samples in services.samples(name).items()
    }


async def test_values_are_stored_at_once_and_again(autojump_clock):
    """With the time of the push, then with that of each interval, until the group is deleted."""
    g = Gateways("interval: 10s")
    async with g.running():
        await trio.sleep(3)
        assert await g.put("job/a", b"m 1\n") == 200
        await trio.sleep(20)
        assert await g.put("job/a", b"m 2\n") == 200
        await trio.sleep(10)
        assert (await g.ask("DELETE", "/metrics/job/a")).status == 202
        await trio.sleep(30)
    stored = series(g.services, "m")['m{job="a"}']
    assert [value for _, value in stored] == [1.0, 1.0, 1.0, 2.0, 2.0, None]
    assert stored[0][0] == 3.0
    assert stored[-1][0] == 33.0
    times = series(g.services, "push_time_seconds")['push_time_seconds{job="a"}']
    assert times[0] == (3.0, EPOCH_MS / 1000 + 3)
    assert times[-1] == (33.0, None)
    assert g.component.statistics().stored_again_samples_total == 9


async def test_what_a_put_leaves_out_ends(autojump_clock):
    """And what a POST replaces; the rest of the group goes on."""
    g = Gateways()
    await g.put("job/a", b'm{x="1"} 1\nm{x="2"} 2\nn 1\n')
    await trio.sleep(1)
    await g.put("job/a", b'm{x="2"} 3\n', "POST")
    await trio.sleep(1)
    await g.put("job/a", b'm{x="2"} 4\n')
    assert series(g.services, "m") == {
        'm{job="a", x="1"}': [(0.0, 1.0), (1.0, None)],
        'm{job="a", x="2"}': [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)],
    }
    assert series(g.services, "n") == {'n{job="a"}': [(0.0, 1.0), (2.0, None)]}


async def test_pushes_of_one_moment_have_times_of_their_own(autojump_clock):
    """So that the storage takes all of them, in order."""
    g = Gateways()
    for value in (1, 2, 3):
        await g.put("job/a", b"m %d\n" % value)
    await g.again()
    times = [at for at, _ in g.services.samples("m")['m{job="a"}']]
    assert times == [EPOCH_MS, EPOCH_MS + 1, EPOCH_MS + 2], "and values stored after now are not stored again"


async def test_pushes_that_wait_go_together(autojump_clock):
    """One batch for each source, in order; one write of the journal."""
    disk = MemDisk()
    g = Gateways(disk=disk)
    await g.put("job/a", b"m 0\n")
    writes, batches = len(disk.changes), len(g.services.batches)
    async with trio.open_nursery() as nursery:
        for i in range(20):
            nursery.start_soon(g.put, f"job/a/x/{i % 4}", b"m %d\n" % i)
    assert len(g.services.batches) - batches <= 3
    assert sum(c.method == "sync" for c in disk.changes[writes:]) <= 3
    for i in range(4):
        samples = g.services.samples("m")[f'm{{job="a", x="{i}"}}']
        assert sorted(v for _, v in samples) == [i, i + 4, i + 8, i + 12, i + 16]
        assert [at for at, _ in samples] == sorted({at for at, _ in samples})
        held = g.shown()[("job", "a"), ("x", str(i))][0]
        assert samples[-1][1] in held.values(), "the last one stays"


async def test_one_that_gives_up_does_not_stop_the_others(autojump_clock):
    """Whether it waits, or is the next to commit for all."""
    g = Gateways()
    done = []

    async def one(number, seconds):
        with trio.move_on_after(seconds):
            done.append((number, await g.put(f"job/{number}", b"m 1\n")))

    hold, g.services.append = trio.Event(), hold_first(g.services.append)
    async with trio.open_nursery() as nursery:
        g.services.append.hold = hold
        for number in range(6):
            nursery.start_soon(one, number, 1 if number in (1, 3) else 100)
        await trio.sleep(5)
        hold.set()
    assert {number for number, _ in done} >= {2, 4, 5}
    assert all(status == 200 for _, status in done)
    assert not g.gateway._waiting
    assert not g.gateway._has_leader


def hold_first(append):
    """Return an `append` whose first call waits."""

    async def held(batch, **options):
        if not held.called:
            held.called = True
            await held.hold.wait()
        return await append(batch, **options)

    held.called = False
    return held


@pytest.mark.parametrize("error", [Unavailable("full"), StorageError("broken")])
async def test_what_is_not_stored_has_not_happened(autojump_clock, error):
    """Groups, consistency and journal are as before."""
    disk = MemDisk()
    g = Gateways(disk=disk)
    await g.put("job/a", b"# TYPE m gauge\nm 1\n")
    before, journal = g.shown(), disk.read(PUSH_JOURNAL)
    g.services.fail_with = error
    assert await g.put("job/a", b"# TYPE m counter\nm 2\n") == 503
    assert await g.put("job/b", b"# TYPE k counter\nk 2\n") == 503
    assert (await g.ask("DELETE", "/metrics/job/a")).status == 503
    assert (g.shown(), disk.read(PUSH_JOURNAL)) == (before, journal)
    g.services.fail_with = None
    assert await g.put("job/b", b"# TYPE m counter\nm 2\n") == 400, "the type of before still counts"
    assert await g.put("job/b", b"# TYPE k gauge\nk 2\n") == 200


async def test_what_is_not_in_the_journal_has_not_happened(autojump_clock):
    """A full disk is told; the next push heals it."""
    disk = FaultDisk(MemDisk())
    g = Gateways(disk=disk)
    await g.put("job/a", b"m 1\n")
    before = g.shown()
    disk.full = True
    answer = await g.ask("PUT", "/metrics/job/a", b"m 2\n")
    assert answer.status == 507
    assert answer.headers["retry-after"]
    assert g.shown() == before
    disk.full = False
    assert await g.put("job/a", b"m 3\n") == 200
    assert Gateways(disk=disk.inner, services=g.services).shown() == g.shown()


async def test_a_source_beyond_its_rate_fails_alone(autojump_clock):
    """Those that waited with it are done."""
    g = Gateways()
    limited = g.services.receptions
    rates = RateSettings(samples_per_second=0.001, burst_ms=0)
    own = g.services.config.tinyobs
    g.services.config = evolve(g.services.config, tinyobs=evolve(own, limits=evolve(own.limits, rates=rates)))
    assert limited is g.services.receptions
    assert await g.put("job/a", b"m 1\n") == 200
    assert await g.put("job/a", b"m 2\n") == 429
    assert [v for _, v in g.services.samples("m")['m{job="a"}']] == [1.0]
    (shown,) = g.shown().values()
    assert 1.0 in shown[0].values()


async def test_series_that_may_not_be_stored_fail_their_push_alone(autojump_clock):
    """Which of those that went together it was is found out."""
    g = Gateways()
    append = g.services.append

    async def limits(batch, **options):
        bad = [i for i, ref in enumerate(batch.refs.tolist()) if "bad" in to_text(g.services.registry.labels(ref))]
        await append(batch, **options)
        refused = {Refused.LIMIT: len(bad)} if bad else {}
        return AppendResult(len(batch) - len(bad), refused, {Refused.LIMIT: bad[0]} if bad else {})

    g.services.append = limits
    answers = {}

    async def one(name):
        answers[name] = await g.ask("PUT", f"/metrics/job/{name}", f"{name} 1\n".encode())

    async with trio.open_nursery() as nursery:
        for name in ("good", "bad", "fine", "well"):
            nursery.start_soon(one, name)
    assert {name: a.status for name, a in answers.items()} == {"good": 200, "bad": 400, "fine": 200, "well": 200}
    assert b"tinyobs.limits" in answers["bad"].body
    assert {dict(key)["job"] for key in g.shown()} == {"good", "fine", "well"}


async def test_inconsistent_pushes_set_their_time(autojump_clock):
    """Malformed ones do not; the group keeps what it has."""
    g = Gateways()
    await g.put("job/a", b"m 1\n")
    await trio.sleep(5)
    assert await g.put("job/a", b"m 2 1\n") == 400
    assert await g.put("job/a", b"m what\n") == 400
    assert await g.put("job/new", b"n 1\nn 2\n") == 400
    shown = {dict(key)["job"]: (pushed, failed) for key, (_, pushed, failed) in g.shown().items()}
    assert shown == {"a": (EPOCH_MS, EPOCH_MS + 5000), "new": (0, EPOCH_MS + 5000)}
    failures = series(g.services, "push_failure_time_seconds")
    assert failures['push_failure_time_seconds{job="a"}'] == [(0.0, 0.0), (5.0, EPOCH_MS / 1000 + 5)]
    counts = g.services.receptions.statistics().refused_total
    assert counts == {("pushgateway", "inconsistent"): 2, ("pushgateway", "malformed"): 1}


async def test_without_the_check(autojump_clock):
    """Pushes are answered 202; timestamps are refused all the same."""
    g = Gateways("consistency_check: false")
    assert await g.put("job/a", b"# TYPE m gauge\nm 1\nm 2\n") == 202
    assert await g.put("job/b", b"# TYPE m counter\nm 1\n") == 202
    assert await g.put("job/b", b"m 1 5\n") == 400
    assert [v for _, v in g.services.samples("m")['m{job="a"}']] == [2.0]


async def test_groups_that_share_series(autojump_clock):
    """A series belongs to the one that was pushed last, and goes back when that is deleted; it ends with the last."""
    g = Gateways()
    await g.put("job/a", b"m 1\n")
    await trio.sleep(1)
    await g.put("job/a/x@base64/=", b"m 2\n")
    await trio.sleep(1)
    await g.again()
    await trio.sleep(1)
    await g.ask("DELETE", "/metrics/job/a/x@base64/=")
    await trio.sleep(1)
    await g.again()
    await trio.sleep(1)
    await g.ask("DELETE", "/metrics/job/a")
    assert series(g.services, "m")['m{job="a"}'] == [(0, 1.0), (1, 2.0), (2, 2.0), (4, 1.0), (5, None)]


async def test_old_groups_expire(autojump_clock):
    """When nobody has pushed to them for long enough; never by default."""
    for settings, left in (("expire_after: 1h", {"b"}), ("expire_after: 1h, interval: 0s", {"b"}), ("", {"a", "b"})):
        g = Gateways(settings, disk=MemDisk())
        async with g.running():
            await g.put("job/a", b"m 1\n")
            await trio.sleep(3000)
            await g.put("job/b", b"m 1\n")
            await trio.sleep(1000)
            assert {dict(key)["job"] for key in g.shown()} == left
        assert (series(g.services, "m")['m{job="a"}'][-1][1] is None) == ("a" not in left)


async def test_nothing_is_stored_again_where_that_is_switched_off(autojump_clock):
    """An interval of no time does that, also by a reload."""
    g = Gateways("interval: 0s")
    async with g.running():
        await g.put("job/a", b"m 1\n")
        await trio.sleep(1000)
        assert len(g.services.batches) == 1
        g.services.config = Gateways("interval: 10s").services.config
        await g.component.reconfigure(g.services.config)
        await trio.sleep(100)
        assert 9 <= len(g.services.batches) <= 12


async def test_limits_on_groups_and_bytes(autojump_clock):
    """A push beyond is told so, and what is there may still change."""
    g = Gateways("groups_max: 2, size_max: 1KiB")
    assert [await g.put(f"job/{i}", b"m 1\n") for i in range(3)] == [200, 200, 413]
    assert await g.put("job/0", b"m 2\n") == 200
    assert await g.put("job/0", b"# " + b"x" * 1100 + b"\nm 3\n") == 413
    assert (await g.ask("DELETE", "/metrics/job/1")).status == 202
    assert await g.put("job/2", b"m 1\n") == 200
    assert g.services.receptions.statistics().refused_total == {("pushgateway", "too_large"): 2}
    assert g.component.statistics().body_bytes == 8


async def test_long_bodies_are_read_in_a_thread(autojump_clock, monkeypatch):
    """With the same outcome, and what was remembered is used again."""
    monkeypatch.setattr(handlers, "READ_IN_THREAD_BYTES", 1)
    g = Gateways()
    for value in (1, 2):
        assert await g.put("job/a", b"m %d\n" % value) == 200
    assert [v for _, v in g.services.samples("m")['m{job="a"}']] == [1.0, 2.0]
    assert await g.put("job/a", b"m\n") == 400


async def test_labels_in_the_url_are_refused(autojump_clock):
    """Those of a group stand in its path; what cannot be added must not be lost without a word."""
    g = Gateways()
    answer = await g.ask("PUT", "/metrics/job/a?extra_label=zone=z1", b"m 1\n")
    assert (answer.status, b"stand in the path" in answer.body) == (400, True)
    assert g.shown() == {}


async def test_wiping(autojump_clock):
    """Only where the admin API is enabled; all series end."""
    g = Gateways(disk=MemDisk())
    await g.put("job/a", b"m 1\n")
    await g.put("job/b", b"m 1\n")
    assert (await g.ask("PUT", "/api/v1/admin/wipe")).status == 404
    g.services.settings = evolve(g.services.settings, admin_api=True)
    await trio.sleep(1)
    assert (await g.ask("PUT", "/pushgateway/api/v1/admin/wipe")).status == 202
    assert g.shown() == {}
    assert all(samples[-1] == (1.0, None) for samples in series(g.services, "m").values())


async def test_what_is_shown(autojump_clock):
    """The exposition, the JSON of the query API, and the status."""
    g = Gateways()
    summary = b'# TYPE s summary\n# HELP s Text.\ns{quantile="0.5"} 1\ns_sum 2\ns_count 3\n'
    await g.put("job/a/x@base64/=", summary + b'# TYPE g gauge\ng{instance="i"} 1.5e9\n')
    text = (await g.ask("GET", "/pushgateway/metrics")).body.decode()
    assert 's{instance="",job="a",quantile="0.5",x=""} 1\n' in text
    assert 'g{instance="i",job="a",x=""} 1.5e+09\n' in text
    assert "# TYPE push_time_seconds gauge\n" in text
    (group,) = json.loads((await g.ask("GET", "/api/v1/metrics")).body)["data"]
    assert group["labels"] == {"job": "a", "x": ""}
    assert group["last_push_successful"] is True
    labels = {"instance": "", "job": "a", "x": ""}
    assert group["s"] == {
        "time_stamp": "2023-11-14T22:13:20.000Z",
        "type": "SUMMARY",
        "help": "Text.",
        "metrics": [{"labels": labels, "quantiles": {"0.5": "1"}, "count": "3", "sum": "2"}],
    }
    assert group["g"]["metrics"][0]["value"] == "1.5e+09"
    assert group["push_time_seconds"]["metrics"] == [{"labels": labels, "value": "1.7e+09"}]
    for path in ("/api/v1/status", "/pushgateway/api/v1/status"):
        status = json.loads((await g.ask("GET", path)).body)["data"]
        assert status["flags"]["push.disable-consistency-check"] == "false"


async def test_families_of_openmetrics_are_shown_by_the_names_of_text(autojump_clock):
    """A type stands before the series that it is of; times of creation are families of their own."""
    g = Gateways()
    body = b'# TYPE c counter\nc_total 1\nc_created 5\n# TYPE i info\ni_info{v="1"} 1\n# EOF\n'
    answer = await g.ask("PUT", "/metrics/job/a", body, content_type="application/openmetrics-text")
    assert answer.status == 200
    text = (await g.ask("GET", "/pushgateway/metrics")).body.decode()
    for lines in (
        '# TYPE c_total counter\nc_total{instance="",job="a"} 1\n',
        '# TYPE c_created gauge\nc_created{instance="",job="a"} 5\n',
        '# TYPE i_info gauge\ni_info{instance="",job="a",v="1"} 1\n',
    ):
        assert lines in text
    (group,) = json.loads((await g.ask("GET", "/api/v1/metrics")).body)["data"]
    assert {name: group[name]["type"] for name in ("c_total", "c_created")} == {
        "c_total": "COUNTER",
        "c_created": "GAUGE",
    }
    openmetrics = await g.ask("GET", "/pushgateway/metrics", accept="application/openmetrics-text")
    assert b'# TYPE c counter\nc_total{instance="",job="a"} 1.0\n' in openmetrics.body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'm{__a="x"} 1\n', 'collected metric "m" has the label "__a": names in __ are reserved'),
        (b'# TYPE h histogram\nh_bucket{le="x"} 1\n', 'the label le of "h_bucket" must be a number: not a number: "x"'),
        (b'# TYPE s summary\ns{quantile=""} 1\ns{quantile="half"} 1\n', 'the label quantile of "s" must be a number'),
        (b"m 1\nm 2\n", 'collected metric m{job="a"} was collected before'),
        (b"other 1\n", 'collected metric "other" is of type untyped here and of type gauge in another group'),
        (b'n{x="y"} 1\n', 'collected metric "n" was collected before with the same labels, in group {job="a", x="y"}'),
    ],
)
async def test_what_does_not_fit_is_named(autojump_clock, body, message):
    """A push is refused with the metric, and the time of that is noted."""
    g = Gateways()
    assert await g.put("job/a/x/y", b"# TYPE other gauge\nother 1\n# TYPE n untyped\nn 1\n") == 200
    answer = await g.ask("PUT", "/metrics/job/a", body)
    assert answer.status == 400
    assert message in answer.body.decode()
    assert g.shown()[(("job", "a"),)][2] == EPOCH_MS


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"m 1\n# TYPE m gauge\n", '2:1: TYPE reported after samples of "m": it belongs before them'),
        (b"# HELP m a\n# HELP m b\n", '2:1: second HELP line for metric name "m"'),
        (b'm 1\nn{x="a\\"",y="1\n2"} 1\n', "2:1: a label value contains an unescaped line break: write it as \\n"),
    ],
)
async def test_what_is_malformed_has_its_line(autojump_clock, body, message):
    """It changes nothing, not even the time of failures."""
    g = Gateways()
    answer = await g.ask("PUT", "/metrics/job/a", body)
    assert (answer.status, answer.body.decode().strip()) == (400, message)
    assert g.shown() == {}


async def life(g):
    """Push, replace, fail and delete; returns what the groups were after each change."""
    states = [{}]
    for method, path, body in (
        ("PUT", "job/a", b'm{x="1"} 1\nn 1\n'),
        ("POST", "job/a", b'm{x="2"} 2\n'),
        ("POST", "job/a", b"o 3\n"),
        ("POST", "job/a", b'm{x="2"} 4\n'),
        ("PUT", "job/b/x@base64/=", b"m 1\n"),
        ("PUT", "job/b", b"m 1 7\n"),
        ("POST", "job/a", b""),
        ("DELETE", "job/b", b""),
        ("PUT", "job/a", b"o 5\n"),
        ("POST", "job/c", b"p 1\n"),
    ):
        await trio.sleep(1)
        await g.ask(method, f"/metrics/{path}", body)
        states.append(g.shown())
    return states


@pytest.mark.parametrize("threshold", [1, 300, 1 << 20])
async def test_groups_are_there_again(autojump_clock, threshold):
    """After every change, whether the journal is written anew each time, now and then, or never."""
    disk = MemDisk()
    g = Gateways(disk=disk, rewrite_bytes_min=threshold)
    await life(g)
    changes = len(disk.changes)
    restarted = Gateways(disk=disk, services=g.services, rewrite_bytes_min=threshold)
    assert restarted.shown() == g.shown()
    assert len(disk.changes) <= changes + 1, "opening writes nothing"
    assert await restarted.put("job/a", b"# TYPE p counter\np 1\n") == 400, "types are known again"
    assert await restarted.put("job/a", b"q 1\n", "POST") == 200
    assert Gateways(disk=disk, services=g.services).shown() == restarted.shown()


async def test_names_that_were_allowed_once_are_there_again(autojump_clock):
    """Also where they are not allowed any more; and what was remembered of the others is used at once."""
    disk = MemDisk()
    g = Gateways("utf8_names: true", disk=disk)
    await g.put("job/a/U__my_2e_label/x", b'{"my.name"} 1\n')
    await g.put("job/b", b"m 1\n")
    restarted = Gateways(disk=disk)
    assert set(restarted.shown()) == set(g.shown())
    before = restarted.gateway.groups.by_key[(("job", "b"),)].state.refs
    assert await restarted.put("job/b", b"m 2\n") == 200
    assert restarted.gateway.groups.by_key[(("job", "b"),)].state.refs is before
    assert await restarted.put("job/b", b'{"my.name"} 1\n') == 400


@pytest.mark.parametrize("loss", list(Loss))
async def test_a_crash_anywhere_keeps_what_was_answered(autojump_clock, loss):
    """What the groups are then is what they were after some change that was on its way, or the last one answered."""
    disk, done = MemDisk(), []
    g = Gateways(disk=disk, rewrite_bytes_min=300)
    states = await life(g)
    replay = Gateways(disk=(second := MemDisk()), rewrite_bytes_min=300)
    original, count = replay.ask, [0]

    async def noting(*request, **headers):
        answer = await original(*request, **headers)
        count[0] += 1
        done.append((len(second.changes), count[0]))
        return answer

    replay.ask = noting
    states = await life(replay)
    for changes in range(len(second.changes) + 1):
        answered = max((number for at, number in done if at <= changes), default=0)
        found = Gateways(disk=second.after_crash(changes, loss, seed=changes), services=replay.services).shown()
        assert found in states[answered : answered + 2], f"after change {changes}"


async def test_a_fault_of_the_disk_at_any_moment(autojump_clock):
    """The push that met it is told 503 or 507; groups in memory and on disk are the same afterwards."""
    probe = FaultDisk(MemDisk())
    await life(Gateways(disk=probe, rewrite_bytes_min=300))
    for number in range(probe.change_count):
        disk = FaultDisk(MemDisk(), {number: errno.EIO})
        g = Gateways(disk=disk, rewrite_bytes_min=300)
        await life(g)
        assert await g.put("job/last", b"m 1\n") == 200
        assert Gateways(disk=disk.inner, services=g.services).shown() == g.shown(), number
