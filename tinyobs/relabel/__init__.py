"""Relabelling: a label set and rules give another label set, or nothing when a rule drops it.

Pure and independent of any configuration file: a `Rule` is a value, compiled when it is made.  Meant to run once per
series or target and to be remembered by the caller, never per sample.  `rule` is what a rule is and what is wrong with
one, `actions` and `extended_actions` what it does, `trace` what became of a label set step by step,
`preview` what would become of many.  Source of the
semantics and of the messages: prometheus model/relabel/relabel.go, and for what is opt-in VictoriaMetrics
lib/promrelabel.
"""

from __future__ import annotations

from .apply import apply
from .preview import Preview, PreviewBounds, preview
from .rule import (
    DEFAULT_REGEX,
    DEFAULT_REPLACEMENT,
    DEFAULT_SEPARATOR,
    EXTENDED,
    EXTENDED_SWITCH,
    MODULUS_MAX,
    Action,
    Rule,
    RuleError,
)
from .trace import Step, trace

__all__ = [
    "DEFAULT_REGEX",
    "DEFAULT_REPLACEMENT",
    "DEFAULT_SEPARATOR",
    "EXTENDED",
    "EXTENDED_SWITCH",
    "MODULUS_MAX",
    "Action",
    "Preview",
    "PreviewBounds",
    "Rule",
    "RuleError",
    "Step",
    "apply",
    "preview",
    "trace",
]
