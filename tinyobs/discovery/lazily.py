"""Discoverers that are imported when a configuration asks for one: most agents use one kind or two of many."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..abc import Discoverer, DiscovererContext


def lazily(module: str, name: str) -> Callable[[Any, DiscovererContext], Discoverer]:
    """Return what makes a discoverer of the class `name` in a module, given by its full name, for `DiscovererKind`."""

    def make(config: Any, context: DiscovererContext) -> Discoverer:
        made: Discoverer = getattr(importlib.import_module(module), name)(config, context)
        return made

    return make
