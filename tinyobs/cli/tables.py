"""Plain tables for terminals: columns as wide as their content, no dependency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click


def echo_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under a head, columns aligned."""
    all_rows = [list(head), *map(list, rows)]
    widths = [max(len(r[i]) for r in all_rows) for i in range(len(head))]
    for row in all_rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
