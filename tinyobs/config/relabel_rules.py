"""A file, or a text, that holds nothing but relabelling rules: a list, or a mapping with one list of a known key."""

from __future__ import annotations

from typing import Final

import attrs

from ..errors import ConfigError
from ..relabel import Rule
from .decoder import BROKEN, Decoder, in_order
from .encoder import to_plain
from .yaml_tree import ListNode, MappingNode, Node, parse_tree

RULES_MAX: Final = 10_000
"""Most rules that a text may hold."""
KEYS: Final = ("relabel_configs", "metric_relabel_configs", "write_relabel_configs", "alert_relabel_configs")


def parse_relabel_rules(
    text: str | bytes, filename: str, *, extended: bool = False, legacy_names: bool = False
) -> tuple[Rule, ...]:
    """Return the rules of a text in YAML (or JSON, which is YAML); raises `ConfigError` with every problem in it."""
    root, problems = parse_tree(text, filename)
    decoder = Decoder(filename, context={"extended": extended})
    decoder.problems += problems
    rules: tuple[Rule, ...] = ()
    if root is not None:
        node, path = _list_of_rules(root, decoder)
        found = decoder.decode(node, tuple[Rule, ...], path) if node is not None else ()
        rules = () if found is BROKEN else found
    if not decoder.problems and len(rules) > RULES_MAX:
        decoder.report(f"more than {RULES_MAX} rules", "", root)
    if decoder.problems:
        raise ConfigError(in_order(decoder.problems))
    return tuple(attrs.evolve(r, legacy_names=True) for r in rules) if legacy_names else rules


def rule_to_plain(rule: Rule) -> dict[str, object]:
    """Return a rule as it is shown in JSON: what is not set is left out, the pattern is always there."""
    shown = to_plain(rule)
    return shown | {"regex": rule.regex}


def _list_of_rules(root: Node, decoder: Decoder) -> tuple[Node | None, str]:
    if not isinstance(root, MappingNode):
        if not isinstance(root, ListNode):
            decoder.report("expected a list of relabelling rules", "", root)
            return None, ""
        return root, ""
    given = [key for key in root.pairs if key in KEYS]
    if len(given) != 1 or len(root.pairs) > 1:
        decoder.report(f"expected a list of relabelling rules, or a mapping with one of {', '.join(KEYS)}", "", root)
        return None, ""
    return root.pairs[given[0]], f".{given[0]}"
