"""The section `tinyobs.pushgateway`."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ...config.fields import setting
from ...model.durations import DurationMs
from ...model.sizes import SizeBytes

SECTION: Final = "pushgateway"
_DAY_MS: Final = 86_400_000


@frozen(kw_only=True)
class PushgatewaySettings:
    """What becomes of pushed groups."""

    interval_ms: DurationMs | None = setting("interval", default=None, low=0, high=_DAY_MS)
    """How often the last values of all groups are stored again; default the global `scrape_interval`, 0s for never."""
    expire_after_ms: DurationMs = setting("expire_after", default=DurationMs(0), low=0, high=36_600 * _DAY_MS)
    """How long after its last push a group is deleted; default 0s, never."""
    consistency_check: bool = setting(default=True)
    """Whether pushes that do not fit with other groups are refused; default true."""
    utf8_names: bool = setting(default=False)
    """Whether names of metrics and labels may have any characters; default false, as upstream's."""
    groups_max: int = setting(default=100_000, low=1, high=10_000_000)
    """Groups there may be; a push to one more is answered 413; default 100000."""
    size_max_bytes: SizeBytes = setting("size_max", default=SizeBytes(256 << 20), low=1024, high=1 << 30)
    """Bytes that the bodies of all groups may take; a push beyond is answered 413; default 256MiB."""
