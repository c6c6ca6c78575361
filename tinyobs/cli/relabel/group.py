"""`tinyobs relabel`: see what relabelling rules do, before they do it."""

from __future__ import annotations

import click

from .debug import debug
from .preview import preview


@click.group()
def relabel() -> None:
    """See what relabelling rules do: to one label set, step by step, or to all that is stored.

    \b
    Exit codes: 0 done, whatever the rules do; 1 faults in the rules or the configuration, or no answer; 2 wrong usage;
    3 the data directory cannot be used.
    """


relabel.add_command(debug)
relabel.add_command(preview)
