"""Every endpoint below `/api/v1`: the one description that routes, parameters and answers are tested against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .relabel_endpoints import RELABEL_ENDPOINTS
from .values import (
    DURATION,
    GET_POST,
    INTEGER,
    POST_PUT,
    TEXT,
    TEXTS,
    TIME,
    Endpoint,
    Parameter,
    array,
    mapping,
    one_of,
    record,
    ref,
)

_QUERY: Final = Parameter("query", "An expression in PromQL.", required=True, example="up")
_START = Parameter("start", "Beginning of the time range, included.", TIME, example=1435781430)
_END = Parameter("end", "End of the time range, included.", TIME, example=1435781460)
_TIMEOUT = Parameter("timeout", "Longest time of evaluation, up to that of the server.", DURATION, example="30s")
_LIMIT = Parameter("limit", "Longest list of the answer; 0 for no limit.", INTEGER, example=100)
_MATCH = Parameter("match[]", "Series selector; several select what fits any.", TEXTS, example=['{job="node"}'])
_LOOKBACK = Parameter("lookback_delta", "How far back an instant selector looks.", DURATION, example="5m")
_RESOLUTION = Parameter("resolution", "The downsampling tier to read: auto, raw or its distance.", example="raw")
_STATS = Parameter("stats", "Any value adds statistics; `all` those of each step as well.", example="all")
_FORMAT = Parameter("format", "The form of the answer: json, csv or arrow; else that of `Accept`.", example="json")
_EXPLAIN = Parameter("explain", "Anything but 0 or false adds the plan and what running it took.", example="1")
_EVALUATION: Final = (_TIMEOUT, _LIMIT, _LOOKBACK, _RESOLUTION, _STATS, _FORMAT, _EXPLAIN)
_TABLES: Final = {"text/csv": TEXT, "application/vnd.apache.arrow.stream": {"type": "string", "format": "binary"}}
_TOP: Final = (
    Parameter("limit", "Entries of each list, at most 10000.", INTEGER, example=10),
    Parameter("topN", "The same.", INTEGER, example=10),
    _MATCH,
    Parameter("date", "Not supported; refused.", example=None),
)
_ROTATED: Final = {204: "Done; there is nothing to say."}

_DATA: Final = (
    Endpoint(
        "/query",
        "Evaluate at one time",
        "query",
        ref("QueryData"),
        (_QUERY, Parameter("time", "The time, now by default.", TIME, example=1435781451.781), *_EVALUATION),
        GET_POST,
        _TABLES,
    ),
    Endpoint(
        "/query_range",
        "Evaluate over a range of time",
        "query",
        ref("RangeData"),
        (
            _QUERY,
            Parameter("start", "The first time.", TIME, True, 1435781430),
            Parameter("end", "The last time.", TIME, True, 1435781460),
            Parameter("step", "The distance of times.", DURATION, True, "15s"),
            *_EVALUATION,
            Parameter("nocache", "Anything but 0 or false evaluates steps again that are remembered.", example="1"),
        ),
        GET_POST,
        _TABLES,
    ),
    Endpoint(
        "/query_exemplars",
        "Exemplars of the series that a query selects",
        "query",
        array(ref("SeriesExemplars")),
        (_QUERY, _START, _END),
        GET_POST,
    ),
    Endpoint("/format_query", "Format an expression", "query", TEXT, (_QUERY,), GET_POST),
    Endpoint("/parse_query", "The syntax tree of an expression", "query", ref("SyntaxTree"), (_QUERY,), GET_POST),
    Endpoint("/labels", "Names of labels", "labels", TEXTS, (_MATCH, _START, _END, _LIMIT), GET_POST),
    Endpoint(
        "/label/{name}/values",
        "Values of a label",
        "labels",
        TEXTS,
        (
            Parameter("name", "Name of the label; U__ escaping is undone.", TEXT, True, "job", "path"),
            *(_MATCH, _START, _END, _LIMIT),
        ),
    ),
    Endpoint(
        "/series",
        "Series that fulfil selectors",
        "series",
        array(ref("Labels")),
        (Parameter(_MATCH.name, _MATCH.help, TEXTS, True, _MATCH.example), _START, _END, _LIMIT),
        GET_POST,
    ),
    Endpoint(
        "/metadata",
        "Types, help texts and units of metrics",
        "metadata",
        mapping(array(ref("Metadata"))),
        (
            Parameter("metric", "One metric only.", example="up"),
            Parameter("limit", "Metrics in the answer.", INTEGER, example=10),
            Parameter("limit_per_metric", "Entries of each metric.", INTEGER, example=1),
        ),
    ),
    Endpoint(
        "/targets",
        "What is scraped",
        "targets",
        ref("Targets"),
        (
            Parameter(
                "state",
                "active, dropped, elsewhere (scraped by other members of the cluster) or any.",
                example="active",
            ),
            Parameter("scrapePool", "Those of one pool only.", example="node"),
        ),
    ),
    Endpoint(
        "/targets/metadata",
        "What targets say of their metrics",
        "targets",
        array(ref("TargetMetadata")),
        (
            Parameter("match_target", "Selector for the labels of targets.", example='{job="node"}'),
            Parameter("metric", "One metric only.", example="up"),
            Parameter("limit", "The answer ends after the target that reaches so many entries.", INTEGER, example=10),
        ),
    ),
    Endpoint("/scrape_pools", "Names of the scrape pools", "targets", record(scrapePools=TEXTS)),
    Endpoint(
        "/http_sd",
        "What discovery found, as other agents read it with http_sd_configs",
        "targets",
        parameters=(
            Parameter("scrapePool", "What one pool found; else that of all pools.", example="prometheus"),
            Parameter(
                "state",
                "discovered (before relabelling, by default) or active (what is scraped here).",
                example="active",
            ),
        ),
        content={"application/json": array(record(targets=TEXTS, labels=mapping(TEXT)))},
    ),
    Endpoint(
        "/rules",
        "Rule groups",
        "rules",
        record({"groupNextToken": TEXT}, groups=array(ref("RuleGroup"))),
        (
            Parameter("type", "alert or record.", example="alert"),
            _MATCH,
            Parameter("exclude_alerts", "Whether alerts are left out.", example="true"),
            Parameter("group_limit", "Groups of a page.", INTEGER, example=10),
            Parameter("group_next_token", "The page, as the one before has it.", example=None),
        ),
    ),
    Endpoint("/alerts", "Alerts", "rules", record(alerts=array(ref("Alert")))),
    Endpoint(
        "/alertmanagers",
        "Alertmanagers",
        "rules",
        record(**dict.fromkeys(("activeAlertmanagers", "droppedAlertmanagers"), array(record(url=TEXT)))),
    ),
)
_SERVER: Final = (
    Endpoint("/status/buildinfo", "Version", "status", ref("BuildInfo")),
    Endpoint("/status/config", "The running configuration, secrets masked", "status", record(yaml=TEXT)),
    Endpoint("/status/flags", "Flags as given or defaulted", "status", mapping(TEXT)),
    Endpoint("/status/runtimeinfo", "State of the process", "status", ref("RuntimeInfo")),
    Endpoint(
        "/status/self_metrics",
        "The server's own metrics",
        "status",
        array(ref("OwnMetricFamily")),
        (Parameter("metric_name_pattern", "Regular expression for whole names.", example="prometheus_http_.*"),),
    ),
    Endpoint(
        "/status/walreplay",
        "Progress of the start",
        "status",
        record(**dict.fromkeys(("min", "max", "current"), INTEGER)),
    ),
    Endpoint("/features", "What the server can do", "status", mapping(mapping({"type": "boolean"}))),
    Endpoint("/notifications", "What the server has to tell", "notifications", array(ref("Notification"))),
    Endpoint(
        "/notifications/live",
        "The same, and every change, as server-sent events",
        "notifications",
        content={"text/event-stream": record(data={"type": "string", "contentMediaType": "application/json"})},
        statuses={204: "Too many listeners."},
        since_3_2=True,
    ),
    Endpoint(
        "/openapi.yaml",
        "This description",
        "status",
        parameters=(Parameter("openapi_version", "3.2; anything else gives 3.1.", example="3.1"),),
        content={"application/yaml": {"type": "object"}},
    ),
)
_STORAGE: Final = (
    Endpoint("/status/limits", "What limits refused and folded", "status", ref("Limits")),
    Endpoint(
        "/status/tsdb",
        "Which metrics and labels have most series",
        "status",
        ref("StorageStatus"),
        (*_TOP, Parameter("focusLabel", "Count series by values of this label, too.", example="job")),
    ),
    Endpoint("/status/tsdb/blocks", "Segments of the storage", "status", record(blocks=array(ref("Block")))),
    Endpoint(
        "/status/cardinality",
        "What takes up the room",
        "status",
        ref("Cardinality"),
        (*_TOP, Parameter("focus", "Count series by values of this label, too.", example="job")),
    ),
    Endpoint(
        "/admin/tsdb/snapshot",
        "Make a snapshot",
        "admin",
        record(name=TEXT),
        (Parameter("skip_head", "Leave out what is in memory only.", example="true"),),
        POST_PUT,
    ),
    Endpoint(
        "/admin/tsdb/delete_series",
        "Delete samples",
        "admin",
        parameters=(Parameter(_MATCH.name, _MATCH.help, TEXTS, True, ['{job="nobody"}']), _START, _END),
        methods=POST_PUT,
        statuses=_ROTATED,
    ),
    Endpoint("/admin/tsdb/clean_tombstones", "Regain space", "admin", methods=POST_PUT, statuses=_ROTATED),
    Endpoint("/admin/tsdb/compact", "Cut and merge all", "admin", methods=POST_PUT, statuses=_ROTATED),
    Endpoint(
        "/read",
        "Remote read",
        "remote",
        methods=("POST",),
        takes="application/x-protobuf",
        content={
            "application/x-protobuf": {"type": "string", "format": "binary"},
            "application/x-streamed-protobuf": {"type": "string", "format": "binary"},
        },
    ),
    Endpoint(
        "/write",
        "Remote write 1.0 and 2.0",
        "remote",
        methods=("POST",),
        takes="application/x-protobuf",
        statuses={204: "Every sample is durable."},
    ),
    Endpoint(
        "/push",
        "Remote write, by another path",
        "remote",
        methods=("POST",),
        takes="application/x-protobuf",
        statuses={204: "Every sample is durable."},
    ),
)

_QUERIES: Final = (
    Endpoint("/status/active_queries", "Queries that wait or run", "query", array(ref("ActiveQuery"))),
    Endpoint(
        "/status/active_queries/{id}",
        "Stop a query",
        "query",
        record(id=TEXT),
        (Parameter("id", "As the list has it.", TEXT, True, "0", "path"),),
        ("POST", "DELETE"),
    ),
)

_TYPED: Final = (
    _MATCH,
    Parameter("search[]", "What was typed; several find what fits any.", TEXTS, example=["up"]),
    Parameter("fuzz_alg", "The measure of likeness.", one_of("subsequence", "jarowinkler"), example="subsequence"),
    Parameter("fuzz_threshold", "The lowest likeness, 0 to 100.", INTEGER, example=50),
    Parameter("case_sensitive", "Whether case counts, as it does by default.", example="false"),
    Parameter("sort_by", "alpha, the default, or score.", one_of("alpha", "score"), example="alpha"),
    Parameter("sort_dir", "asc or dsc, where sort_by is alpha.", one_of("asc", "dsc"), example="dsc"),
    Parameter("include_score", "Whether results have their score.", example="true"),
    Parameter("limit", "Results in all.", INTEGER, example=10),
    Parameter("batch_size", "Results in a line.", INTEGER, example=5),
    *(_START, _END),
)
_LINES: Final = {"application/x-ndjson": TEXT}
_SEARCHES: Final = (
    Endpoint(
        "/search/metric_names",
        "Names of metrics that fit what was typed",
        "search",
        parameters=(*_TYPED, Parameter("include_metadata", "Whether results have type, help and unit.", example="1")),
        methods=GET_POST,
        content=_LINES,
    ),
    Endpoint(
        "/search/label_names",
        "Names of labels that fit what was typed",
        "search",
        parameters=_TYPED,
        methods=GET_POST,
        content=_LINES,
    ),
    Endpoint(
        "/search/label_values",
        "Values of a label that fit what was typed",
        "search",
        parameters=(Parameter("label", "The label.", required=True, example="job"), *_TYPED),
        methods=GET_POST,
        content=_LINES,
    ),
)

ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    e.path: e for e in (*_DATA, *RELABEL_ENDPOINTS, *_QUERIES, *_SEARCHES, *_SERVER, *_STORAGE)
}
"""By path."""
