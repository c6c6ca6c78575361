"""Readers of lines number what is new in a piece together; it must not show, but in the time that it takes."""

from __future__ import annotations

import random

import pytest
from odd_gate import Odd

from tinyobs.exposition.graphite import GraphiteParser
from tinyobs.exposition.prometheus_lines import LineMemory, LineReader
from tinyobs.model.gate import STAND_INS
from tinyobs.model.labels import to_text
from tinyobs.model.registry import SeriesRegistry

NOW = 1_700_000_000_000


class Text:
    """The reader of Prometheus text."""

    def __init__(self, registry):
        self.memory = LineMemory()
        self.reader = LineReader(registry, self.memory, now_ms=NOW, added=(("dc", "a"),))

    @staticmethod
    def line(rng, i):
        """A sample, or what is none."""
        usual = [b'm{n="%d"} %d' % (i, i), b'm{n="%d"} %d %d' % (i, i, NOW + i), b'm { n = "%d" } %d' % (i, i)]
        return rng.choice([*usual, *usual, b"m{n= 1", b'm{n="%d",n="1"} 2' % i, b"", b'm{m="",n="%d"}7' % i])

    def read(self, body):
        """Return what was read of some lines."""
        return self.reader.read(body)

    def known(self):
        """Return the refs that are remembered."""
        return list(self.memory.of((), (("dc", "a"),), False).values())


class Graphite:
    """The reader of Graphite's lines."""

    def __init__(self, registry):
        self.parser = GraphiteParser(registry, extra_labels=(("dc", "a"),))

    @staticmethod
    def line(rng, i):
        """A sample, or in some bodies what is none."""
        return rng.choice([b"m;n=%d %d 1700000000", b"m;n=%d;k= %d 1700000000"][: rng.choice([1, 1, 2])]) % (i, i)

    def read(self, body):
        """Return what was read of some lines."""
        return self.parser.parse(body, NOW)

    def known(self):
        """Return the refs that are remembered."""
        return list(self.parser._refs.values())


def rows(registry, pushed):
    """(series, time, value) of samples that may be stored, and how many may not."""
    b = pushed.batch
    found = list(zip(b.refs.tolist(), b.timestamps_ms.tolist(), b.values.tolist(), strict=True))
    good = [(to_text(registry.labels(ref)), at, value) for ref, at, value in found if ref < STAND_INS]
    return good, len(found) - len(good), dict(pushed.refused)


@pytest.mark.parametrize("kind", [Text, Graphite])
@pytest.mark.parametrize("case", range(20))
def test_a_body_is_read_as_its_lines_are(kind, case):
    """The same samples in the same order, the same numbers of series, and nothing is kept of what the gate turns away."""
    rng = random.Random(case)
    registries = SeriesRegistry(), SeriesRegistry()
    for registry in registries:
        registry.gate = Odd()
    whole, single = map(kind, registries)
    for _ in range(3):
        numbers = [rng.randrange(40) for _ in range(rng.choice([1, 30, 200]))]
        lines = [kind.line(rng, n) for n in numbers]
        together = rows(registries[0], whole.read(b"\n".join(lines) + b"\n"))
        found, turned_away, refused = [], 0, {}
        for line in lines:
            good, odd, faults = rows(registries[1], single.read(line + b"\n"))
            found += good
            turned_away += odd
            for reason, count in faults.items():
                refused[reason] = refused.get(reason, 0) + count
        assert together == (found, turned_away, refused)
        assert max(whole.known(), default=0) < STAND_INS
    assert sorted(map(registries[0].labels, range(len(registries[0])))) == sorted(
        map(registries[1].labels, range(len(registries[1])))
    )
