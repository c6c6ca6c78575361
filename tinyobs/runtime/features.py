"""What `/api/v1/features` says of an agent: the categories and names of Prometheus, the truth of TinyObs.

Source of the names: prometheus util/features and cmd/prometheus/testdata/features.json.  A feature that Prometheus
names and TinyObs does not have is false, so that a client need not tell it from an unknown one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..promql.operators import ARITHMETIC, COMPARISONS
from ..promql.parser import FEATURE_FUNCTIONS
from ..promql.signatures import AGGREGATORS, EXPERIMENTAL_AGGREGATORS

if TYPE_CHECKING:
    from .agent import Agent

_SYNTAX: Final = (
    *("at_modifier", "bool", "by", "duration_expr", "group_left", "group_right", "ignoring", "negative_offset"),
    *("offset", "on", "per_query_lookback_delta", "subqueries", "without"),
)
_MATCHING: Final = ("!=", "=~", "!~", "@", "and", "or", "unless")


def features_of(agent: Agent) -> Mapping[str, Mapping[str, bool]]:
    """Return category -> feature -> whether the agent has it, as it is configured."""
    settings, flags = agent.settings, agent.config.features
    functions = agent.query_engine.functions.signatures
    experimental = FEATURE_FUNCTIONS in flags
    found = {
        "api": _api(agent),
        "otlp_receiver": {
            "delta_conversion": "otlp-deltatocumulative" in flags,
            "native_delta_ingestion": "otlp-native-delta-ingestion" in flags,
        },
        "prometheus": {
            "agent_mode": settings.agent,
            "auto_reload_config": bool(settings.auto_reload_seconds),
            "server_mode": not settings.agent,
            "stringlabels": False,
        },
        "promql": _promql(flags),
        "promql_functions": {s.name: experimental or not s.experimental for s in functions.values()},
        "promql_operators": {
            **dict.fromkeys((*ARITHMETIC, *COMPARISONS, *_MATCHING), True),
            **{name: experimental or name not in EXPERIMENTAL_AGGREGATORS for name in AGGREGATORS},
        },
        "rules": dict.fromkeys(("concurrent_rule_eval", "keep_firing_for", "query_offset"), False),
        "scrape": {
            "extra_scrape_metrics": "extra-scrape-metrics" in flags,
            "start_timestamp_zero_ingestion": "created-timestamp-zero-ingestion" in flags,
            "type_and_unit_labels": "type-and-unit-labels" in flags,
        },
        "service_discovery_providers": {
            key.removesuffix("_configs").removesuffix("_sd"): True for key in agent.discoverer_kinds()
        },
        "tsdb": {
            "delayed_compaction": False,
            "exemplar_storage": True,
            "isolation": True,
            "native_histograms": True,
            "use_uncached_io": False,
        },
        "ui": {"ui_v2": False, "ui_v3": False},
    }
    return {category: dict(sorted(names.items())) for category, names in sorted(found.items())}


def _api(agent: Agent) -> dict[str, bool]:
    settings = agent.settings
    return {
        **dict.fromkeys(("label_values_match", "query_stats", "query_warnings"), True),
        **dict.fromkeys(("openapi_3.1", "openapi_3.2", "time_range_labels", "time_range_series"), True),
        **dict.fromkeys(("exclude_alerts",), False),
        "admin": settings.admin_api,
        "otlp_write_receiver": settings.otlp_receiver or "otlp-write-receiver" in agent.config.features,
        "lifecycle": settings.lifecycle,
        "remote_write_receiver": settings.remote_write_receiver,
    }


def _promql(flags: frozenset[str]) -> dict[str, bool]:
    ranges, fill = "promql-extended-range-selectors" in flags, "promql-binop-fill-modifiers" in flags
    return {
        **dict.fromkeys(_SYNTAX, True),
        **dict.fromkeys(("anchored", "smoothed"), ranges),
        **dict.fromkeys(("fill", "fill_left", "fill_right"), fill),
        "delayed_name_removal": "promql-delayed-name-removal" in flags,
        "per_step_stats": "promql-per-step-stats" in flags,
        "type_and_unit_labels": "type-and-unit-labels" in flags,
    }
