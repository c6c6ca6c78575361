"""`info`: adds the labels of info series (`target_info`) that share `instance` and `job` with a series.

The second argument is never evaluated: it carries matchers for the name of the info metric and for the labels to
take.  Of several info series that match at a step, the one with the newest sample counts.  Source: prometheus
promql/info.go (3.14).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from ...errors import QueryExecutionError
from ...model.histograms import is_handle
from ...model.labels import NAME, Labels, get, keep, metric_name
from ...model.matchers import Matcher
from .. import nodes
from ..blocks import Block, Indexes, Mask, Value, Vector, compact, nothing, unified, vector_of
from ..instants import newest
from ..matching import braced
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode

IDENTIFYING = ("instance", "job")
"""The labels by which an info series belongs to a series."""

Signature = tuple[str, Labels]


@frozen(eq=False)
class _Infos:
    """Info series: labels S, and for every step whether there is a sample and how old it is."""

    labels: list[Labels]
    times: Indexes
    present: Mask


@function("info", Kind.GENERAL)
def info(evaluation: Evaluation, call: CallNode) -> Value:
    """Return the vector with labels of info series added."""
    vector, block = compact(evaluation.vector(call.arguments[0]))
    evaluation.budget.hold(block.size)
    if not len(vector):
        return nothing(call.steps)
    selector = call.arguments[1].expr
    assert isinstance(selector, nodes.VectorSelector)
    wanted: dict[str, list[Matcher]] = {}
    for matcher in selector.matchers:
        if matcher.name != NAME:
            wanted.setdefault(matcher.name, []).append(matcher)
    infos = _read(evaluation, call, vector)
    newest_rows = _newest_of_signature(infos)
    optional = all(m.matches_empty() for matchers in wanted.values() for m in matchers)
    names = [m for m in selector.matchers if m.name == NAME]
    labels, rows, masks = [], [], []
    for row, old in enumerate(vector.labels):
        if all(m.matches(metric_name(old)) for m in names):  # an info series itself
            found = [(old, np.ones(call.steps, np.bool_))]
        else:
            found = _enriched(old, newest_rows, infos, frozenset(wanted), optional, call.steps)
        for new, mask in found:
            labels.append(new)
            rows.append(row)
            masks.append(mask & block.present[row])
    if not rows:
        return nothing(call.steps)
    index = np.array(rows, np.int64)
    return unified(vector_of(labels, block.values[index], np.stack(masks), vector.dropped(index), block.histograms))


def _read(evaluation: Evaluation, call: CallNode, vector: Vector) -> _Infos:
    """Return the info series that may belong to a series of the vector."""
    from ..plan import Instant

    node = call.arguments[1]
    assert isinstance(node, Instant)
    values = {name: {get(labels, name) for labels in vector.labels} - {""} for name in IDENTIFYING}
    labels: list[Labels] = []
    times = [np.empty((0, call.steps), np.int64)]
    present = [np.empty((0, call.steps), np.bool_)]
    if not any(values.values()):
        return _Infos(labels, times[0], present[0])
    for first, columns in evaluation.read(node.source, call.steps):
        found, stamps, here = newest(columns, node.reference, evaluation.lookback(node))
        if evaluation.step_counts is not None:
            evaluation.step_counts.of_instants(node, Block(first, found, here))
        kept = [
            i
            for i, series in enumerate(columns.labels)
            if all(not values[name] or get(series, name) in values[name] for name in IDENTIFYING)
        ]
        if columns.histograms is not None:
            _check_floats([columns.labels[i] for i in kept], is_handle(found[kept]) & here[kept])
        labels += [columns.labels[i] for i in kept]
        times.append(stamps[kept])
        present.append(here[kept])
    return _Infos(labels, np.concatenate(times), np.concatenate(present))


def _check_floats(labels: Sequence[Labels], histograms: Mask) -> None:
    """Raise where an info series has a histogram at some step."""
    for row in np.flatnonzero(histograms.any(axis=1)).tolist():
        raise QueryExecutionError(f"this should be an info metric, with float samples: {braced(labels[row])}")


def _newest_of_signature(infos: _Infos) -> dict[Signature, Indexes]:
    """Return for each (info metric, identifying labels) the row of the newest sample at each step, -1 for none."""
    found: dict[Signature, Indexes] = {}
    identifying = frozenset(IDENTIFYING)
    for row, labels in enumerate(infos.labels):
        key = metric_name(labels), keep(labels, identifying)
        old = found.get(key)
        if old is None:
            found[key] = np.where(infos.present[row], row, -1)
            continue
        both = infos.present[row] & (old >= 0)
        previous = infos.times[np.maximum(old, 0), np.arange(len(old))]
        clash = np.flatnonzero(both & (previous == infos.times[row]))
        if len(clash):
            at = int(infos.times[row, clash[0]])
            raise QueryExecutionError(
                f"found duplicate series for info metric: existing {braced(infos.labels[int(old[clash[0]])])} @ {at}, "
                f"new {braced(labels)} @ {at}"
            )
        found[key] = np.where(infos.present[row] & ((old < 0) | (infos.times[row] > previous)), row, old)
    return found


def _enriched(
    old: Labels,
    newest_rows: dict[Signature, Indexes],
    infos: _Infos,
    wanted: frozenset[str],
    optional: bool,
    steps: int,
) -> list[tuple[Labels, Mask]]:
    """Return the label sets that a series gets, each with the steps at which it does."""
    mine = keep(old, frozenset(IDENTIFYING))
    chosen = [rows for (_, labels), rows in newest_rows.items() if labels == mine]
    if not chosen:
        return [(old, np.ones(steps, np.bool_))] if optional else []
    table = np.stack(chosen)
    combinations, inverse = np.unique(table, axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    out = []
    for i in range(combinations.shape[1]):
        rows = [r for r in combinations[:, i].tolist() if r >= 0]
        if not rows and not optional:
            continue
        out.append((_combined(old, [infos.labels[r] for r in rows], wanted), inverse == i))
    return out


def _combined(old: Labels, added: list[Labels], wanted: frozenset[str]) -> Labels:
    new: dict[str, str] = {}
    base = dict(old)
    for labels in added:
        for name, value in labels:
            if name == NAME or (wanted and name not in wanted):
                continue
            if new.get(name, value) != value:
                raise QueryExecutionError(f"conflicting label: {name}")
            if name not in base:
                new[name] = value
    return tuple(sorted((base | new).items()))
