"""How a schema class says what the decoder and the encoder must know beyond its types.

A schema is a frozen attrs class; the key in the file is the field's name unless `setting("name")` says otherwise.  A
plain `attrs.field(metadata={...})` with the same entries does as well.  Types that a field may have: `str`, `int`,
`float`, `bool`, `DurationMs`, `SizeBytes`, `Secret`, `Url`, `UrlText`, `ProxyUrl`, `FilePath`, `JsonText` (anything), an Enum (by
value), another schema, `X | None`, `tuple[X, ...]` (a list) and `tuple[tuple[str, X], ...]` (a mapping, sorted by key, so that it compares).

A schema may have a method `faults()` that yields `Fault`s and a method `normalized()` that returns the final value.  What
stands in its class variable `CONTEXT` is the decoder's context for all inside it.  The schema of a plugin's section may have a
method `including(read)` that returns the value with what is in files that it names; `read` is an `Included`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final, NewType, Protocol

import attrs
from attrs import frozen

Url = NewType("Url", str)
"""An absolute http or https URL; a password in it is masked when shown."""
ProxyUrl = NewType("ProxyUrl", str)
"""The URL of a proxy: http, https, socks5 or socks5h; "" for none.  A password in it is masked when shown."""
JsonText = NewType("JsonText", str)
"""Any value, as JSON: where a file may hold what it likes."""
UrlText = NewType("UrlText", str)
"""A URL that the schema checks itself; a password in it is masked when shown."""
FilePath = NewType("FilePath", str)
"""A path; a relative one starts at the folder of the configuration file, and is made so when it is read."""


class Fault(ValueError):
    """Something wrong in a schema object; `key` is the field in the file that is at fault, "" for the whole."""

    def __init__(self, message: str, key: str = "") -> None:
        self.key = key
        super().__init__(message)


class Included(Protocol):
    """Reads a file that a section names."""

    def __call__(self, file: str, type_: Any, check: Callable[[Any], Iterable[Fault]]) -> Any:
        """Return the value in a YAML file, None when there are problems in it, which have been noted.

        check: yields what is wrong with the whole; keys are paths from the root, e.g. `[0].interval`.
        """


@frozen
class FieldPlan:
    """What is known of one field; made once per class."""

    name: str
    """The argument of the constructor."""
    attribute: str
    key: str
    type: Any
    required: bool
    default: Callable[[], Any]
    low: float | None
    high: float | None
    supported: bool
    """False: known by name, and refused unless it has upstream's default value."""
    always: bool
    """Shown even when zero or empty."""
    omit: Any
    """A value that is not shown although it is not zero."""
    flow: bool
    """Shown in brackets on one line."""
    inline: bool
    """The keys of this object stand among its parent's."""
    group: str
    """Takes all keys of a group that plugins extend, e.g. `discovery`."""
    null_item: str
    """What is said of an empty entry in a list."""
    one_or_many: bool
    """A list of one entry may be written without the list, and is shown so."""
    joined: tuple[str, str, str] | None
    """(separator, context, hint): a list of texts stands for one text, where the decoder's context says so."""


_METADATA: Final = {
    "key": "",
    "low": None,
    "high": None,
    "supported": True,
    "always": False,
    "omit": None,
    "flow": False,
    "inline": False,
    "group": "",
    "null_item": "empty or null entry",
    "one_or_many": False,
    "joined": None,
    "context": "",
}
"""`context` is the one entry for fields that are no keys (`key` is None): they are filled from the decoder's context."""


def setting(name: str = "", *, default: Any = attrs.NOTHING, factory: Any = None, **metadata: Any) -> Any:
    """Declare a field; `metadata` are the entries of `FieldPlan` (`low`, `high`, `always`, `null_item`, ...)."""
    unknown = set(metadata) - set(_METADATA)
    assert not unknown, unknown
    if name:
        metadata["key"] = name
    return attrs.field(default=default, factory=factory, metadata=metadata)


def unsupported(name: str = "", *, default: Any = None, **metadata: Any) -> Any:
    """Declare a key that this version knows and does not support: any value but the default is refused."""
    return setting(name, default=default, supported=False, **metadata)


def inline(schema: type) -> Any:
    """Declare an object whose keys stand among its parent's."""
    return setting(factory=schema, inline=True)


def group(name: str) -> Any:
    """Declare the place of all keys of a group; the type is `tuple[tuple[str, Any], ...]`."""
    return setting(default=(), group=name)


@cache
def plan(schema: type) -> tuple[FieldPlan, ...]:
    """Return the plans of a class's fields that can stand in a file, in order."""
    hints = typing.get_type_hints(schema)
    plans = []
    for a in attrs.fields(schema):
        if not a.init or a.metadata.get("key", "") is None:
            continue
        settings = {name: a.metadata.get(name, default) for name, default in _METADATA.items()}
        settings["key"] = settings["key"] or a.name
        del settings["context"]
        plans.append(
            FieldPlan(
                name=a.alias or a.name,
                attribute=a.name,
                type=hints[a.name],
                required=a.default is attrs.NOTHING,
                default=_default_of(a),
                **settings,
            )
        )
    return tuple(plans)


@cache
def context_fields(schema: type) -> tuple[tuple[str, str], ...]:
    """Return (argument of the constructor, name in the context) of the fields that the context of a decoder fills."""
    return tuple((a.alias or a.name, a.metadata["context"]) for a in attrs.fields(schema) if a.metadata.get("context"))


def known_keys(schema: type, groups: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield every key that may stand in a mapping of this schema."""
    for p in plan(schema):
        if p.inline:
            yield from known_keys(p.type, groups)
        elif p.group:
            yield from groups.get(p.group, {})
        else:
            yield p.key


@cache
def optional_of(type_: Any) -> tuple[Any, bool]:
    """Return (X, True) of `X | None`, (type, False) of anything else."""
    if typing.get_origin(type_) in (types.UnionType, typing.Union):
        rest = [t for t in typing.get_args(type_) if t is not types.NoneType]
        assert len(rest) == 1, type_
        return rest[0], True
    return type_, False


@cache
def item_of(type_: Any) -> Any:
    """Return X of `tuple[X, ...]` that is a list in a file, else None."""
    args = typing.get_args(type_)
    is_list = typing.get_origin(type_) is tuple and len(args) == 2 and args[1] is Ellipsis
    return args[0] if is_list and not _is_pair(args[0]) else None


@cache
def mapped_of(type_: Any) -> Any:
    """Return X of `tuple[tuple[str, X], ...]` that is a mapping in a file, else None."""
    args = typing.get_args(type_)
    is_many = typing.get_origin(type_) is tuple and len(args) == 2 and args[1] is Ellipsis
    return typing.get_args(args[0])[1] if is_many and _is_pair(args[0]) else None


def _is_pair(type_: Any) -> bool:
    args = typing.get_args(type_)
    return typing.get_origin(type_) is tuple and len(args) == 2 and args[0] is str and args[1] is not Ellipsis


def _default_of(a: attrs.Attribute[Any]) -> Callable[[], Any]:
    default: Any = a.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        made: Callable[[], Any] = default.factory
        return made
    return lambda: default
