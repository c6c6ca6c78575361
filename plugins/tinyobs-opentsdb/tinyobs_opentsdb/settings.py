"""The section `tinyobs.opentsdb`."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from tinyobs.config.fields import setting
from tinyobs.receiving.names import Names

SECTION: Final = "opentsdb"


@frozen(kw_only=True)
class OpenTsdbSettings:
    """Where to listen for telnet, and what names become; HTTP is served in any case."""

    listen_tcp: tuple[str, ...] = setting(default=())
    """Addresses, `host:port` or `unix:/path`; default none."""
    names: Names = setting(default=Names.UNDERSCORES)
    """Dots and other characters of names become `_` (`underscores`), or stay (`keep`); default underscores."""
