"""What series a field of the Influx line protocol belongs to: measurement, tags and field name -> label block.

The rules, their names and defaults are those of VictoriaMetrics (`-influxMeasurementFieldSeparator` and others).
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from ..model.label_block import encode_block
from ..model.labels import NAME, Labels
from .influx_line import BadLine, Key

_NOT_IN_METRIC: Final = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")


@frozen
class NameRules:
    """separator: between measurement and field.  skip_single_field: where a line has one field, its name is left out.

    skip_measurement: the measurement is left out.  db_label: for the database, "" for none.  keep_names: as they are; else
    characters other than letters, digits and `_` are replaced by `_`.
    """

    separator: str = "_"
    skip_single_field: bool = False
    skip_measurement: bool = False
    db_label: str = "db"
    keep_names: bool = True


@frozen
class Origin:
    """database: becomes a label where no tag has its name.  labels: added to all series, before tags of the same names."""

    database: str = ""
    labels: Labels = ()


@frozen
class KeyBlocks:
    """A key on the way to label blocks (`model/label_block.py`): its labels that stand before and behind the metric name."""

    measurement: str
    before: bytes
    behind: bytes


class Namer:
    """Makes label blocks of keys and fields of one origin; encodes each label once, so it should live for one body."""

    def __init__(self, origin: Origin, rules: NameRules) -> None:
        self._origin, self._rules = origin, rules
        self._encoded: dict[tuple[str, str], bytes] = {}

    def key(self, key: Key) -> KeyBlocks:
        """Return what the fields of a key have in common."""
        found = dict(key.tags)
        if self._rules.db_label and self._origin.database:
            found.setdefault(self._rules.db_label, self._origin.database)
        found.update(self._origin.labels)
        if not self._rules.keep_names:
            found = {_legal(label, _NOT_IN_LABEL): value for label, value in found.items()}
        found.pop(NAME, None)
        pairs = sorted(found.items())
        before = b"".join([self._encode(pair) for pair in pairs if pair[0] < NAME])
        return KeyBlocks(key.measurement, before, b"".join([self._encode(pair) for pair in pairs if pair[0] > NAME]))

    def block(self, key: KeyBlocks, field: str, is_single: bool) -> bytes:
        """Return the label block of a field; raises `BadLine` where it has no name.

        is_single: the line has no other field, strings included.
        """
        rules = self._rules
        parts = [] if rules.skip_measurement or not key.measurement else [key.measurement]
        if not (parts and is_single and rules.skip_single_field):
            parts.append(field)
        name = rules.separator.join(parts)
        if not rules.keep_names:
            name = _legal(name, _NOT_IN_METRIC)
        if not name:
            raise BadLine("missing measurement")
        return key.before + self._encode((NAME, name)) + key.behind

    def _encode(self, pair: tuple[str, str]) -> bytes:
        found = self._encoded.get(pair)
        if found is None:
            found = self._encoded[pair] = encode_block((pair,))
        return found


def _legal(name: str, others: re.Pattern[str]) -> str:
    name = others.sub("_", name)
    return "_" + name if name[:1].isdigit() else name
