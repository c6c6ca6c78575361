"""The section `tinyobs.datadog`."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from tinyobs.config.fields import setting
from tinyobs.receiving.names import Names

SECTION: Final = "datadog"


@frozen(kw_only=True)
class DatadogSettings:
    """What names become."""

    names: Names = setting(default=Names.UNDERSCORES)
    """Dots and other characters of names become `_` (`underscores`), or stay (`keep`); default underscores."""
