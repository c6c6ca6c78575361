"""`python -m tinyobs` and the console script `tinyobs`."""

from __future__ import annotations

import os
import sys
from typing import Final, TextIO

INTERRUPTED: Final = 130
"""Exit code of a command that was stopped at the terminal, as of a shell."""


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from .cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were loaded; later `run` tells it itself
        code = INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _settle(stream)
    sys.exit(code)


def _settle(stream: TextIO) -> None:
    """Write what a stream holds back, or drop it: what cannot be written must not become the exit code 120."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
