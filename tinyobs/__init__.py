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

from .hookspecs import hookimpl

__version__ = "0.1.0"
__all__ = ["__version__", "hookimpl"]
