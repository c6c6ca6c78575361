"""A scrape for trial: fetched, parsed and relabelled as the pool does it, and shown instead of stored.

It runs the very loop that scrapes, with a registry of its own and a place for the batch instead of a storage, so that what
is shown is what would be stored.  The body is read a second time without metric relabelling, to tell what that does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, cast

import attrs
import trio
from attrs import frozen

from ...abc import Clock, Services
from ...http_client import Client
from ...model.durations import format_duration
from ...model.labels import NAME, Labels, from_mapping
from ...relabel import Preview, preview, trace
from ...web.target_trial import TargetQuestion, TargetTest
from .fetch import Requester
from .loop import EXTRA_REPORTS, REPORTS, ScrapeLoop
from .rules import LoopRules
from .targets import ADDRESS, PoolDefaults, Target, TargetError, make_target
from .trial_parts import Recorder, Replay, Scratch

OK: Final = 200
_SIZE: Final = "scrape_body_size_bytes"


@frozen
class TrialPool:
    """What a trial needs of a scrape pool."""

    defaults: PoolDefaults
    rules: LoopRules
    make_client: Callable[[Target], Client]
    """A new one for each trial, which closes it."""


async def run_trial(
    pool: TrialPool, target: Target, clock: Clock, series_max: int, running: ScrapeLoop | None = None
) -> TargetTest:
    """Scrape a target and return what would be stored; running: the loop that scrapes it at present."""
    began = trio.current_time()
    client = pool.make_client(target)
    recorder = Recorder(client)
    try:
        scratch, loop = await _scrape(target, pool.rules, recorder, clock, running.forced_error if running else "")
    finally:
        await client.aclose()
    took = trio.current_time() - began
    reports = _reports(scratch, loop)
    base = attrs.evolve(
        describe(pool, target),
        error=loop.health.last_error,
        limit=scratch.limit(),
        status=recorder.status,
        content_type=recorder.headers.get("content-type", ""),
        content_encoding=recorder.headers.get("content-encoding", ""),
        body_bytes=sum(map(len, recorder.pieces)),
        exposition_bytes=int(reports.get(_SIZE, 0)),
        duration_seconds=took,
        samples=int(reports["scrape_samples_scraped"]),
        samples_kept=int(reports["scrape_samples_post_metric_relabeling"]),
        series=scratch.samples(len(reports), series_max),
        reports={k: v for k, v in reports.items() if k in REPORTS or pool.rules.extra_metrics},
        metadata=dict(sorted(loop.health.metadata.items())[:series_max]),
        metadata_count=len(loop.health.metadata),
        is_active=running is not None,
    )
    if running is not None:
        stored = partial(scratch.series, len(reports))
        base = await trio.to_thread.run_sync(_with_stale, base, running, stored, series_max)
    if recorder.pieces and recorder.status == OK:
        told = await _metric_relabelling(pool.rules, target, recorder, clock, series_max)
        base = attrs.evolve(base, metric_relabelling=told)
    return base


def describe(pool: TrialPool, target: Target) -> TargetTest:
    """Return what can be said of a target before it is scraped."""
    _, steps = trace(target.discovered, pool.defaults.rules)
    return TargetTest(
        pool.defaults.job,
        target.discovered,
        target.labels,
        steps,
        url=target.url,
        interval=format_duration(target.interval_ms),
        timeout=format_duration(target.timeout_ms),
    )


def target_at(pool: TrialPool, question: TargetQuestion) -> Target | TargetTest:
    """Return the target that discovery would make of an address, or the answer where relabelling drops it."""
    found = {**dict(question.labels), **({ADDRESS: question.address} if question.address else {})}
    try:
        discovered, target = make_target(found, {}, pool.defaults)
    except (TargetError, ValueError) as e:
        raise LookupError(f"no target can be made of this: {e}") from None
    if target is not None:
        return target
    _, steps = trace(discovered, pool.defaults.rules)
    return TargetTest(pool.defaults.job, discovered, None, steps)


def choose(targets: Sequence[Target], wanted: str, pool: str, elsewhere: Sequence[Target] = ()) -> Target:
    """Return the target of a URL, `instance` or address, the only one where none is named; raises `LookupError`.

    elsewhere: targets that other members of the cluster scrape.
    """
    if not wanted and len(targets) == 1:
        return targets[0]
    found = [t for t in targets if _is_called(t, wanted)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(t.url for t in (found or targets)[:10])
    if not wanted or found:
        raise LookupError(
            f'scrape pool "{pool}" has {len(found or targets)} such targets: name one by its URL ({names})'
        )
    if there := [t for t in elsewhere if _is_called(t, wanted)]:
        members = ", ".join(map(str, there[0].members))
        raise LookupError(f'the target "{wanted}" is scraped by another member of the cluster: number {members}')
    raise LookupError(f'scrape pool "{pool}" has no target "{wanted}", but {names or "none at all"}')


def _is_called(target: Target, name: str) -> bool:
    return name in (target.url, dict(target.labels).get("instance"), dict(target.discovered).get(ADDRESS))


async def _scrape(
    target: Target, rules: LoopRules, requester: Requester, clock: Clock, forced_error: str = ""
) -> tuple[Scratch, ScrapeLoop]:
    scratch = Scratch(clock)
    with_size = attrs.evolve(rules, extra_metrics=True)
    loop = ScrapeLoop(target, with_size, requester, cast(Services, scratch), scratch.counters, "trial")
    loop.is_trial, loop.forced_error = True, forced_error
    await loop.scrape(clock.now_ms())
    return scratch, loop


def _with_stale(
    base: TargetTest, running: ScrapeLoop, stored: Callable[[], set[Labels]], series_max: int
) -> TargetTest:
    """Add what would become stale; runs in a worker thread."""
    stale = sorted(running.current_series() - stored())
    return attrs.evolve(base, stale=stale[:series_max], stale_count=len(stale))


async def _metric_relabelling(
    rules: LoopRules, target: Target, recorder: Recorder, clock: Clock, series_max: int
) -> Preview | None:
    """Return what metric relabelling does to the series of a body, None where it cannot be read."""
    series = attrs.evolve(
        rules.series, metric_rules=(), label_limit=0, label_name_length_limit=0, label_value_length_limit=0
    )
    free = attrs.evolve(rules, sample_limit=0, series=series)
    scratch, loop = await _scrape(target, free, Replay(recorder), clock)
    if loop.health.last_error:
        return None
    reports = len(_reports(scratch, loop))

    def look() -> Preview:
        found = sorted(scratch.series(reports))
        return preview(found, rules.series.metric_rules, series_max, trio.from_thread.check_cancelled)

    return await trio.to_thread.run_sync(look)


def _reports(scratch: Scratch, loop: ScrapeLoop) -> dict[str, float]:
    """Return the synthetic series of a scrape, by name: the last samples of its batch."""
    names = (*REPORTS, *EXTRA_REPORTS)
    refs, values = scratch.batch.refs[-len(names) :][::-1], scratch.batch.values[-len(names) :][::-1]
    found: dict[str, float] = {}
    for ref, value in zip(refs.tolist(), values.tolist(), strict=True):
        labels = dict(scratch.registry.labels(ref))
        name = labels.pop(NAME, "")
        if name not in names or name in found or from_mapping(labels) != loop.target.labels:
            break
        found[name] = float(value)
    return {name: found[name] for name in names if name in found}
