"""The endpoints that tell what relabelling does, and what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .values import (
    BOOLEAN,
    GET_POST,
    INTEGER,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    Endpoint,
    Parameter,
    Schema,
    array,
    mapping,
    record,
    ref,
)

_LABELS: Final = ref("Labels")
_RULE: Final = record(
    {
        "if": {"oneOf": [TEXT, TEXTS]},
        "source_labels": TEXTS,
        "separator": TEXT,
        "regex": TEXT,
        "modulus": {"type": "integer", "minimum": 1},
        "target_label": TEXT,
        "replacement": TEXT,
        "action": TEXT,
        "match": TEXT,
        "labels": mapping(TEXT),
    }
)
_STEP: Final = record({"input": _LABELS, "matched": BOOLEAN, "reason": TEXT}, rule=_RULE, output=_LABELS, keep=BOOLEAN)
_COUNTED: Final = array(record(name=TEXT, value=INTEGER))
_EXAMPLES: Final[Schema] = record(
    dropped=array(record(labels=_LABELS, rule=INTEGER, reason=TEXT)),
    changed=array(record({}, **{"from": _LABELS, "to": _LABELS})),
    collided=array(record({}, **{"to": _LABELS, "from": array(_LABELS), "count": INTEGER})),
)
_FIGURES: Final[Mapping[str, Schema]] = {
    **dict.fromkeys(("series", "kept", "dropped", "changed", "collided", "collisions"), INTEGER),
    "rules": array(record(rule=_RULE, dropped=INTEGER, changed=INTEGER)),
    "labels": mapping(record(added=INTEGER, removed=INTEGER, changed=INTEGER)),
    "droppedByMetric": _COUNTED,
    "renamedMetrics": array(record({}, **{"from": TEXT, "to": TEXT, "value": INTEGER})),
    "examples": _EXAMPLES,
}
_PREVIEW: Final[Schema] = record(
    **_FIGURES, saved={"oneOf": [record(samples=INTEGER, bytes=INTEGER), {"type": "null"}]}
)
_TEST: Final[Schema] = record(
    scrapePool=TEXT,
    discoveredLabels=_LABELS,
    labels={"oneOf": [_LABELS, {"type": "null"}]},
    dropped=BOOLEAN,
    relabelSteps=array(record(rule=_RULE, output=_LABELS, keep=BOOLEAN, matched=BOOLEAN, reason=TEXT)),
    **dict.fromkeys(("scrapeUrl", "scrapeInterval", "scrapeTimeout", "error", "limit"), TEXT),
    **dict.fromkeys(("contentType", "contentEncoding"), TEXT),
    **dict.fromkeys(("status", "bodyBytes", "expositionBytes", "samples", "samplesKept"), INTEGER),
    **dict.fromkeys(("metadataCount", "staleCount"), INTEGER),
    durationSeconds=NUMBER,
    series=array(record(labels=_LABELS, value=TEXT, timestamp=NUMBER)),
    reports=mapping(NUMBER),
    metricRelabelling={"oneOf": [record(**_FIGURES), {"type": "null"}]},
    metadata=mapping(record(type=TEXT, help=TEXT, unit=TEXT)),
    active=BOOLEAN,
    stale=array(_LABELS),
)
_POOL: Final = Parameter("scrapePool", "The scrape pool.", required=True, example="node")

RELABEL_ENDPOINTS: Final = (
    Endpoint(
        "/targets/relabel_steps",
        "Relabelling of a label set, rule by rule",
        "targets",
        record(steps=array(_STEP)),
        (
            Parameter("scrapePool", "The scrape pool; needed for its stages, target and metric.", example="node"),
            Parameter("labels", "The label set before relabelling, as JSON.", required=True, example='{"job":"a"}'),
            Parameter("stage", "target, metric, write or alert; adds what a step began with and why it dropped.", example="metric"),
            Parameter("remoteWrite", "The remote write of stage write: its name, or its position from 0.", example="0"),
        ),
    ),
    Endpoint("/scrape_pools/config", "The configuration of a scrape pool", "targets", record(yaml=TEXT), (_POOL,)),
    Endpoint(
        "/relabel/preview",
        "What relabelling rules would do to the stored series",
        "targets",
        _PREVIEW,
        (
            Parameter("rules", "The rules, in YAML or JSON.", required=True, example="[{action: labeldrop, regex: job}]"),
            Parameter("match[]", "Only series that fit one of the selectors.", TEXTS, example=['{job="a"}']),
            Parameter("start", "Series with samples from this time on.", TIME, example=1435781430),
            Parameter("end", "Series with samples up to this time.", TIME, example=1435781460),
            Parameter("limit", "Examples of each kind, at most 1000; 0 for none.", INTEGER, example=10),
            Parameter("extended", "Whether extended rules are allowed, else as the configuration says.", example="true"),
        ),
        GET_POST,
    ),
    Endpoint(
        "/targets/test",
        "Scrape a target at once and show what would be stored",
        "targets",
        _TEST,
        (
            _POOL,
            Parameter("target", "A present target: its URL, instance or address; needed where there are several.", example="x:1"),
            Parameter("address", "The address of a target that need not be there; needs the admin API.", example=None),
            Parameter("labels", "More labels that its discovery would tell, as JSON; needs the admin API.", example=None),
            Parameter("limit", "Entries of each list, at most 10000.", INTEGER, example=10),
        ),
        ("POST",),
    ),
)  # fmt: skip
