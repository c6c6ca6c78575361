"""What the HTTP handlers need to tell what relabelling does, from the running configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..config.encoder import to_plain, to_yaml
from ..config.relabel_rules import parse_relabel_rules, rule_to_plain
from ..relabel import Rule
from ..web.relabelling import RelabelServices

if TYPE_CHECKING:
    from ..config.schema import Config

STAGES = ("target", "metric", "write", "alert")


def relabel_services(config: Callable[[], Config]) -> RelabelServices:
    """Return the services; config: returns the running configuration."""

    def parse(text: str, extended: bool | None) -> Sequence[Rule]:
        allowed = config().tinyobs.relabel.extended if extended is None else extended
        return parse_relabel_rules(text, "rules", extended=allowed)

    return RelabelServices(
        rules=lambda stage, name: rules_of(config(), stage, name),
        pool_yaml=lambda name: to_yaml(to_plain(_pool(config(), name))),
        parse=parse,
        show=rule_to_plain,
    )


def rules_of(config: Config, stage: str, name: str) -> Sequence[Rule]:
    """Return the rules of a stage; name: of the scrape pool or remote write, "" where there is only one."""
    rules: Sequence[Rule]
    if stage in ("target", "metric"):
        pool = _pool(config, name)
        rules = pool.relabel_configs if stage == "target" else pool.metric_relabel_configs
    elif stage == "write":
        rules = _remote_write(config, name).write_relabel_configs
    elif stage == "alert":
        rules = config.alerting.alert_relabel_configs
    else:
        raise LookupError(f'there is no stage "{stage}", only {", ".join(STAGES)}')
    return rules


def _pool(config: Config, name: str) -> Any:
    for pool in config.all_scrape_configs:
        if pool.job_name == name:
            return pool
    raise LookupError(f'scrape pool "{name}" not found')


def _remote_write(config: Config, name: str) -> Any:
    """Return a remote write by its name, or by its position, counted from 0."""
    for i, remote in enumerate(config.remote_write):
        if name in (remote.name or str(i), str(i)) or (not name and len(config.remote_write) == 1):
            return remote
    if not name and config.remote_write:
        raise LookupError("there are several remote writes: name one, or give its position, counted from 0")
    raise LookupError(f'remote write "{name}" not found')
