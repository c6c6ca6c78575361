"""The section `tinyobs.influx`; what it has in common with VictoriaMetrics has its defaults."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from ...config.fields import setting
from ...exposition.influx_names import NameRules
from ...exposition.influx_times import Precision
from ...model.durations import DurationMs
from ...receiving.line_source import Listening
from ...receiving.names import Names

SECTION: Final = "influx"


@frozen(kw_only=True)
class InfluxSettings:
    """Where to listen, and what becomes of lines."""

    listen_udp: str = setting(default="")
    """Address for datagrams, `host:port`; default none."""
    listen_tcp: tuple[str, ...] = setting(default=())
    """Addresses for connections, `host:port` or `unix:/path`; default none."""
    database: str = setting(default="")
    """Database of lines that name none, as those over UDP and TCP do; default none."""
    precision: Precision = setting(default=Precision.AUTO)
    """What timestamps count where a request does not say it: `auto`, `ns`, `us`, `ms`, `s`, `m` or `h`; default auto."""
    db_label: str = setting(default="db")
    """Label that the database becomes, "" for none; default db."""
    bucket_is_database: bool = setting(default=False)
    """Whether the bucket of a write of version 2 stands for the database; default false."""
    measurement_field_separator: str = setting(default="_")
    """What stands between measurement and field in the metric name; default _."""
    skip_single_field: bool = setting(default=False)
    """Whether the name of a line's only field is left out; default false."""
    skip_measurement: bool = setting(default=False)
    """Whether the measurement is left out; default false."""
    trim_timestamp_ms: DurationMs = setting("trim_timestamp", default=DurationMs(1), low=1, high=86_400_000)
    """Timestamps are cut to whole multiples of this; default 1ms."""
    names: Names = setting(default=Names.KEEP)
    """Names stay as they are (`keep`, also `utf-8`), or get `_` for characters but letters, digits and `_` (`underscores`); default keep."""
    database_names: tuple[str, ...] = setting(default=("_internal",))
    """What SHOW DATABASES is answered with; default `_internal`."""

    def rules(self) -> NameRules:
        """Return what names are made of."""
        return NameRules(
            self.measurement_field_separator,
            self.skip_single_field,
            self.skip_measurement,
            self.db_label,
            self.names is Names.KEEP,
        )


def listening(config: Any) -> Listening:
    """Return the addresses of a configuration."""
    section = config.tinyobs.section(SECTION)
    return Listening(section.listen_udp, section.listen_tcp)
