"""Promises of reading: ranges, order, matchers, labels, views."""

from __future__ import annotations

from typing import Final

import numpy as np

from ...model.labels import Labels, get
from ...model.matchers import Matcher, MatchType, equal, name_is
from .scene import EVER, STEP_MS, Scene, check_columns, contents, held, labels

SERIES: Final = (
    labels("b", host="1"),
    labels("a", host="2"),
    labels("a", host="1", only="x"),
    labels("a", host="10", **{"dotted.name": "\u00fc \U0001f600"}),
    labels("c"),
)
MATCHERS: Final[tuple[list[Matcher], ...]] = (
    [],
    [name_is("a")],
    [name_is("a"), equal("host", "2")],
    [Matcher(MatchType.NOT_EQUAL, "host", "1")],
    [equal("only", "")],
    [Matcher(MatchType.NOT_EQUAL, "only", "")],
    [equal("nowhere", "")],
    [Matcher(MatchType.NOT_EQUAL, "nowhere", "")],
    [Matcher(MatchType.NOT_EQUAL, "nowhere", "x")],
    [Matcher(MatchType.REGEX, "host", "1|2")],
    [Matcher(MatchType.REGEX, "host", "1.*"), Matcher(MatchType.NOT_REGEX, "__name__", "b.*")],
    [Matcher(MatchType.REGEX, "only", ".*")],
    [Matcher(MatchType.REGEX, "only", ".+")],
    [Matcher(MatchType.NOT_REGEX, "only", ".+")],
    [Matcher(MatchType.REGEX, "only", "x|")],
    [Matcher(MatchType.NOT_REGEX, "only", "x|")],
    [Matcher(MatchType.REGEX, "host", "")],
    [Matcher(MatchType.REGEX, "dotted.name", "\u00fc .")],
    [name_is("a"), name_is("b")],
    [name_is("none")],
)
"""An absent label is the empty string; expressions match the whole value."""


def fill(scene: Scene, count: int = 10) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Store a sample of every series at each of `count` times up to now; return the times."""
    times = scene.now_ms + STEP_MS * np.arange(1 - count, 1)
    for i, at in enumerate(times.tolist()):
        scene.store([(series, at, i + j / 10) for j, series in enumerate(SERIES)])
    return times


def check_new(scene: Scene) -> None:
    """A new storage is empty, and a series that only has a number is not in it."""
    scene.check("a new storage is empty")
    scene.storage.registry.intern(labels("numbered_only"))
    scene.check("a series that only has a number is not found")
    with scene.storage.querier(*EVER) as querier:
        assert querier.label_names() == [], "a new storage has no label names"
        assert querier.label_values("__name__") == [], "a new storage has no label values"
        assert list(querier.series([])) == [], "a new storage has no series"


def check_ranges(scene: Scene) -> None:
    """What was stored is read; both ends of a range are included; the querier's range bounds that of a selection."""
    times = fill(scene)
    scene.check("what was stored is read")
    first, last = int(times[0]), int(times[-1])
    ranges = (
        (first, last),
        (first + 1, last - 1),
        (last, last),
        (last + 1, EVER[1]),
        (EVER[0], first - 1),
        (last, first),
    )
    for mint, maxt in ranges:
        wanted = scene.chosen(lambda series: True, mint, maxt)
        assert scene.read([], mint, maxt) == wanted, "both ends of a range are included, and nothing beyond"
        with scene.storage.querier(first, last) as wide:
            found = held(wide, [], mint, maxt)
            assert found == scene.chosen(lambda s: True, max(first, mint), min(last, maxt)), "a selection has its range"
    with scene.storage.querier(first + 1, last - 1) as narrow:
        wanted = scene.chosen(lambda series: True, first + 1, last - 1)
        assert held(narrow, []) == wanted, "the range of a querier bounds its selections"


def check_blocks(scene: Scene) -> None:
    """Any block of a selection can be read, in any order, and as often as one likes."""
    fill(scene)
    with scene.storage.querier(*EVER) as querier:
        selection = querier.select([], *EVER)
        names = list(selection.labels)
        assert names == sorted(SERIES), "series are sorted by their labels, each once"
        whole = contents(selection.read(0, len(names)))
        for first, last in ((3, 5), (0, 3), (1, 1), (4, 5), (0, 5), (2, 3), (5, 5)):
            block = selection.read(first, last)
            check_columns(block)
            assert list(block.labels) == names[first:last], "a block has the series that were asked for"
            wanted = {series: whole[series] for series in names[first:last]}
            assert contents(block) == wanted, "a block has the samples of its series"


def check_matchers(scene: Scene) -> None:
    """A series is found when every matcher holds."""
    fill(scene, 3)
    for matchers in MATCHERS:
        wanted = scene.chosen(lambda series, ms=matchers: fulfils(series, ms))  # type: ignore[misc]
        assert scene.read(matchers) == wanted, f"matchers {', '.join(map(str, matchers))}"


def check_labels(scene: Scene) -> None:
    """Names, values and series are sorted, without repetition, of series that fulfil the matchers."""
    fill(scene, 3)
    with scene.storage.querier(*EVER) as querier:
        for matchers in MATCHERS:
            found = sorted(s for s in SERIES if fulfils(s, matchers))
            text = ", ".join(map(str, matchers))
            names = sorted({n for s in found for n, _ in s})
            assert querier.label_names(matchers) == names, f"sorted label names with {text}"
            assert list(querier.series(matchers)) == found, f"sorted series with {text}"
            for name in ("__name__", "host", "only", "nowhere"):
                values = sorted({get(s, name) for s in found} - {""})
                assert querier.label_values(name, matchers) == values, f"sorted values of {name} with {text}"


def check_views(scene: Scene) -> None:
    """A view stays as it was while samples come, background work is done and others are closed."""
    fill(scene)
    before = scene.storage.querier(*EVER)
    expected = {series: dict(samples) for series, samples in scene.expected.items()}
    selection = before.select([], *EVER)
    scene.store([(SERIES[0], scene.now_ms + STEP_MS, 1.0), (labels("new"), scene.now_ms, 2.0)])
    scene.settle()
    with scene.storage.querier(*EVER) as other:
        scene.check("a new view has what was stored since", other)
    assert held(before, []) == expected, "a view does not change"
    found = contents(selection.read(0, len(selection.labels)))
    assert found == expected, "a selection of a view does not change"
    before.close()
    before.close()


class _Stopped(Exception):
    """Raised by the check of a query."""


def check_stopping(scene: Scene) -> None:
    """What `check` raises ends the work and comes out; the storage goes on."""
    fill(scene, 3)
    calls: list[None] = []

    def stop() -> None:
        calls.append(None)
        raise _Stopped

    with scene.storage.querier(*EVER) as querier:
        try:
            selection = querier.select([], *EVER, stop)
            selection.read(0, len(selection.labels))
        except _Stopped:
            pass
        else:
            assert not calls, "what `check` raises comes out"
        scene.check("a query that was stopped does no harm", querier)


def fulfils(series: Labels, matchers: list[Matcher]) -> bool:
    """Tell whether every matcher holds for a series."""
    return all(m.matches(get(series, m.name)) for m in matchers)
