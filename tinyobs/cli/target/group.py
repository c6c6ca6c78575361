"""`tinyobs target`: look at scrape targets."""

from __future__ import annotations

import click

from .test import test_target


@click.group()
def target() -> None:
    """Look at scrape targets.

    \b
    Exit codes: 0 the scrape would succeed; 1 it would fail, relabelling drops the target, or there is no answer; 2 wrong
    usage.
    """


target.add_command(test_target)
