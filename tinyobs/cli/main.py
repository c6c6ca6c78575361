"""The command group `tinyobs` and the exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import click

from .. import __version__
from ..errors import ConfigError, StorageError, TinyObsError, UsageError
from .lazily import LazyCommands

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
STORAGE: Final = 3
INTERRUPTED: Final = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tinyobs", message="%(prog)s %(version)s")
def tinyobs() -> None:
    """TinyObs: scrape, store, query, with Prometheus's formats, API and configuration.

    \b
    tinyobs run                     start the daemon: http://127.0.0.1:9090, data in ./data
    tinyobs check config FILE       check a prometheus.yml
    tinyobs query instant EXPR      ask a running daemon
    tinyobs relabel debug LABELS    see what relabelling rules do
    tinyobs tsdb verify             check a data directory; also back up, restore, repair, ...
    """


@tinyobs.command()
def version() -> None:
    """Show the versions of TinyObs and of what it runs on."""
    import platform

    import numpy
    import trio
    import zstandard

    click.echo(f"tinyobs {__version__}")
    click.echo(f"python {platform.python_version()} on {platform.platform()}")
    click.echo(f"numpy {numpy.__version__}, trio {trio.__version__}, zstandard {zstandard.__version__}")


tinyobs.commands = LazyCommands(
    {
        "run": "tinyobs.cli.run:run_daemon",
        "check": "tinyobs.cli.check:check",
        "query": "tinyobs.cli.query:query",
        "limits": "tinyobs.cli.limits:limits",
        "plugins": "tinyobs.cli.plugins:plugins",
        "relabel": "tinyobs.cli.relabel.group:relabel",
        "target": "tinyobs.cli.target.group:target",
        "tsdb": "tinyobs.cli.tsdb.group:tsdb",
    }
)
tinyobs.add_command(version)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code; errors of ours are one clear message, never a traceback."""
    try:
        ended = tinyobs.main(args=list(arguments), prog_name="tinyobs", standalone_mode=False)
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        return FAILED
    except (TinyObsError, BaseExceptionGroup) as e:
        return _fail(e)
    return ended if isinstance(ended, int) else OK  # a command that ends with a code of its own


def _fail(error: BaseException) -> int:
    """Print errors of ours and return the exit code of the first; anything else is a bug and goes on up."""
    found = list(leaves(error))
    if any(isinstance(e, KeyboardInterrupt) for e in found):
        return INTERRUPTED
    for e in found:
        if not isinstance(e, TinyObsError):
            raise error
        _explain(e)
    if isinstance(found[0], StorageError):
        return STORAGE
    # What only running shows, a used port for one, is no fault of the command line.
    return USAGE if found[0] is error and isinstance(error, UsageError) else FAILED


def _explain(error: TinyObsError) -> None:
    """Print an error: faults of a configuration on lines of their own, in the form that editors jump to."""
    text = str(error)
    if isinstance(error, ConfigError):
        for problem in error.problems:
            click.echo(str(problem), err=True)
        count = len(error.problems)
        text = f"{count} {'fault' if count == 1 else 'faults'} in the configuration"
    click.echo(f"tinyobs: {text}", err=True)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group, or the one exception."""
    if isinstance(error, BaseExceptionGroup):
        for e in error.exceptions:
            yield from leaves(e)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
