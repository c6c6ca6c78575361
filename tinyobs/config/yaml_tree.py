"""YAML text -> a tree of nodes that know their line and column.

Nothing is interpreted here: `5`, `no` and `1.10` stay text, and the decoder decides by the type it wants, so that a
text field gets what the operator wrote.  The tree is bounded in size, depth and alias expansion.  Supported: one
document, anchors, aliases, merge keys (`<<`), the tags of YAML's core types.  Duplicate keys are faults.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml
from attrs import Factory, define

from ..errors import Problem

TEXT_BYTES_MAX: Final = 16 << 20
"""Longest configuration file, in bytes."""
DEPTH_MAX: Final = 64
"""Deepest nesting of lists and mappings."""
NODES_MAX: Final = 1_000_000
"""Most nodes of a file, each alias counted with all that it stands for."""

_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TAG: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset(_TAG + t for t in ("int", "float", "bool", "null", "merge", "timestamp"))
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@define(eq=False, slots=True)
class Scalar:
    """A text; `plain` when it stood without quotes.  `line` and `column` count from 1."""

    line: int
    column: int
    text: str
    plain: bool
    weight: int = 1
    """Nodes in all, aliases counted with what they stand for."""
    height: int = 0
    """Levels of lists and mappings, aliases included."""

    @property
    def is_null(self) -> bool:
        """Tell whether this is YAML's null."""
        return self.plain and self.text in _NULLS


@define(eq=False, slots=True)
class ListNode:
    """A list."""

    line: int
    column: int
    items: list[Node] = Factory(list)
    weight: int = 1
    height: int = 1


@define(eq=False, slots=True)
class MappingNode:
    """A mapping with unique keys, in order."""

    line: int
    column: int
    pairs: dict[str, Node] = Factory(dict)
    keys: dict[str, Scalar] = Factory(dict)
    """Where each key stands."""
    weight: int = 1
    height: int = 1


Node: TypeAlias = Scalar | ListNode | MappingNode


class _Refused(Exception):
    """Reading stops here."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def parse_tree(text: str | bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """Return (root, problems); the root is None for an empty file or when the text is no YAML.

    Problems are syntax errors, exceeded bounds (both end the reading) and duplicate keys.
    """
    builder = _Builder(file)
    try:
        source = _checked(text, file)
        if source.strip():
            builder.read(source)
    except _Refused as e:
        return None, [*builder.problems, e.problem]
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        reason = ", ".join(str(part) for part in (e.context, e.problem) if part)
        return None, [*builder.problems, Problem(file, *where, f"invalid YAML: {reason}")]
    except yaml.YAMLError as e:
        reason = " ".join(str(e).split())
        return None, [*builder.problems, Problem(file, 0, 0, f"invalid YAML: {reason}")]
    return builder.root, builder.problems


def read_file(name: str) -> bytes:
    """Return the content of a file, or one byte more than `parse_tree` takes of a longer one; raises `OSError`."""
    with Path(name).open("rb") as file:
        return file.read(TEXT_BYTES_MAX + 1)


def _checked(text: str | bytes, file: str) -> str:
    """Return the text as str without byte-order mark, refusing what is too long or not UTF-8."""
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > TEXT_BYTES_MAX:
            raise _Refused(Problem(file, 0, 0, f"longer than {TEXT_BYTES_MAX} bytes"))
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = e.object[: e.start].count(b"\n") + 1
        raise _Refused(Problem(file, line, 1, "not UTF-8")) from None
    except UnicodeEncodeError:
        raise _Refused(Problem(file, 0, 0, "not UTF-8")) from None


class _Builder:
    """Puts the events of the YAML parser together; a stack instead of recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[ListNode | MappingNode] = []
        self._pending_keys: list[Scalar | None] = []
        self._merges: list[list[tuple[Scalar, Node]]] = []
        self._anchors: dict[str, Node | None] = {}
        self._anchor_of: list[str | None] = []
        self._total = 0

    def read(self, source: str) -> None:
        """Consume all events."""
        handlers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceEndEvent: self._end,
            yaml.MappingEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        for event in yaml.parse(source, Loader=_LOADER):
            handle = handlers.get(type(event))
            if handle is not None:
                handle(event)

    def _document(self, event: Any) -> None:
        if self.root is not None:
            raise self._refused(event, "more than one YAML document")

    def _scalar(self, event: Any) -> None:
        plain = bool(event.implicit[0])
        if event.tag and not plain and event.tag != "!":
            if event.tag in _PLAIN_TAGS:
                plain = True
            elif event.tag != _TAG + "str":
                self._fault(event, f"the tag '{event.tag}' is not supported")
        mark = event.start_mark
        node = Scalar(mark.line + 1, mark.column + 1, event.value, plain)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node, event)

    def _start(self, event: Any) -> None:
        if len(self._stack) >= DEPTH_MAX:
            raise self._refused(event, f"nested deeper than {DEPTH_MAX} levels")
        if event.tag and event.tag not in ("!", _TAG + "seq", _TAG + "map"):
            self._fault(event, f"the tag '{event.tag}' is not supported")
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        is_list = isinstance(event, yaml.SequenceStartEvent)
        self._stack.append(ListNode(line, column) if is_list else MappingNode(line, column))
        self._pending_keys.append(None)
        self._merges.append([])
        self._anchor_of.append(event.anchor)
        if event.anchor:
            self._anchors[event.anchor] = None

    def _end(self, event: Any) -> None:
        node = self._stack.pop()
        self._pending_keys.pop()
        merges = self._merges.pop()
        if isinstance(node, MappingNode):
            for key, value in merges:
                self._merge(node, key, value)
        anchor = self._anchor_of.pop()
        if anchor:
            self._anchors[anchor] = node
        self._add(node, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._refused(event, f"invalid YAML: the alias '*{event.anchor}' stands for nothing")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._refused(event, f"the alias '*{event.anchor}' is part of what it stands for")
        self._add(node, event)

    def _add(self, node: Node, event: Any) -> None:
        """Hang a finished node below the one that is being read."""
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if isinstance(parent, ListNode):
            parent.items.append(node)
        elif (key := self._pending_keys[-1]) is None:
            if isinstance(node, Scalar):
                self._pending_keys[-1] = node
            else:
                self.problems.append(Problem(self.file, node.line, node.column, "a key must be text"))
                self._pending_keys[-1] = Scalar(node.line, node.column, "", plain=False)
        else:
            self._pending_keys[-1] = None
            self._put(parent, key, node)
        parent.weight += node.weight
        parent.height = max(parent.height, node.height + 1)
        if len(self._stack) + node.height > DEPTH_MAX:
            raise self._refused(event, f"nested deeper than {DEPTH_MAX} levels")
        if parent.weight > NODES_MAX:
            raise self._refused(event, f"more than {NODES_MAX} nodes")

    def _put(self, parent: MappingNode, key: Scalar, value: Node) -> None:
        if key.text == "<<" and key.plain:
            self._merges[-1].append((key, value))
        elif key.text in parent.pairs:
            first = parent.keys[key.text].line
            message = f"duplicate key '{key.text}', first at line {first}"
            self.problems.append(Problem(self.file, key.line, key.column, message))
        else:
            parent.pairs[key.text] = value
            parent.keys[key.text] = key

    def _merge(self, node: MappingNode, key: Scalar, value: Node) -> None:
        sources = value.items if isinstance(value, ListNode) else [value]
        for source in sources:
            if not isinstance(source, MappingNode):
                message = "a merge key needs a mapping or a list of mappings"
                self.problems.append(Problem(self.file, key.line, key.column, message))
                continue
            for name, merged in source.pairs.items():
                if name not in node.pairs:
                    node.pairs[name] = merged
                    node.keys[name] = source.keys[name]

    def _fault(self, event: Any, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, message))

    def _refused(self, event: Any, message: str) -> _Refused:
        mark = event.start_mark
        return _Refused(Problem(self.file, mark.line + 1, mark.column + 1, message))
