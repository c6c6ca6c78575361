"""The names that `--enable-feature` and `tinyobs.features` take: upstream's, of 3.14 and of releases before it.

A name opens something, or is there for good and opens nothing (accepted and noted, as Prometheus does with names that
became stable), or stands for something that is missing here and is refused.  Source: prometheus cmd/prometheus/main.go
(setFeatureListOptions) and docs/feature_flags.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

OPENING: Final = frozenset(
    {
        "created-timestamp-zero-ingestion",
        "extra-scrape-metrics",
        "otlp-deltatocumulative",
        "otlp-native-delta-ingestion",
        "otlp-write-receiver",
        "promql-binop-fill-modifiers",
        "promql-delayed-name-removal",
        "promql-experimental-functions",
        "promql-extended-range-selectors",
        "promql-per-step-stats",
        "search-api",
        "st-storage",
        "type-and-unit-labels",
        "use-start-timestamps",
    }
)
"""Features that are off until they are named."""

_LANGUAGE: Final = "it is part of the language"
_FORMAT: Final = "the storage has a format of its own"
BUILT_IN: Final = {
    "auto-gomaxprocs": "there is no Go runtime",
    "auto-gomemlimit": "there is no Go runtime",
    "auto-reload-config": "use --config.auto-reload",
    "delayed-compaction": "segments are merged in small slices",
    "exemplar-storage": "exemplars are always stored",
    "expand-external-labels": "environment variables in external labels are always expanded",
    "histograms-st-encoding": _FORMAT,
    "memory-snapshot-on-shutdown": "a restart reads only the end of the log",
    "metadata-wal-records": "metadata is always logged",
    "native-histograms": "native histograms are always stored; scrape_native_histograms decides about scraping them",
    "new-service-discovery-manager": "there is one only",
    "no-default-scrape-port": "no port is ever added",
    "promql-at-modifier": _LANGUAGE,
    "promql-duration-expr": _LANGUAGE,
    "promql-negative-offset": _LANGUAGE,
    "remote-write-receiver": "use --web.enable-remote-write-receiver",
    "use-uncached-io": "the storage writes little and syncs what it writes",
    "utf8-names": "names may always hold any character",
    "xor2-encoding": _FORMAT,
}
"""Features that are on for good, or have no meaning here -> why naming them changes nothing."""

MISSING: Final = {
    "agent": "agent mode",
    "concurrent-rule-eval": "rules",
    "old-ui": "the old user interface",
    "st-synthesis": "start timestamps for sources that have none",
}
"""Features of Prometheus that this version does not have -> what is missing."""


def refusal(name: str) -> str:
    """Return why a name is refused; empty when it is taken."""
    if name in OPENING or name in BUILT_IN:
        return ""
    reason = f": {MISSING[name]} is missing" if name in MISSING else ""
    return f"feature {name} is not supported by this version{reason}; it has {', '.join(sorted(OPENING))}"


def conflict(names: Iterable[str]) -> str:
    """Return why features cannot be on together; empty when they can."""
    if {"otlp-deltatocumulative", "otlp-native-delta-ingestion"} <= set(names):
        return "cannot enable otlp-deltatocumulative and otlp-native-delta-ingestion features at the same time"
    return ""


def notes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, why it changes nothing) for those that open nothing."""
    yield from ((name, BUILT_IN[name]) for name in sorted(set(names)) if name in BUILT_IN)
