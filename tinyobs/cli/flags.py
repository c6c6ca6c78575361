"""The flags of the `prometheus` command: those that `tinyobs run` takes, and those whose feature is not there yet.

A drop-in takes upstream's flags by their names.  A flag of upstream that has no effect here is refused by name, with
the reason, and is never ignored silently.  Source: `prometheus --help` of 3.14.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..config import feature_flags
from ..errors import UsageError

LATER: Final = {
    "--web.user-assets": "user assets",
    "--web.console.templates": "console templates",
    "--web.console.libraries": "console templates",
    "--storage.tsdb.delay-compact-file.path": "delayed compaction",
    "--rules.alert.for-outage-tolerance": "rules",
    "--rules.alert.for-grace-period": "rules",
    "--rules.alert.resend-delay": "rules",
    "--rules.max-concurrent-evals": "rules",
    "--alertmanager.notification-queue-capacity": "alerting",
    "--alertmanager.notification-batch-size": "alerting",
    "--alertmanager.drain-notification-queue-on-shutdown": "alerting",
}
"""Flags whose feature is not there yet -> what is missing."""

MEANINGLESS: Final = {
    "--auto-gomaxprocs": "there is no Go runtime",
    "--auto-gomemlimit": "there is no Go runtime",
    "--auto-gomemlimit.ratio": "there is no Go runtime",
    "--storage.tsdb.no-lockfile": "the data directory is always locked",
    "--storage.agent.no-lockfile": "the data directory is always locked",
    "--storage.agent.wal-compression": "the log is always compressed",
    "--storage.tsdb.head-chunks-write-queue-size": "the engine has no such queue",
    "--storage.tsdb.wal-compression": "the log is always compressed",
    "--storage.tsdb.min-block-duration": "the engine chooses the range of its segments",
    "--storage.tsdb.max-block-duration": "the engine chooses the range of its segments",
}
"""Flags that can never have an effect -> why."""


SERVER_ONLY: Final = (
    *("--storage.tsdb.path", "--storage.tsdb.retention.time", "--storage.tsdb.retention.size"),
    *("--storage.remote.read-sample-limit", "--storage.remote.read-concurrent-limit"),
    *("--storage.remote.read-max-bytes-in-frame", "--web.search.max-limit", "--web.enable-admin-api"),
    *("--query.lookback-delta", "--query.timeout", "--query.max-concurrency", "--query.max-samples"),
)
"""Flags that agent mode has no use for."""
AGENT_ONLY: Final = (
    *("--storage.agent.path", "--storage.agent.retention.min-time", "--storage.agent.retention.max-time"),
)
"""Flags that only agent mode has a use for."""


def refuse_other_mode(given: Sequence[str], agent: bool) -> None:
    """Raise `UsageError` where flags of the other mode are given."""
    wrong = [name for name in given if name in (SERVER_ONLY if agent else AGENT_ONLY)]
    if wrong:
        mode = "agent" if agent else "server"
        raise UsageError(f"the following flag(s) can not be used in {mode} mode: {', '.join(wrong)}")


def refusal(name: str) -> str | None:
    """Return why a flag of upstream is refused, None for a flag that upstream does not have."""
    if name in LATER:
        return f"{name} is not supported yet by this version: {LATER[name]} is missing"
    if name in MEANINGLESS:
        return f"{name} has no meaning here: {MEANINGLESS[name]}; leave it out"
    return None


def enabled_features(values: Sequence[str]) -> frozenset[str]:
    """Return the features in values of `--enable-feature`; raises `UsageError` for one that is not there."""
    names = {n.strip() for v in values for n in v.split(",") if n.strip()}
    for name in sorted(names):
        if reason := feature_flags.refusal(name):
            raise UsageError(f"--enable-feature: {reason}")
    if reason := feature_flags.conflict(names):
        raise UsageError(f"--enable-feature: {reason}")
    return frozenset(names)
