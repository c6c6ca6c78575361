"""Settings of the documentation site: Sphinx reads the Markdown pages of this folder through MyST."""

from __future__ import annotations

from importlib import metadata

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "TinyObs"
author = "The TinyObs developers"
copyright = "The TinyObs developers"
try:
    release = metadata.version("tinyobs")
except metadata.PackageNotFoundError:
    release = ""
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"TinyObs {release}".strip()
html_copy_source = False
nitpicky = True


def setup(app: Sphinx) -> None:
    """Let the worked examples of the formats, blocks of hexadecimal digits, pass as text."""
    app.add_lexer("hex", TextLexer)
