"""Progress bars, on a terminal only: what goes to a file or a pipe has none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

STEPS: Final = 1000

Show = Callable[[float, str], None]
"""Takes the share that is done, 0 to 1, and what is at hand."""


@contextmanager
def progress_bar(label: str) -> Iterator[Show]:
    """Show a bar on standard error while the block runs; does nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda share, item: None
        return
    at = [""]
    made: Any = click.progressbar(length=STEPS, label=label, file=sys.stderr, item_show_func=lambda _: at[0][-40:])
    with made as bar:

        def show(share: float, item: str) -> None:
            at[0] = item
            bar.update(max(0, int(share * STEPS) - bar.pos))

        yield show


@contextmanager
def byte_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for work that tells the file at hand, the bytes done and those in all."""
    with progress_bar(label) as show:
        yield lambda file, done, total: show(done / total if total else 1.0, file)
