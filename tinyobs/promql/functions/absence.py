"""`absent`, and the labels that a selector implies for something that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...model.labels import NAME, Labels, from_mapping
from ...model.matchers import Matcher, MatchType
from .. import nodes
from ..blocks import Value, vector_of
from .registry import Kind, function

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..plan import CallNode


@function("absent", Kind.GENERAL)
def absent(evaluation: Evaluation, call: CallNode) -> Value:
    """1 at the steps where the vector is empty; labels come from the selector."""
    found = np.zeros(call.steps, np.bool_)
    for block in evaluation.vector(call.arguments[0]).blocks():
        found |= block.present.any(axis=0)
    return vector_of([labels_of_absence(call.arguments[0].expr)], np.ones((1, call.steps)), ~found[None, :])


def labels_of_absence(expr: nodes.Expr) -> Labels:
    """Return the labels that `=` matchers of a selector fix; a label with a further matcher behind that is left out.

    Matchers that only exclude count as behind all others, whatever the order in the text (upstream's storage puts
    them there).
    """
    if isinstance(expr, nodes.MatrixSelector):
        expr = expr.selector
    if not isinstance(expr, nodes.VectorSelector):
        return ()
    found: dict[str, str] = {}
    seen = set()
    for matcher in sorted(expr.matchers, key=_excludes):
        if matcher.name == NAME:
            continue
        if matcher.type is MatchType.EQUAL and matcher.name not in seen:
            found[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            found.pop(matcher.name, None)
    return from_mapping(found)


def _excludes(matcher: Matcher) -> bool:
    return matcher.type in (MatchType.NOT_EQUAL, MatchType.NOT_REGEX) and matcher.matches_empty()
