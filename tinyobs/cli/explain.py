"""The plan of a query as a tree of lines, from the `explain` of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

TEXT_MAX = 100
"""Characters of an expression that are shown."""


def explained(step: Mapping[str, Any], above: str = "", own: str = "") -> Iterator[str]:
    """Yield the lines of a part and of those below it; above, own: what stands before them and before its own line."""
    text = " ".join(step["query"].split())
    text = text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 3] + "..."
    yield f"{own}{step['kind']}  {text}  ({', '.join(_figures(step))})"
    parts = step.get("parts", [])
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        yield from explained(part, above + ("   " if last else "│  "), above + ("└─ " if last else "├─ "))


def _figures(step: Mapping[str, Any]) -> Iterator[str]:
    if "series" not in step:
        yield "not run" if step["steps"] else "no steps"
        return
    yield f"{step['series']} series"
    yield f"{step['points']} points"
    if "samplesRead" in step:
        yield f"{step['samplesRead']} samples"
        yield f"{step['pagesRead']} pages decoded"
        yield f"{step['cacheHits']} cache hits"
    yield f"{step['seconds'] * 1e3:.2f} ms"
