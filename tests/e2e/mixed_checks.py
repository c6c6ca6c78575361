"""Compares a data directory with what the senders of `mixed_load` were told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mixed_load import LATE_WITHIN, METADATA_EVERY, SERIES, Lane, Removal, Value, value_of

from tinyobs.model.histograms import numbers_of
from tinyobs.model.matchers import equal
from tinyobs.storage.engine import Engine

EVER = 2**62
SHORT_MS = 3_600_000
"""Age at which samples of `short` may go."""
REACH = 60 * LATE_WITHIN
"""Slots before the last that deletes still touch."""

Found = dict[tuple[str, int], dict[int, Value]]


def samples_of(engine: Engine, matchers: Sequence, mint_ms: int) -> dict:
    """Return {labels: {time: value}} from a time on."""
    with engine.querier(mint_ms, EVER) as q:
        selection = q.select(matchers, mint_ms, EVER)
        columns = selection.read(0, len(selection.labels))
    values = columns.values.tolist()
    numbers = numbers_of(columns.values)
    for at in np.flatnonzero(numbers >= 0).tolist():
        values[at] = columns.histograms.one(int(numbers[at]))
    times, bounds = columns.timestamps_ms.tolist(), columns.offsets.tolist()
    return {
        labels: dict(zip(times[a:b], values[a:b], strict=True))
        for labels, a, b in zip(columns.labels, bounds[:-1], bounds[1:], strict=True)
    }


def check_lane(engine: Engine, lane: Lane, since: int, newest_ms: int) -> None:
    """All that was acknowledged from a slot on is there, exactly; what was cut off is there whole or not at all.

    newest_ms: of all lanes, from which the age of `short` counts, or later.
    """
    found = _found(engine, lane, since)
    for removal in lane.doubtful_removals:
        _settle_removal(found, lane, removal, since)
    lane.doubtful_removals.clear()
    lane.acknowledged |= {n for n in lane.doubtful if n in found["keep", 0]}
    lane.doubtful.clear()
    stored = {n for n in lane.acknowledged if n >= since}
    for (name, i), samples in found.items():
        gone = {n for r in lane.removals if r.takes(name, i) for n in range(r.first, r.last + 1)}
        expected = stored - gone
        if name == "short":
            assert set(samples) <= expected, f"short of lane {lane.number}: not sent"
            expected = {n for n in expected if n in samples or lane.time_ms(n) > newest_ms - SHORT_MS}
        lost, invented = sorted(expected - set(samples)), sorted(set(samples) - expected)
        where = f"{name} {i} of lane {lane.number}"
        assert not lost, f"{where}: acknowledged, but lost: {lost[:10]} of {len(lost)}"
        assert not invented, f"{where}: deleted or never whole, but there: {invented[:10]} of {len(invented)}"
        wrong = [n for n, value in samples.items() if value != value_of(name, i, n)]
        assert not wrong, f"{where}: {wrong[0]} has {samples[wrong[0]]}"
    _check_beside(engine, lane, stored)


def _found(engine: Engine, lane: Lane, since: int) -> Found:
    """Return {(name, number): {request: value}} of a lane from a slot on."""
    got = samples_of(engine, [equal("lane", str(lane.number))], lane.time_ms(since))
    known = {labels: key for key, labels in lane.labels.items()}
    assert set(got) <= set(known), "series that nobody sent"
    found: Found = {key: {} for key in SERIES}
    for labels, samples in got.items():
        key = known[labels]
        for time_ms, value in samples.items():
            slot = lane.slot(time_ms)
            assert lane.time_ms(slot) == time_ms, f"{key}: a time that nobody sent"
            found[key][slot ^ 7 if key[0] == "late" else slot] = value
    return found


def _settle_removal(found: Found, lane: Lane, removal: Removal, since: int) -> None:
    """A delete that was cut off took all or nothing."""
    assert removal.first >= since
    aimed, left = 0, 0
    for (name, i), samples in found.items():
        if removal.takes(name, i):
            others = [r for r in lane.removals if r.takes(name, i)]
            for n in range(removal.first, removal.last + 1):
                if n in lane.acknowledged and not any(r.first <= n <= r.last for r in others):
                    aimed += 1
                    left += n in samples
    assert left in (0, aimed), f"{removal} took {aimed - left} of {aimed}"
    if not left:
        lane.removals.append(removal)


def _check_beside(engine: Engine, lane: Lane, stored: set[int]) -> None:
    """Exemplars and metadata of what was stored."""
    series = lane.labels["h_int", 0]
    mint = min((lane.time_ms(n) for n in stored), default=0)
    selector = [[equal(n, v) for n, v in series]]
    exemplars = engine.exemplars(selector, mint, EVER)
    traces = {e.labels[0][1]: e for s in exemplars for e in s.exemplars}
    wanted = {f"{lane.number}-{n}": lane.exemplar(n) for n in stored}
    assert set(traces) == set(wanted), "exemplars that were acknowledged are lost, or others there"
    for trace, e in wanted.items():
        assert (traces[trace].value, traces[trace].timestamp_ms) == (e.value, e.timestamp_ms)
    metadata = engine.metadata()
    for n in stored:
        if n % METADATA_EVERY == 0:
            name, expected = lane.family(n)
            assert metadata.get(name) == expected, f"metadata {name} of an acknowledged request is lost"
