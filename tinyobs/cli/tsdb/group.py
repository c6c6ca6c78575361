"""`tinyobs tsdb`: look after a data directory, and back it up."""

from __future__ import annotations

from typing import Any

import click

from ...errors import StorageError
from .analyze import analyze
from .backup import backup
from .compact import compact
from .delete import delete
from .dump import dump
from .export import export_
from .import_ import import_
from .listing import list_segments
from .repair import repair
from .restore import restore
from .snapshot import snapshot
from .verify import verify


class _Tsdb(click.Group):
    """Tells what the operating system refuses in the words of a message, not of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except OSError as e:
            name = f"{e.filename}: " if e.filename else ""
            raise StorageError(f"{name}{e.strerror or e}") from e


@click.group(cls=_Tsdb)
def tsdb() -> None:
    """Look after a data directory: check, repair, list, dump, compact, delete, back up, restore, export, import.

    Commands that only read (verify, list, analyze, dump) change nothing.  Those that write need the directory for
    themselves: stop the daemon, or ask it with --url where a command has that.

    \b
    Exit codes: 0 done; 1 damage found, or it did not work; 2 wrong usage, and for verify: could not check;
    3 the data directory cannot be used (in use, damaged, newer format).
    """


for command in (
    verify,
    repair,
    list_segments,
    analyze,
    dump,
    compact,
    snapshot,
    delete,
    backup,
    restore,
    export_,
    import_,
):
    tsdb.add_command(command)
