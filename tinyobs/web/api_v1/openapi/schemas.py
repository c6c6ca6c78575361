"""The schemas that answers share, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .tree_schemas import NODES
from .values import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    TEXT,
    TEXTS,
    Schema,
    array,
    mapping,
    one_of,
    pair,
    record,
    ref,
)

_TIMINGS: Final = (
    *("evalTotalTime", "resultSortTime", "queryPreparationTime", "innerEvalTime", "execQueueTime", "execTotalTime"),
)
_BUCKET: Final[Schema] = {
    "type": "array",
    "prefixItems": [{"type": "integer", "enum": [0, 1, 2, 3]}, TEXT, TEXT, TEXT],
    "minItems": 4,
    "maxItems": 4,
    "description": "Which ends are open (0 left, 1 right, 2 both, 3 none), left end, right end, count.",
}
_ELSEWHERE: Final = record(
    discoveredLabels=ref("Labels"),
    labels=ref("Labels"),
    scrapePool=TEXT,
    scrapeUrl=TEXT,
    members=array(INTEGER),
    memberUrls=TEXTS,
)
_RANKING: Final = array(record(name=TEXT, value=INTEGER))
_BLOCK_STATS: Final = record(numSamples=INTEGER, numSeries=INTEGER, numChunks=INTEGER)

_RULE: Final[Mapping[str, Schema]] = {
    "name": TEXT,
    "query": TEXT,
    "health": one_of("ok", "err", "unknown"),
    "evaluationTime": NUMBER,
    "lastEvaluation": DATE,
}
_DOUBLE: Final[Schema] = {"oneOf": [NUMBER, one_of("NaN", "Infinity", "-Infinity")]}
_QUANTILES: Final = array(record(quantile=_DOUBLE, value=_DOUBLE))
_BUCKETS: Final = array(record(cumulativeCount=TEXT, upperBound=_DOUBLE))

_BESIDE: Final[Mapping[str, Schema]] = {"stats": ref("QueryStats"), "explain": ref("ExplainedStep")}

COMPONENTS: Final[Mapping[str, Schema]] = {
    "Error": record(
        status=one_of("error"),
        errorType=one_of(
            *("bad_data", "execution", "canceled", "timeout", "internal", "unavailable", "not_found", "not_acceptable")
        ),
        error=TEXT,
    ),
    "Labels": mapping(TEXT),
    "Point": pair(NUMBER, TEXT),
    "Histogram": record({"buckets": array(_BUCKET)}, count=TEXT, sum=TEXT),
    "HistogramPoint": pair(NUMBER, ref("Histogram")),
    "VectorSample": record({"value": ref("Point"), "histogram": ref("HistogramPoint")}, metric=ref("Labels")),
    "MatrixSeries": record(
        {"values": array(ref("Point")), "histograms": array(ref("HistogramPoint"))}, metric=ref("Labels")
    ),
    "QueryStats": record(
        timings=record(**dict.fromkeys(_TIMINGS, NUMBER)),
        samples=record(
            {
                "totalQueryableSamplesPerStep": array(pair(NUMBER, INTEGER)),
                "samplesReadPerStep": array(pair(NUMBER, INTEGER)),
            },
            totalQueryableSamples=INTEGER,
            peakSamples=INTEGER,
            samplesRead=INTEGER,
        ),
    ),
    "ExplainedStep": record(
        {
            **dict.fromkeys(("series", "points", "selection", "samplesRead", "pagesRead", "cacheHits"), INTEGER),
            "seconds": NUMBER,
            "parts": array(ref("ExplainedStep")),
        },
        kind=TEXT,
        query=TEXT,
        steps=INTEGER,
    ),
    "QueryData": {
        "oneOf": [
            record(_BESIDE, resultType=one_of(kind), result=result)
            for kind, result in (
                ("vector", array(ref("VectorSample"))),
                ("matrix", array(ref("MatrixSeries"))),
                ("scalar", ref("Point")),
                ("string", ref("Point")),
            )
        ]
    },
    "RangeData": record(_BESIDE, resultType=one_of("matrix"), result=array(ref("MatrixSeries"))),
    "ActiveQuery": record(
        **dict.fromkeys(("id", "query", "client"), TEXT),
        kind=one_of("instant", "range"),
        state=one_of("queued", "running"),
        started=DATE,
        **dict.fromkeys(("start", "end", "step", "elapsedSeconds"), NUMBER),
        samplesRead=INTEGER,
    ),
    "SeriesExemplars": record(
        seriesLabels=ref("Labels"), exemplars=array(record(labels=ref("Labels"), value=TEXT, timestamp=NUMBER))
    ),
    **NODES,
    "Metadata": record(type=ref("MetricType"), help=TEXT, unit=TEXT),
    "MetricType": one_of(
        *("counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown")
    ),
    "TargetMetadata": record({"metric": TEXT}, target=ref("Labels"), type=ref("MetricType"), help=TEXT, unit=TEXT),
    "Target": record(
        discoveredLabels=ref("Labels"),
        labels=ref("Labels"),
        scrapePool=TEXT,
        scrapeUrl=TEXT,
        globalUrl=TEXT,
        lastError=TEXT,
        lastScrape=DATE,
        lastScrapeDuration=NUMBER,
        health=one_of("up", "down", "unknown"),
        scrapeInterval=TEXT,
        scrapeTimeout=TEXT,
    ),
    "DroppedTarget": record(discoveredLabels=ref("Labels"), scrapePool=TEXT),
    "Targets": record(
        {"elsewhereTargets": array(_ELSEWHERE), "elsewhereTargetCounts": mapping(INTEGER)},
        activeTargets=array(ref("Target")),
        droppedTargets=array(ref("DroppedTarget")),
        droppedTargetCounts={"type": ["object", "null"], "additionalProperties": INTEGER},
    ),
    "RuleGroup": record(
        name=TEXT,
        file=TEXT,
        interval=NUMBER,
        limit=INTEGER,
        evaluationTime=NUMBER,
        lastEvaluation=DATE,
        rules=array({"oneOf": [ref("AlertingRule"), ref("RecordingRule")]}),
    ),
    "AlertingRule": record(
        {"lastError": TEXT},
        type=one_of("alerting"),
        state=one_of("inactive", "pending", "firing", "unknown"),
        duration=NUMBER,
        keepFiringFor=NUMBER,
        annotations=ref("Labels"),
        labels=ref("Labels"),
        alerts=array(ref("Alert")),
        **_RULE,
    ),
    "RecordingRule": record({"lastError": TEXT, "labels": ref("Labels")}, type=one_of("recording"), **_RULE),
    "Alert": record(
        {"keepFiringSince": DATE},
        labels=ref("Labels"),
        annotations=ref("Labels"),
        state=TEXT,
        activeAt=DATE,
        value=TEXT,
    ),
    "BuildInfo": record(version=TEXT, revision=TEXT, branch=TEXT, buildUser=TEXT, buildDate=TEXT, goVersion=TEXT),
    "RuntimeInfo": record(
        startTime=DATE,
        CWD=TEXT,
        hostname=TEXT,
        serverTime=DATE,
        reloadConfigSuccess=BOOLEAN,
        lastConfigTime=DATE,
        corruptionCount=INTEGER,
        goroutineCount=INTEGER,
        GOMAXPROCS=INTEGER,
        GOMEMLIMIT=INTEGER,
        GOGC=TEXT,
        GODEBUG=TEXT,
        storageRetention=TEXT,
    ),
    "StorageStatus": record(
        {"seriesCountByFocusLabelValue": _RANKING},
        headStats=record(
            numSeries=INTEGER, numLabelPairs=INTEGER, chunkCount=INTEGER, minTime=INTEGER, maxTime=INTEGER
        ),
        seriesCountByMetricName=_RANKING,
        labelValueCountByLabelName=_RANKING,
        memoryInBytesByLabelName=_RANKING,
        seriesCountByLabelValuePair=_RANKING,
        totalSeries=INTEGER,
        totalLabelValuePairs=INTEGER,
        seriesCountByLabelName=_RANKING,
    ),
    "Cardinality": record(
        **dict.fromkeys(("series", "metrics", "labelNames", "labelPairs", "labelBytes"), INTEGER),
        **dict.fromkeys(("minTime", "maxTime"), INTEGER),
        **dict.fromkeys(("seriesByMetric", "seriesByLabel", "valuesByLabel", "valueBytesByLabel"), _RANKING),
        **dict.fromkeys(("seriesByPair", "seriesByFocus"), _RANKING),
        metricSizes=array(record(name=TEXT, series=INTEGER, samples=INTEGER, bytes=INTEGER)),
        churn=array(
            record(start=INTEGER, created=INTEGER, gone=INTEGER, createdByMetric=_RANKING, goneByMetric=_RANKING)
        ),
    ),
    "Limits": record(
        **dict.fromkeys(("series", "newSeriesThisHour", "newSeriesToday"), INTEGER),
        **dict.fromkeys(("foldedMembers", "foldedMembersMax", "foldedSeries"), INTEGER),
        rules=array(
            record(match=TEXT, **dict.fromkeys(("series", "newSeriesThisHour", "newSeriesToday"), INTEGER)),
        ),
        refused=array(
            record(
                limit=TEXT,
                of=TEXT,
                **dict.fromkeys(("value", "samples", "decisions", "first", "last"), INTEGER),
                example=ref("Labels"),
            )
        ),
        folded=array(
            record(
                rule=TEXT,
                label=TEXT,
                metric=TEXT,
                **dict.fromkeys(("keptValues", "foldedValues", "foldedSeries", "samples", "since", "last"), INTEGER),
                examples=array(TEXT),
            )
        ),
    ),
    "Block": record(
        ulid=TEXT,
        minTime=INTEGER,
        maxTime=INTEGER,
        stats=_BLOCK_STATS,
        compaction=record({"hints": TEXTS}, level=INTEGER, sources=TEXTS),
        version=INTEGER,
    ),
    "OwnMetricFamily": record(
        {"help": TEXT, "metric": array(ref("OwnMetric")), "unit": TEXT},
        name=TEXT,
        type=one_of("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"),
    ),
    "OwnMetric": {
        **record(
            {
                "label": array(record(name=TEXT, value=TEXT)),
                **dict.fromkeys(("gauge", "counter", "untyped"), record(value=_DOUBLE)),
                "summary": record({"sampleCount": TEXT, "sampleSum": _DOUBLE, "quantile": _QUANTILES}),
                "histogram": record({"sampleCount": TEXT, "sampleSum": _DOUBLE, "bucket": _BUCKETS}),
                "timestampMs": TEXT,
            }
        ),
        "description": "The JSON form of the protobuf message io.prometheus.client.Metric.",
    },
    "Notification": record(text=TEXT, date=DATE, active=BOOLEAN),
}
