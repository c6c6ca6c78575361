"""TinyObs: the Prometheus stack in one pip install, extended in Python.

Layers, from the bottom (each may import those before it; import-linter holds this):

    L0 model, errors     values: labels, batches, matchers, the series registry
    L1 codec, exposition, relabel    bytes <-> arrays, wire formats, relabelling; pure
    L2 storage, promql   the synchronous engine; the query language, which sees only `abc.Querier`
    L3 rules, config, web    state machines, the configuration file, the HTTP application
    L4 runtime           the trio shell: agent, supervisor, reload
    L5 builtin, cli      every feature as a plugin; the command line

Start reading at docs/architecture.md, then hookspecs.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .hookspecs import hookimpl

if TYPE_CHECKING:
    from .library import Database
    from .model.functions import PromqlFunction

__version__ = "0.1.0"
__all__ = ["__version__", "hookimpl", "open"]


def open(
    path: str | os.PathLike[str], *, features: Sequence[str] = (), functions: Sequence[PromqlFunction] = ()
) -> Database:
    """Open a data directory and ask it in PromQL; see `tinyobs.library.Database`.

    Raises `StorageError` when there is no data directory, `LockedError` while a daemon or another program uses it,
    `CorruptionError` when it is damaged.
    """
    from .library import open_database

    return open_database(path, features=features, functions=functions)
