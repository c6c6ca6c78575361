"""Commands that are imported when they are asked for: a daemon must not carry what it takes to import archives."""

from __future__ import annotations

import importlib
from typing import Any

import click


class LazyCommands(dict[str, click.Command]):
    """Commands by name, from places such as `tinyobs.cli.run:run_daemon`."""

    def __init__(self, places: dict[str, str]) -> None:
        super().__init__()
        self._places = dict(places)

    def __getitem__(self, name: str) -> click.Command:
        if not super().__contains__(name):
            module, _, attribute = self._places[name].partition(":")
            super().__setitem__(name, getattr(importlib.import_module(module), attribute))
        return super().__getitem__(name)

    def __iter__(self) -> Any:
        return iter(dict.fromkeys((*self._places, *super().keys())))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._places or super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a command."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> Any:
        """Return the names."""
        return list(iter(self))

    def values(self) -> Any:
        """Return all commands."""
        return {name: self[name] for name in self}.values()

    def items(self) -> Any:
        """Return names and commands."""
        return {name: self[name] for name in self}.items()
