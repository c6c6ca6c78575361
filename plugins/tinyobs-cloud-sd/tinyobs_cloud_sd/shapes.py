"""Values of decoded JSON, taken out with their types checked.  Pure.

What an interface leaves out or sets to null is empty; what has another type than documented is an error, and the last
good targets stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinyobs.discovery.refreshing import DiscoveryError


def member(value: Any, *path: str) -> Any:
    """Return what stands at a path of keys, None where it does not go on."""
    for key in path:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise _odd(path, "an object")
        value = value.get(key)
    return value


def text(value: Any, *path: str) -> str:
    """Return a text; numbers and truth values as JSON writes them."""
    found = member(value, *path)
    if found is None:
        return ""
    if isinstance(found, str):
        return found
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int):
        return str(found)
    raise _odd(path, "a text")


def integer(value: Any, *path: str) -> int:
    """Return a number without its fraction, 0 where there is none."""
    found = member(value, *path)
    if found is None:
        return 0
    if isinstance(found, int | float) and abs(found) < 2**63:
        return int(found)
    raise _odd(path, "a number")


def texts(value: Any, *path: str) -> list[str]:
    """Return a list of texts."""
    return list(_list(value, path, str))


def objects(value: Any, *path: str) -> list[Mapping[str, Any]]:
    """Return a list of objects."""
    return list(_list(value, path, Mapping))


def mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """Return an object."""
    found = member(value, *path)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise _odd(path, "an object")
    return found


def pairs(value: Any, *path: str) -> dict[str, str]:
    """Return an object whose values are texts."""
    found = mapping(value, *path)
    return {key: text(found, key) for key in found}


def _list(value: Any, path: tuple[str, ...], kind: type) -> Sequence[Any]:
    found = member(value, *path)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise _odd(path, "a list of texts" if kind is str else "a list of objects")
    return found


def _odd(path: tuple[str, ...], wanted: str) -> DiscoveryError:
    return DiscoveryError(f"the answer makes no sense: {'.'.join(path) or 'it'} is not {wanted}")
