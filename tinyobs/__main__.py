"""`python -m tinyobs` and the console script `tinyobs`."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def main() -> None:
    """Run the command line and exit with its code."""
    from .cli.main import run

    code = run(sys.argv[1:])
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
