"""`tinyobs tsdb delete`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ...errors import UsageError
from .admin import post
from .compact import work_off
from .directories import warn_of_imports, work_engine
from .parameters import TIME_MAX, TIME_MIN, Time, path_option, selectors, url_option
from .progress import progress_bar


@click.command()
@path_option
@url_option
@click.option("--match", "texts", multiple=True, required=True, help="Series to delete from; repeatable, any counts.")
@click.option("--start", type=Time(), help="First time: RFC 3339 or Unix seconds.  [default: the oldest]")
@click.option("--end", type=Time(), help="Last time, included.  [default: the newest]")
@click.option("--keep-space", is_flag=True, help="Leave it to the daemon to regain the space.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(
    path: Path, url: str, texts: tuple[str, ...], start: int | None, end: int | None, keep_space: bool, yes: bool
) -> None:
    """Delete samples of the series that any --match selects, for good, and regain their space.

    With --url the daemon that runs there does it; else the directory is opened, which needs it to be free.
    """
    sets = selectors(texts)
    for text, matchers in zip(texts, sets, strict=True):
        if all(m.matches_empty() for m in matchers):
            raise UsageError(f'--match: {text} selects every series; if you mean that, write {{__name__=~".+"}}')
    first, last = TIME_MIN if start is None else start, TIME_MAX if end is None else end
    if first > last:
        raise UsageError("--start is after --end")
    if not yes and not (sys.stdin.isatty() and click.confirm(f"Delete {' and '.join(texts)} for good?", err=True)):
        raise UsageError("nothing was deleted; --yes deletes without asking")
    if url:
        times = [(n, f"{t / 1000:.3f}") for n, t in (("start", start), ("end", end)) if t is not None]
        post(url, "delete_series", [("match[]", text) for text in texts] + times)
        if not keep_space:
            post(url, "clean_tombstones")
    else:
        with work_engine(path) as engine, progress_bar("deleting") as show:
            warn_of_imports(engine.disk)
            engine.delete(sets, first, last)
            if not keep_space:
                work_off(engine, show, clean=True)
    click.echo("deleted")
