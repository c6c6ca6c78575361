"""What the configuration says about retention reaches the engine."""

from __future__ import annotations

import pytest

from tinyobs.builtin.local_storage import engine_options
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError
from tinyobs.model.matchers import equal
from tinyobs.storage.options import DAY_MS, HOUR_MS, SelectorRetention
from tinyobs.testing.services import FakeServices


def options(text):
    services = FakeServices(parse(text, "f.yml"))
    return engine_options(services.config, *services.retention())


def test_retention_in_all_its_forms():
    """Percentage, tiers and selectors become options of the engine."""
    found = options(
        "storage: {tsdb: {retention: {percentage: 12.5}}}\n"
        "tinyobs: {storage: {tiers: {5m: 90d, 1h: 2y},"
        " retention_by_selector: [{match: '{job=\"debug\"}', retention: 2d}]}}"
    )
    assert found.retention_percent == 12.5
    assert found.tiers == ((HOUR_MS, 730 * DAY_MS), (300_000, 90 * DAY_MS))
    assert found.retention_of(300_000) == 90 * DAY_MS
    assert found.retention_of(0) == found.retention_ms
    assert found.retention_by_selector == (SelectorRetention((equal("job", "debug"),), 2 * DAY_MS),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tiers: {10m: 90d}", "there is no tier '10m', only 5m and 1h"),
        ("tiers: {5m: 1s}", "must be between 1h and 1000y"),
        ("retention_by_selector: [{match: '{job=', retention: 2d}]", "is not a series selector"),
        ("retention_by_selector: [{match: '{job=~\".*\"}', retention: 2d}]", "at least one matcher"),
        ("retention_by_selector: [{match: 'up', retention: 2m}]", "retention"),
        ("retention_by_selector: [{match: 'up'}]", "retention"),
    ],
)
def test_faults_are_told(text, problem):
    """A tier that there is not, an age beyond its limits and a selector that is none are faults with their place."""
    with pytest.raises(ConfigError) as e:
        parse(f"tinyobs: {{storage: {{{text}}}}}", "f.yml")
    assert problem in str(e.value)
