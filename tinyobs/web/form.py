"""Parameters of a request, from its URL and its form body.

The rules are those of Go's `Request.Form`, on which clients of Prometheus rely: for POST the values of the body come
before those of the URL, and a malformed pair is left out while the others count.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

import trio
from attrs import Factory, frozen
from starlette.requests import Request

from .problem import ApiError

FIELDS_MAX: Final = 10_000
"""Parameters that one request may carry in its URL, and again in its body."""
FORM_BYTES_MAX: Final = 10 << 20
"""Size of a body that is a form, in bytes; Go's `ParseForm` takes no more either."""
THREAD_BYTES_MIN: Final = 64 << 10
"""Forms from this size on are decoded in a worker thread, in bytes; 10 MiB of escapes take seconds."""

_FORM = "application/x-www-form-urlencoded"
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")


@frozen
class Form:
    """Parameters by name, each with all its values in order."""

    values: dict[str, list[str]] = Factory(dict)

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a parameter."""
        found = self.values.get(name)
        return found[0] if found else default

    def all(self, name: str) -> list[str]:
        """Return every value of a parameter."""
        return self.values.get(name, [])


async def read_form(request: Request) -> Form:
    """Return the parameters of a request; reads the body when it is a form."""
    values: dict[str, list[str]] = {}
    if request.method != "GET":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == _FORM:
            body = await request.body()
            if len(body) > FORM_BYTES_MAX:
                raise ApiError("bad_data", f"error parsing form values: the form is larger than {FORM_BYTES_MAX} bytes")
            if len(body) < THREAD_BYTES_MIN:
                _collect(body, values)
            else:
                await trio.to_thread.run_sync(_collect, body, values)
    _collect(request.scope["query_string"], values)
    return Form(values)


def _collect(raw: bytes, into: dict[str, list[str]]) -> None:
    if not raw:
        return
    if raw.count(b"&") >= FIELDS_MAX:
        raise ApiError("bad_data", f"error parsing form values: more than {FIELDS_MAX} parameters")
    for pair in raw.decode("utf-8", "replace").split("&"):
        name, _, value = pair.partition("=")
        if not pair or ";" in pair or ("%" in pair and _BAD_ESCAPE.search(pair)):
            continue
        into.setdefault(unquote_plus(name), []).append(unquote_plus(value))
