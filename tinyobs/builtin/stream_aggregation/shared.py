"""What the processor and the source of one agent share: the engine and its lock."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from attrs import field, frozen

from ...abc import Services
from ...aggregation.engine import AggregationPlan, Engine
from ...config.stream_aggregation import SECTION


@frozen(eq=False)
class Shared:
    """lock: held while the engine is used; for as short as a batch or a flush takes."""

    engine: Engine
    lock: threading.Lock = field(factory=threading.Lock)


_OF_AGENTS: WeakKeyDictionary[Services, Shared] = WeakKeyDictionary()


def shared(services: Services) -> Shared:
    """Return what belongs to an agent; made on first use."""
    found = _OF_AGENTS.get(services)
    if found is None:
        found = _OF_AGENTS[services] = Shared(
            Engine(plan_of(services.config), services.registry, services.clock.now_ms())
        )
    return found


def plan_of(config: object) -> AggregationPlan:
    """Return the rules before storage that a configuration has."""
    plan: AggregationPlan = config.tinyobs.section(SECTION).plan()  # type: ignore[attr-defined]
    return plan
