"""What a configuration may not have in agent mode.  Messages: prometheus config/config.go."""

from __future__ import annotations

from ..errors import ConfigError, Problem
from .alerting import AlertingConfig
from .schema import Config

NO_TARGET = "at least one remote_write target must be specified in agent mode"


def refuse_for_agent(config: Config) -> None:
    """Raise `ConfigError` for what agent mode has no use for, or where nothing would take what it collects.

    A sink of TinyObs or of a plugin does as well as remote write: any section below `tinyobs:` that is not as it is by
    default may be one.
    """
    told = []
    others = any(value != type(value)() for _, value in config.tinyobs.sections)
    if not config.remote_write and not others:
        told.append((NO_TARGET, "remote_write"))
    if config.alerting != AlertingConfig():
        told.append(("field alerting is not allowed in agent mode", "alerting"))
    if config.rule_files:
        told.append(("field rule_files is not allowed in agent mode", "rule_files"))
    if config.remote_read:
        told.append(("field remote_read is not allowed in agent mode", "remote_read"))
    if told:
        raise ConfigError([Problem(config.file, 0, 0, message, path) for message, path in told])
