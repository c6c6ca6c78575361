"""Checks the selectors of Kubernetes before an API server sees them.  Pure.

Grammar: apimachinery pkg/labels/selector.go (`key`, `!key`, `key=value`, `key!=value`, `key in (a,b)`,
`key notin (a,b)`, `key>1`, `key<1`, joined by commas) and pkg/fields/selector.go (`key=value`, `key!=value`).
"""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_PREFIX: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
_KEY: Final = re.compile(rf"(?:(?P<prefix>{_PREFIX})/)?(?P<name>{_NAME})\Z")
_VALUE: Final = re.compile(rf"(?:{_NAME})?\Z")
_SET: Final = re.compile(r"(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)\Z")
_COMPARISON: Final = re.compile(r"(?P<key>[^=!<>\s]+)\s*(?P<operator>==|!=|=|<|>)\s*(?P<value>\S*)\Z")
_NAME_LENGTH_MAX: Final = 63
_PREFIX_LENGTH_MAX: Final = 253


def check_label_selector(text: str) -> str:
    """Return why a label selector makes no sense, "" when it does; an empty one selects everything."""
    if not text.strip():
        return ""
    for requirement in _split(text):
        if reason := _requirement_fault(requirement.strip()):
            return f'unable to parse requirement "{requirement.strip()}": {reason}'
    return ""


def check_field_selector(text: str) -> str:
    """Return why a field selector makes no sense, "" when it does."""
    for term in re.split(r"(?<!\\),", text):
        if not term:
            continue
        operator, value = re.match(r"[^=!]*(!=|==|=|)(.*)", term, re.DOTALL).groups()  # type: ignore[union-attr]
        if not operator:
            return f"invalid selector: '{text}'; can't understand '{term}'"
        if escape := re.search(r"\\(?:[^\\,=]|\Z)", re.sub(r"\\[\\,=]", "", value)):
            return f"invalid field selector: invalid escape sequence: {escape.group()}"
        if "=" in re.sub(r"\\.", "", value):
            return f"invalid field selector: unescaped character in value: {value}"
    return ""


def _split(text: str) -> list[str]:
    """Return the requirements, parted at commas outside parentheses."""
    return re.split(r",(?![^(]*\))", text)


def _requirement_fault(text: str) -> str:
    if set_based := _SET.match(text):
        values = [v.strip() for v in set_based["values"].split(",")]
        return _key_fault(set_based["key"]) or next(filter(None, map(_value_fault, values)), "")
    if compared := _COMPARISON.match(text):
        value = compared["value"]
        if compared["operator"] in "<>" and not re.fullmatch(r"-?\d+", value):
            return f'for ">" and "<" the value must be an integer, not "{value}"'
        return _key_fault(compared["key"]) or _value_fault(value)
    return _key_fault(text.removeprefix("!").strip())


def _key_fault(text: str) -> str:
    found = _KEY.match(text)
    if not found:
        return f'"{text}" is no label key'
    if len(found["name"]) > _NAME_LENGTH_MAX or len(found["prefix"] or "") > _PREFIX_LENGTH_MAX:
        return f'"{text}" is too long for a label key'
    return ""


def _value_fault(text: str) -> str:
    if not _VALUE.match(text) or len(text) > _NAME_LENGTH_MAX:
        return f'"{text}" is no label value'
    return ""
