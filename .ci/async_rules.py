"""Runs flake8-async over those files that its rules can say something about.

    python .ci/async_rules.py [OPTIONS OF FLAKE8] FOLDER...

The rules take half a second for each file, however little it has to do with them.  Outside of asynchronous code they look at
groups of exceptions and at handlers that catch cancellation only: a file without any of the words below passes them all.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

WORDS = re.compile(rb"async|await|trio|anyio|BaseException|Cancelled|ExceptionGroup|except\s*[:*]")


def main(arguments: list[str]) -> int:
    """Return the exit code of flake8."""
    options = [a for a in arguments if a.startswith("-")]
    folders = [Path(a) for a in arguments if not a.startswith("-")]
    files = [f for folder in folders for f in sorted(folder.rglob("*.py")) if "build" not in f.parts]
    chosen = [str(f) for f in files if WORDS.search(f.read_bytes())]
    if not chosen:
        print(f"no file with asynchronous code in {', '.join(map(str, folders))}", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "flake8", "--select=ASYNC", "--max-line-length=120", *options, *chosen]
    return subprocess.run(command).returncode  # noqa: S603 - ours, of the line above


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
