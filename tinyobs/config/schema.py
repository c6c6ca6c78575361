"""A whole configuration: prometheus.yml of Prometheus 3.14 and the key `tinyobs`, as one frozen value.

Two configurations compare by value, so that a reload can tell what changed.  How a file becomes one is in
`loader.py`; the sections have modules of their own.
"""

from __future__ import annotations

import os.path
from typing import Any

import attrs
from attrs import frozen

from ..errors import Problem
from ..model.durations import DurationMs
from .alerting import AlertingConfig
from .encoder import to_plain, to_yaml
from .fields import FilePath, setting
from .remote import RemoteReadConfig, RemoteWriteConfig
from .rule_file import RuleFile
from .scraping import GlobalConfig, RuntimeConfig, ScrapeConfig
from .server_sections import OtlpConfig, StorageConfig, TracingConfig
from .settings import Settings


def _hidden(default: Any) -> Any:
    """Declare a field that is not a key of the file."""
    return attrs.field(default=default, metadata={"key": None})


def _default_global() -> GlobalConfig:
    return GlobalConfig().normalized()


@frozen(kw_only=True)
class Config:
    """Everything that is configured.  Scrape configs have inherited from `global_config` already."""

    global_config: GlobalConfig = setting("global", factory=_default_global)
    runtime: RuntimeConfig = setting(factory=RuntimeConfig)
    alerting: AlertingConfig = setting(factory=AlertingConfig)
    rule_files: tuple[FilePath, ...] = setting(default=())
    """Globs of rule files; what they held is in `rules`."""
    scrape_config_files: tuple[FilePath, ...] = setting(default=())
    """Globs of files with more scrape configs; what they held is in `included_scrape_configs`."""
    scrape_configs: tuple[ScrapeConfig, ...] = setting(default=(), null_item="empty or null scrape config section")
    """The scrape configs of the main file."""
    storage: StorageConfig = setting(factory=StorageConfig)
    tracing: TracingConfig | None = setting(default=None)
    remote_write: tuple[RemoteWriteConfig, ...] = setting(
        default=(), null_item="empty or null remote write config section"
    )
    remote_read: tuple[RemoteReadConfig, ...] = setting(
        default=(), null_item="empty or null remote read config section"
    )
    otlp: OtlpConfig = setting(factory=OtlpConfig)
    tinyobs: Settings = setting(factory=Settings)

    file: str = _hidden("")
    included_scrape_configs: tuple[ScrapeConfig, ...] = _hidden(())
    rules: tuple[RuleFile, ...] = _hidden(())
    features: frozenset[str] = _hidden(frozenset())
    """What is switched on: `tinyobs.features`, and the flags of the daemon."""
    warnings: tuple[Problem, ...] = attrs.field(default=(), eq=False, metadata={"key": None})
    """What is not wrong but worth a look, e.g. an environment variable without a value."""
    ineffective: tuple[Problem, ...] = attrs.field(default=(), eq=False, metadata={"key": None})
    """See `not_yet_effective`."""
    shows_own_section: bool = attrs.field(default=False, eq=False, metadata={"key": None})
    """Whether the key `tinyobs` was given, and so is shown."""

    @property
    def folder(self) -> str:
        """The folder of the file: where relative paths start."""
        return os.path.dirname(self.file)

    @property
    def all_scrape_configs(self) -> tuple[ScrapeConfig, ...]:
        """The scrape configs of the main file and of the included files; job names are unique."""
        return self.scrape_configs + self.included_scrape_configs

    @property
    def out_of_order_window_ms(self) -> DurationMs:
        """The window of `storage.tsdb` where it is given, else the one of `tinyobs.storage`."""
        given = self.storage.tsdb.out_of_order_time_window_ms
        return self.tinyobs.storage.out_of_order_window_ms if given is None else given

    def to_yaml(self) -> str:
        """Return the configuration with its defaults, as `/api/v1/status/config` shows it; secrets are masked."""
        shown = to_plain(self)
        if not self.shows_own_section:
            del shown["tinyobs"]
        return to_yaml(shown)

    def not_yet_effective(self) -> list[Problem]:
        """Return what is configured, parsed and validated, but has no effect in this version, with its place."""
        return list(self.ineffective)
