"""`tinyobs plugins`: what is loaded, and which hooks each plugin has."""

from __future__ import annotations

import json

import attrs
import click

from ..plugin_manager import build_plugin_manager
from .tables import echo_table


@click.command()
@click.option("--plugin", "plugin_files", multiple=True, help="Also load a plugin from a Python file.")
@click.option("--no-plugin", "off", multiple=True, help="Switch a built-in plugin off.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people, or JSON.",
)
def plugins(plugin_files: tuple[str, ...], off: tuple[str, ...], output: str) -> None:
    """List plugins: built-in, installed with pip, and given as files."""
    found = build_plugin_manager(plugin_files, off).plugins()
    if output == "json":
        click.echo(json.dumps([attrs.asdict(p) for p in found], indent=2))
        return
    rows = [
        (p.name, p.version or "-", p.origin, p.status, ", ".join(h.removeprefix("tinyobs_") for h in p.hooks))
        for p in found
    ]
    echo_table(("NAME", "VERSION", "ORIGIN", "STATUS", "HOOKS"), rows)
