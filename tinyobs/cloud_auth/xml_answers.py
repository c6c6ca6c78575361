"""XML answers of AWS' query interfaces -> a tree.  Pure.

Without document types, so that no entity can grow, and bounded in size, depth and elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from attrs import define, field

from .exchange import CloudError

DEPTH_MAX: Final = 64
ELEMENTS_MAX: Final = 2_000_000


@define
class Element:
    """An element: its name without namespace, the text directly in it, and the elements in it."""

    name: str
    text: str = ""
    children: list[Element] = field(factory=list)

    def find(self, *path: str) -> Element | None:
        """Return the first element at a path of names, None where there is none."""
        at: Element | None = self
        for name in path:
            at = next((child for child in at.children if child.name == name), None) if at else None
        return at

    def value(self, *path: str) -> str | None:
        """Return the text at a path, None where there is no such element or it is empty."""
        at = self.find(*path)
        return (at.text.strip() or None) if at else None

    def items(self, *path: str) -> Iterator[Element]:
        """Yield the elements in the one at a path: the entries of a list."""
        at = self.find(*path)
        yield from at.children if at else ()


def parse_xml(data: bytes) -> Element:
    """Return the root; raises `CloudError` for what is no XML, has a document type or is too large."""
    root = Element("")
    stack = [root]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > ELEMENTS_MAX or len(stack) > DEPTH_MAX:
            raise CloudError(f"the answer has more than {ELEMENTS_MAX} elements, or more than {DEPTH_MAX} levels")
        element = Element(name.rpartition(":")[2])
        stack[-1].children.append(element)
        stack.append(element)

    def end(name: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    def refuse(*_: object) -> None:
        raise CloudError("the answer has a document type, which no answer of AWS has")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as e:
        raise CloudError(f"the answer is not XML ({e})") from None
    return root.children[0]
