"""What is configured, and what follows from it once for a resource, a scope and a metric: names, labels, metadata.

A resource gives `job` (service.namespace/service.name), `instance` (service.instance.id), the attributes that are promoted
to labels, and the series `target_info` with the others.  Source: prometheus metrics_to_prw.go and helper.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from attrs import define, field, frozen

from ...model.labels import NAME, Labels, from_mapping
from ...model.metadata import MetricMetadata, MetricType
from .names import COUNTER, GAUGE, label_name, metric_name, unit_name
from .schema import CUMULATIVE, DELTA
from .values import attributes_of, utf8

TARGET_INFO: Final = "target_info"
TARGET_METADATA: Final = MetricMetadata(MetricType.GAUGE, "Target metadata")
LABEL_NAMES_KEPT: Final = 10_000
"""Names of labels whose translation is remembered."""

Refusal = tuple[str, str]
"""(reason, sentence)."""

_NAMESPACE: Final = "service.namespace"
_SERVICE: Final = "service.name"
_INSTANCE: Final = "service.instance.id"
_IDENTIFYING: Final = (_NAMESPACE, _SERVICE, _INSTANCE)


@frozen(kw_only=True)
class Rules:
    """How metrics are translated; the section `otlp` of the configuration, features and the parameters of a request.

    escape, suffixes: see `names.metric_name`.  promoted: attributes of resources that become labels; with `promote_all`
    those that do not.  types: labels `__type__` and `__unit__`.  native_delta: deltas are stored as they are.
    convert_delta: they are added up.  starts: start times are kept.  lookback_ms: of queries, for `target_info`.
    samples_max: data points, or samples, of one request.  extra_labels: of all series.
    """

    escape: bool = True
    suffixes: bool = True
    key_prefix: bool = True
    keep_runs: bool = True
    promote_all: bool = False
    promoted: frozenset[str] = frozenset()
    keep_identifying: bool = False
    custom_buckets: bool = False
    scope_labels: bool = False
    types: bool = False
    native_delta: bool = False
    convert_delta: bool = False
    starts: bool = False
    lookback_ms: int = 300_000
    samples_max: int = 1_000_000
    extra_labels: Labels = ()


@define(eq=False)
class ResourceContext:
    """What follows from a resource.  target: the labels of its `target_info`, None where it has none.

    defaults: labels that attributes of points go before.  fixed: those that go before attributes of points.  refusal:
    (reason, sentence) where nothing of the resource can be taken.
    """

    defaults: Mapping[str, str]
    fixed: Mapping[str, str]
    target: Labels | None = None
    refusal: Refusal | None = None
    target_ref: int = -1
    """The series `target_info`, once it has a number."""
    fixed_of: dict[ScopeContext, Mapping[str, str]] = field(factory=dict)
    """What goes before attributes in the metrics of a scope."""


@frozen(eq=False)
class ScopeContext:
    """What follows from a scope: labels, or (reason, sentence) why nothing of it can be taken."""

    labels: Mapping[str, str]
    refusal: Refusal | None = None


@define(eq=False)
class MetricContext:
    """What follows from a metric within its scope.  kind: one of `schema.KINDS`.

    defaults, fixed: see `ResourceContext`.  refusal: (reason, sentence) where its points cannot be taken.  converts: its
    points are deltas that are added up.  counts: they count up from a start.
    """

    name: str
    kind: str
    family: str
    metadata: MetricMetadata
    defaults: Mapping[str, str]
    fixed: Mapping[str, str]
    label: Callable[[str], str]
    is_delta: bool = False
    converts: bool = False
    counts: bool = False
    refusal: Refusal | None = None
    is_told: bool = False
    """Its metadata has been stored."""

    def labels(self, attributes: list[tuple[str, str]]) -> dict[str, str]:
        """Return the labels that attributes lead to, without the name of the metric; raises `ValueError`.

        Attributes whose keys come out the same have their values joined, in the order of the keys.
        """
        found: dict[str, str] = {}
        for key, value in sorted(attributes):
            if key != NAME:
                name = self.label(key)
                earlier = found.get(name)
                found[name] = f"{earlier};{value}" if earlier else value
        for name, value in self.defaults.items():
            if not found.get(name):
                found[name] = value
        found.update(self.fixed)
        return found


class Translator:
    """Makes contexts.  One for each set of rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

        @lru_cache(LABEL_NAMES_KEPT)
        def label(name: str) -> str:
            return label_name(name, escape=rules.escape, key_prefix=rules.key_prefix, keep_runs=rules.keep_runs)

        self.label: Callable[[str], str] = label

    def resource(self, message: Any) -> ResourceContext:
        """Return what follows from a message `Resource`."""
        try:
            return self._resource(attributes_of(message.attributes))
        except ValueError as e:
            return ResourceContext({}, {}, refusal=("resource", f"a resource cannot be taken: {e}"))

    def _resource(self, attributes: list[tuple[str, str]]) -> ResourceContext:
        rules = self.rules
        found = dict(reversed(attributes))  # of a key that comes twice the first counts
        promoted = {
            self.label(name): value for name, value in attributes if (name in rules.promoted) != rules.promote_all
        }
        identity = {}
        if _SERVICE in found:
            identity["job"] = "/".join(found[n] for n in (_NAMESPACE, _SERVICE) if n in found)
        if _INSTANCE in found:
            identity["instance"] = found[_INSTANCE]
        identity = {name: value for name, value in identity.items() if value}
        return ResourceContext(promoted, identity, self._target(found, identity))

    def _target(self, found: Mapping[str, str], identity: Mapping[str, str]) -> Labels | None:
        """Return the labels of `target_info`: of a resource that has a job or an instance, and more than those."""
        others = {n: v for n, v in found.items() if n not in _IDENTIFYING}
        if not others:
            return None
        shown = found if self.rules.keep_identifying else others
        info = MetricContext("", "", "", TARGET_METADATA, {}, {**identity, **dict(self.rules.extra_labels)}, self.label)
        labels = info.labels(list(shown.items()))
        if not (labels.get("job") or labels.get("instance")):
            return None
        return from_mapping({**labels, NAME: TARGET_INFO})

    def scope(self, message: Any, schema_url: bytes) -> ScopeContext:
        """Return what follows from a message `InstrumentationScope`."""
        if not self.rules.scope_labels or not message.name:
            return ScopeContext({})
        try:
            found = {self.label(f"otel_scope_{key}"): value for key, value in attributes_of(message.attributes)}
            found["otel_scope_name"] = utf8(message.name)
            found["otel_scope_version"] = utf8(message.version)
            found["otel_scope_schema_url"] = utf8(schema_url)
        except ValueError as e:
            return ScopeContext({}, ("scope", f"a scope cannot be taken: {e}"))
        return ScopeContext(found)

    def metric(self, message: Any, resource: ResourceContext, scope: ScopeContext) -> MetricContext | None:
        """Return what follows from a message `Metric`, whose points do not matter; None where it has no known data."""
        kind = message.WhichOneof("data")
        if kind is None:
            return None
        data, rules = getattr(message, kind), self.rules
        is_counter = kind == "sum" and data.is_monotonic
        temporality = CUMULATIVE if kind in ("gauge", "summary") else data.aggregation_temporality
        is_delta = temporality == DELTA
        refusal, name = resource.refusal or scope.refusal, message.name.decode("utf-8", "replace")
        family, metadata = "", MetricMetadata()
        try:
            family = self._family(message, kind, is_counter)
            metadata = _metadata(message, kind, is_counter, is_delta and rules.native_delta)
        except ValueError as e:
            refusal = refusal or ("name", str(e))
        if temporality != CUMULATIVE and not (is_delta and (rules.native_delta or rules.convert_delta)):
            hint = ": deltas need the feature otlp-deltatocumulative or otlp-native-delta-ingestion" if is_delta else ""
            refusal = refusal or ("temporality", f'invalid temporality and type combination for metric "{name}"{hint}')
        return MetricContext(
            name,
            kind,
            family,
            metadata,
            resource.defaults,
            self._fixed(resource, scope, metadata),
            self.label,
            is_delta=is_delta and rules.native_delta,
            converts=is_delta and not rules.native_delta,
            counts=rules.starts and (is_counter or kind not in ("gauge", "sum")),
            refusal=refusal,
        )

    def _fixed(self, resource: ResourceContext, scope: ScopeContext, metadata: MetricMetadata) -> Mapping[str, str]:
        """Return the labels that go before attributes; the metrics of a scope share them unless they have types."""
        types = self._types(metadata)
        found = resource.fixed_of.get(scope)
        if found is None or types:
            found = {**resource.fixed, **scope.labels, **types, **dict(self.rules.extra_labels)}
            if not types:
                resource.fixed_of[scope] = found
        return found

    def _family(self, message: Any, kind: str, is_counter: bool) -> str:
        named = COUNTER if is_counter else GAUGE if kind == "gauge" else kind
        rules = self.rules
        return metric_name(utf8(message.name), utf8(message.unit), named, escape=rules.escape, suffixes=rules.suffixes)

    def _types(self, metadata: MetricMetadata) -> dict[str, str]:
        found: dict[str, str] = {}
        if not self.rules.types:
            return found
        if metadata.type is not MetricType.UNKNOWN:
            found["__type__"] = metadata.type.value
        if metadata.unit:
            found["__unit__"] = unit_name(metadata.unit, escape=self.rules.escape)
        return found


def _metadata(message: Any, kind: str, is_counter: bool, stays_delta: bool) -> MetricMetadata:
    """Return the metadata of a metric; there is no type for deltas."""
    types = {
        "gauge": MetricType.GAUGE,
        "sum": MetricType.COUNTER if is_counter else MetricType.GAUGE,
        "summary": MetricType.SUMMARY,
    }
    type_ = MetricType.UNKNOWN if stays_delta else types.get(kind, MetricType.HISTOGRAM)
    help_ = message.description.decode("utf-8", "replace")
    return MetricMetadata(type_, help_, unit_name(utf8(message.unit), escape=True))
