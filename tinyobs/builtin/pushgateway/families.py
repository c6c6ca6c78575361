"""Which families the groups have, and of what type: families of one name must be of one type, and must not collide.

Source of the rules: prometheus/client_golang prometheus/registry.go (`checkMetricConsistency`, `checkSuffixCollisions`), by
which a Pushgateway judges a push.  Help texts may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import define

from ...model.metadata import MetricMetadata, MetricType

_PARTS: Final = {
    MetricType.SUMMARY: ("_count", "_sum"),
    MetricType.HISTOGRAM: ("_count", "_sum", "_bucket"),
    MetricType.GAUGE_HISTOGRAM: ("_count", "_sum", "_bucket"),
}
_SUFFIXES: Final = ("_count", "_sum", "_bucket")


@define
class _Use:
    type: MetricType
    groups: int = 0


class Families:
    """The families of all groups, counted."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}

    def replace(self, old: Mapping[str, MetricMetadata], new: Mapping[str, MetricMetadata]) -> None:
        """Note that a group has other families than before."""
        for name in old:
            use = self._uses[name]
            use.groups -= 1
            if not use.groups:
                del self._uses[name]
        for name, metadata in new.items():
            use = self._uses.setdefault(name, _Use(metadata.type))
            use.groups += 1

    def fault(self, old: Mapping[str, MetricMetadata], new: Mapping[str, MetricMetadata]) -> str:
        """Return why a group may not have other families than before, "" when it may."""
        for name, metadata in new.items():
            other = self._other(name, old)
            if other is not None and other is not metadata.type:
                types = _called(metadata.type), _called(other)
                return f'collected metric "{name}" is of type {types[0]} here and of type {types[1]} in another group'
        for name, metadata in new.items():
            fault = self._collision(name, metadata.type, old, new)
            if fault:
                return fault
        return ""

    def _other(self, name: str, old: Mapping[str, MetricMetadata]) -> MetricType | None:
        """Return the type of a family in other groups, None where none has it."""
        use = self._uses.get(name)
        return use.type if use is not None and use.groups > (name in old) else None

    def _type(
        self, name: str, old: Mapping[str, MetricMetadata], new: Mapping[str, MetricMetadata]
    ) -> MetricType | None:
        found = new.get(name)
        return found.type if found is not None else self._other(name, old)

    def _collision(
        self, name: str, type_: MetricType, old: Mapping[str, MetricMetadata], new: Mapping[str, MetricMetadata]
    ) -> str:
        for suffix in _SUFFIXES:
            base = name.removesuffix(suffix)
            if base != name and suffix in _PARTS.get(self._type(base, old, new) or MetricType.UNKNOWN, ()):
                return f'collected metric named "{name}" collides with previously collected metric named "{base}"'
        for suffix in _PARTS.get(type_, ()):
            if self._type(name + suffix, old, new) is not None:
                other = name + suffix
                return f'collected metric named "{name}" collides with previously collected metric named "{other}"'
        return ""


def _called(type_: MetricType) -> str:
    """Return what the text format calls a type."""
    return "untyped" if type_ is MetricType.UNKNOWN else type_.value
