"""A tree of YAML nodes and an attrs class -> a frozen value, or every problem with its position.

The class says what is allowed (`fields.py`); nothing is guessed: a text is no list, a number in quotes is no number.
An object with a problem inside becomes `BROKEN`, and reading goes on, so that one run finds all problems.
"""

from __future__ import annotations

import difflib
import json
import os.path
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import attrs

from ..errors import ConfigError, Problem
from ..model.secrets import Secret
from .environment import expand
from .fields import FieldPlan, FilePath, JsonText, context_fields, item_of, known_keys, mapped_of, optional_of, plan
from .scalars import EMPTY_FOR_NULL, PLAIN, read_plain, read_scalar
from .yaml_tree import ListNode, MappingNode, Node, Scalar, parse_tree

T = TypeVar("T")
Groups = dict[str, dict[str, Any]]
"""Group name -> key -> type of the value: the keys that plugins add (see `fields.group`).

A text instead of a type is the reason why the key is refused."""

SHOWN_LENGTH_MAX: Final = 60
"""Longest piece of the operator's text that a message repeats, in characters."""


class _Broken:
    """Stands for a value that could not be read."""

    def __repr__(self) -> str:
        return "BROKEN"


BROKEN: Final = _Broken()


class Decoder:
    """Reads one file.  `problems` grows while reading; `positions` tells where the value at a path stands.

    folder: where relative paths start.  environment: variables for `${NAME}`, None where it is not asked for.
    context: values for fields that are no keys (see `fields.context_fields`), the same for the whole file.
    """

    def __init__(
        self,
        file: str,
        folder: str = "",
        groups: Groups | None = None,
        environment: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        self.file = file
        self.folder = folder
        self.groups = groups or {}
        self.environment = environment
        self.context = context or {}
        self.problems: list[Problem] = []
        self.positions: dict[str, tuple[int, int]] = {}

    # -- problems ------------------------------------------------------------------------------------------------

    def report(self, message: str, path: str, node: Node | None = None) -> None:
        """Note a problem at a node, or at the position known for the path."""
        line, column = (node.line, node.column) if node else self.position(path)
        self.problems.append(Problem(self.file, line, column, message, path))

    def position(self, path: str) -> tuple[int, int]:
        """Return (line, column) of the value at a path, of what encloses it where it has none, else zeros."""
        while path and path not in self.positions:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.positions.get(path, (0, 0))

    def is_clean(self, path: str) -> bool:
        """Tell whether no problem was found at or below a path."""
        return not any(p.path == path or p.path.startswith((path + ".", path + "[")) for p in self.problems)

    # -- reading -------------------------------------------------------------------------------------------------

    def decode(self, node: Node, type_: Any, path: str) -> Any:
        """Return the value of a node as `type_`, or `BROKEN` after noting why not."""
        self.positions[path] = (node.line, node.column)
        type_, optional = optional_of(type_)
        if optional and isinstance(node, Scalar) and node.is_null:
            return None
        item = item_of(type_)
        if item is not None:
            return self._list(node, item, path, "empty or null entry")
        mapped = mapped_of(type_)
        if mapped is not None:
            return self._mapping(node, mapped, path)
        if attrs.has(type_) and type_ is not Secret:
            return self._object(node, type_, path)
        if type_ is JsonText:
            return json.dumps(self._anything(node), ensure_ascii=False)
        return self._scalar(node, type_, path)

    def fields(self, node: Node, schema: type, path: str, extra_keys: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return the constructor's arguments for a class; a broken field has the value `BROKEN`."""
        if isinstance(node, Scalar) and node.is_null:
            node = MappingNode(node.line, node.column)
        if not isinstance(node, MappingNode):
            self.report(f"expected a mapping, got {_describe(node)}", path, node)
            return {p.name: BROKEN for p in plan(schema)}
        known = frozenset(known_keys(schema, self.groups)) | extra_keys
        hint = getattr(schema, "UNKNOWN_KEY_HINT", "")
        for name, key in node.keys.items():
            if name not in known:
                self.report(f"unknown key '{_short(name)}'" + suggestion(name, known) + hint, path, key)
        return self._known_fields(node, schema, path)

    def construct(self, schema: type[T], values: dict[str, Any], path: str) -> T | _Broken:
        """Return the object, checked by its `faults()` and brought to its normal form."""
        try:
            known = {name: self.context[key] for name, key in context_fields(cast(type, schema)) if key in self.context}
            value: Any = schema(**values, **known)
            faults = list(value.faults()) if hasattr(value, "faults") else []
        except ValueError as e:
            faults = [e]
        for fault in faults:
            message, key = _told(fault, schema)
            at = f"{path}.{key}" if key else path
            line, column = self.position(at)
            self.problems.append(Problem(self.file, line, column, message, at))
        if faults:
            return BROKEN
        return cast(T, value.normalized() if hasattr(value, "normalized") else value)

    # -- by kind of node -----------------------------------------------------------------------------------------

    def _object(self, node: Node, schema: type, path: str) -> Any:
        before, outer = len(self.problems), self.context
        self.context = {**outer, **getattr(schema, "CONTEXT", {})}
        values = self.fields(node, schema, path)
        self.context = outer
        return self.construct(schema, values, path) if len(self.problems) == before else BROKEN

    def _known_fields(self, node: MappingNode, schema: type, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for p in plan(schema):
            if p.inline:
                before = len(self.problems)
                inner = self._known_fields(node, p.type, path)
                clean = len(self.problems) == before
                values[p.name] = self.construct(p.type, inner, path) if clean else BROKEN
            elif p.group:
                values[p.name] = self._group(node, self.groups.get(p.group, {}), path)
            elif p.key in node.pairs:
                values[p.name] = self._field(node.pairs[p.key], p, f"{path}.{p.key}")
            elif p.required:
                self.report(f"missing key '{p.key}'", path, node)
                values[p.name] = BROKEN
            else:
                values[p.name] = p.default()
        return values

    def _field(self, node: Node, p: FieldPlan, path: str) -> Any:
        type_, _ = optional_of(p.type)
        self.positions[path] = (node.line, node.column)
        if isinstance(node, Scalar) and node.is_null and type_ not in EMPTY_FOR_NULL:
            if p.required:
                self.report("a value is needed, got nothing", path, node)
                return BROKEN
            return p.default()
        if not p.supported and p.type is Any:
            return self._unsupported(node, p, path)
        item = item_of(type_)
        if isinstance(node, ListNode) and p.joined is not None:
            return self._joined(node, *p.joined, path)
        if p.one_or_many and isinstance(node, Scalar):
            node = ListNode(node.line, node.column, [node])
        if p.one_or_many and isinstance(node, MappingNode):
            self.report("expected text or a list of texts, got a mapping; put what begins with { in quotes", path, node)
            return BROKEN
        value = self._list(node, item, path, p.null_item) if item is not None else self.decode(node, p.type, path)
        if value is BROKEN:
            return BROKEN
        if not p.supported and value != p.default():
            return self._unsupported(node, p, path)
        if isinstance(value, int | float) and not _within(value, p):
            self.report(f"must be {_bounds(p)}, got {_describe(node)}", path, node)
            return BROKEN
        return value

    def _joined(self, node: ListNode, separator: str, context: str, hint: str, path: str) -> Any:
        """Return the texts of a list as one."""
        if not self.context.get(context):
            self.report(f"expected text, got a list; {hint}", path, node)
            return BROKEN
        parts = self._list(node, str, path, "empty or null entry")
        return BROKEN if any(part is BROKEN for part in parts) else separator.join(parts)

    def _unsupported(self, node: Node, p: FieldPlan, path: str) -> Any:
        empty = (isinstance(node, ListNode) and not node.items) or (isinstance(node, MappingNode) and not node.pairs)
        if empty and p.type is Any:
            return p.default()
        self.report(f"{p.key} is not supported yet by this version", path, node)
        return BROKEN

    def _group(self, node: MappingNode, types: dict[str, Any], path: str) -> Any:
        found = []
        for name, type_ in types.items():
            if name not in node.pairs:
                continue
            child, at = node.pairs[name], f"{path}.{name}"
            self.positions[at] = (child.line, child.column)
            if isinstance(child, Scalar) and child.is_null:
                continue
            if isinstance(type_, str):
                if not isinstance(child, ListNode) or child.items:
                    self.report(f"{name} {type_}", at, child)
                continue
            found.append((name, self.decode(child, type_, at)))
        return tuple(found)

    def _list(self, node: Node, item: Any, path: str, null_item: str) -> Any:
        self.positions[path] = (node.line, node.column)
        if isinstance(node, Scalar) and node.is_null:
            return ()
        if not isinstance(node, ListNode):
            self.report(f"expected a list, got {_describe(node)}", path, node)
            return BROKEN
        out = []
        for i, child in enumerate(node.items):
            if isinstance(child, Scalar) and child.is_null and item not in EMPTY_FOR_NULL:
                self.report(null_item, f"{path}[{i}]", child)
                out.append(BROKEN)
            else:
                out.append(self.decode(child, item, f"{path}[{i}]"))
        return tuple(out)

    def _mapping(self, node: Node, item: Any, path: str) -> Any:
        if isinstance(node, Scalar) and node.is_null:
            return ()
        if not isinstance(node, MappingNode):
            self.report(f"expected a mapping, got {_describe(node)}", path, node)
            return BROKEN
        return tuple(sorted((k, self.decode(v, item, f"{path}.{k}")) for k, v in node.pairs.items()))

    def _scalar(self, node: Node, type_: Any, path: str) -> Any:
        if not isinstance(node, Scalar):
            self.report(f"expected {_wanted(type_)}, got {_describe(node)}", path, node)
            return BROKEN
        if node.is_null and type_ in EMPTY_FOR_NULL:
            return EMPTY_FOR_NULL[type_]
        try:
            text = node.text if self.environment is None else expand(node.text, self.environment)
            value = read_scalar(type_, text, plain=node.plain)
        except ValueError as e:
            self.report(_short(str(e), SHOWN_LENGTH_MAX * 4), path, node)
            return BROKEN
        if type_ is FilePath and value and not os.path.isabs(value):
            return os.path.normpath(os.path.join(self.folder, value))
        return value

    def _anything(self, node: Node) -> Any:
        if isinstance(node, MappingNode):
            return {name: self._anything(child) for name, child in node.pairs.items()}
        if isinstance(node, ListNode):
            return [self._anything(child) for child in node.items]
        if node.is_null:
            return None
        text = node.text if self.environment is None else expand(node.text, self.environment)
        return read_plain(text, plain=node.plain)


def decode_text(schema: type[T], text: str | bytes, file: str, folder: str = "") -> T:
    """Return the value of a whole YAML text, or raise `ConfigError` with every problem.  An empty text is `{}`."""
    root, problems = parse_tree(text, file)
    decoder = Decoder(file, folder)
    decoder.problems += problems
    value = decoder.decode(root or MappingNode(1, 1), schema, "") if root or not problems else BROKEN
    if decoder.problems:
        raise ConfigError(in_order(decoder.problems))
    return cast(T, value)


def in_order(problems: list[Problem]) -> list[Problem]:
    """Return problems by file (in order of appearance), line and column, each once."""
    files = {file: i for i, file in enumerate(dict.fromkeys(p.file for p in problems))}
    return sorted(dict.fromkeys(problems), key=lambda p: (files[p.file], p.line, p.column))


def suggestion(name: str, known: frozenset[str]) -> str:
    """Return `, did you mean 'x'?` where a known name is close, else nothing."""
    close = difflib.get_close_matches(name[:SHOWN_LENGTH_MAX], sorted(known), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def _told(fault: ValueError, schema: type) -> tuple[str, str]:
    """Return (message, key in the file); the validators of attrs put both among the arguments of the exception."""
    if len(fault.args) > 1 and isinstance(fault.args[1], attrs.Attribute):
        keys = {p.attribute: p.key for p in plan(schema)}
        return str(fault.args[0]), keys.get(fault.args[1].name, "")
    return str(fault), getattr(fault, "key", "")


def _within(value: float, p: FieldPlan) -> bool:
    return (p.low is None or value >= p.low) and (p.high is None or value <= p.high)


def _bounds(p: FieldPlan) -> str:
    if p.low is not None and p.high is not None:
        return f"between {p.low} and {p.high}"
    return f"at least {p.low}" if p.low is not None else f"at most {p.high}"


def _wanted(type_: Any) -> str:
    return "a number" if type_ in PLAIN and type_ is not bool else "true or false" if type_ is bool else "text"


def _describe(node: Node) -> str:
    if isinstance(node, Scalar):
        return f"'{_short(node.text)}'"
    return "a list" if isinstance(node, ListNode) else "a mapping"


def _short(text: str, length_max: int = SHOWN_LENGTH_MAX) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"
