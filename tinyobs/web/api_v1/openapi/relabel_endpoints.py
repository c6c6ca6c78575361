"""The endpoints that tell what relabelling does, and what it would do."""

from __future__ import annotations

from typing import Final

from .values import (
    BOOLEAN,
    GET_POST,
    INTEGER,
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
_PREVIEW: Final[Schema] = record(
    series=INTEGER,
    kept=INTEGER,
    dropped=INTEGER,
    changed=INTEGER,
    collided=INTEGER,
    collisions=INTEGER,
    rules=array(record(rule=_RULE, dropped=INTEGER, changed=INTEGER)),
    labels=mapping(record(added=INTEGER, removed=INTEGER, changed=INTEGER)),
    droppedByMetric=_COUNTED,
    renamedMetrics=array(record({}, **{"from": TEXT, "to": TEXT, "value": INTEGER})),
    saved={"oneOf": [record(samples=INTEGER, bytes=INTEGER), {"type": "null"}]},
    examples=_EXAMPLES,
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
)  # fmt: skip
