"""A request that pushes samples: who sends it, whether it may, its body, and the labels that it adds to all series."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen
from starlette.requests import Request

from ..abc import Reception, Services
from ..errors import TinyObsError, Unavailable, WireError
from ..interchange.chunks import TIME_MS_MAX
from ..model.labels import Labels, from_mapping
from ..model.networks import Networks, address_of
from ..web.held_bytes import HELD, Held
from ..web.problem import HttpError
from .bodies import read_body
from .outcome import MALFORMED as MALFORMED

TOO_LARGE: Final = "too_large"
EXTRA_LABELS_MAX: Final = 64
"""Labels that one request may add."""


@frozen
class Push:
    """body: unpacked.  source: see `source_of`.  extra_labels: of `extra_label=name=value` in the URL.

    held: where memory for it is counted, None where nobody counts.
    """

    body: bytes
    source: str
    extra_labels: Labels = ()
    held: Held | None = None


async def take_push(request: Request, services: Services, reception: Reception, *, has_flag: bool = False) -> Push:
    """Admit a request and read its body; raises `HttpError` or `TinyObsError`, and has counted what it refuses.

    The rate is looked at before anything is read.  has_flag: the protocol is switched on by a flag of its own, and not by
    `tinyobs.receivers.enabled`.
    """
    settings: Any = services.config.tinyobs.receivers
    source, labels = admit_push(request, services, reception, has_flag=has_flag)
    try:
        body = await read_body(request, settings.decoded_size_max_bytes)
    except HttpError as e:
        reception.refuse(TOO_LARGE if e.status == 413 else "encoding" if e.status == 415 else "body")
        raise
    except Unavailable:
        reception.refuse("body")
        raise
    except TinyObsError as e:
        reception.refuse(TOO_LARGE if hasattr(e, "limit") else MALFORMED)
        raise
    if "content-length" not in request.headers:
        reception.admit(source, len(body), requests=0)  # only now is it known how much it was
    return Push(body, source, labels, request.scope.get(HELD))


def time_ms_of(request: Request, now_ms: int) -> int:
    """Return the time of samples that have none: `timestamp` of the URL, in milliseconds, else now; raises `WireError`."""
    text = request.query_params.get("timestamp", "")
    if not text:
        return now_ms
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 16 or int(digits) > TIME_MS_MAX:
        raise WireError(f"timestamp must be milliseconds since 1970, not {text[:100]!r}")
    return int(text)


def admit_push(
    request: Request, services: Services, reception: Reception, *, has_flag: bool = False
) -> tuple[str, Labels]:
    """Admit a request whose body is read by the caller; return its source and the labels that it adds.

    Raises what `take_push` raises before it reads anything.
    """
    settings: Any = services.config.tinyobs.receivers
    if not (has_flag or settings.enabled):
        raise HttpError(404, "pushes are not accepted here: tinyobs.receivers.enabled is false")
    if not settings.cross_site:
        refuse_cross_site(request, services.web_options.external_url if services.web_options is not None else "")
    source = source_of(request, services.config.tinyobs.limits.rates.trusted_proxies)
    labels = extra_labels(request)
    reception.admit(source, _told_bytes(request))
    return source, labels


def source_of(request: Request, trusted_proxies: Sequence[str] = ()) -> str:
    """Return whom a request comes from: its user where there are users, else the address of its client.

    trusted_proxies: addresses and networks.  What one of them says of where a request came from (`X-Forwarded-For`) is believed;
    what stands before that is what somebody else says.
    """
    user = request.scope.get("user")
    if isinstance(user, str) and user:
        return user
    source = request.client.host if request.client is not None else "unix"
    if trusted_proxies:
        trusted = _networks(tuple(trusted_proxies))
        told = [part.strip() for text in request.headers.getlist("x-forwarded-for") for part in text.split(",")]
        while source in trusted and told:
            before = address_of(told.pop())
            if before is None:
                break
            source = str(before)
    return source


@lru_cache(8)
def _networks(texts: tuple[str, ...]) -> Networks:
    return Networks(texts)


def refuse_cross_site(request: Request, external_url: str = "") -> None:
    """Raise `HttpError` 403 where a browser says that a page of another site sends this.

    Browsers let any page send a simple request anywhere, to a daemon on the user's own machine as well.  Over HTTPS and to
    loopback they say whose page it is in `Sec-Fetch-Site` (W3C Fetch Metadata).  To other addresses over HTTP there is only
    `Origin`: it must be of the host that is asked, on whatever port, or of the URL under which users reach the daemon.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin:
        host = _host_of(origin)
        is_other = not host or host not in (_host_of("//" + request.headers.get("host", "")), _host_of(external_url))
    else:
        is_other = site == "cross-site"
    if is_other:
        raise HttpError(403, "pushes from pages of other sites are refused; see tinyobs.receivers.cross_site")


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def extra_labels(request: Request) -> Labels:
    """Return the labels that a request adds; raises `HttpError` 400 for what is none."""
    if not request.scope["query_string"]:
        return ()
    found: dict[str, str] = {}
    for text in request.query_params.getlist("extra_label"):
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise HttpError(400, f"extra_label must be name=value, not {text[:100]!r}")
        found[name] = value
        if len(found) > EXTRA_LABELS_MAX:
            raise HttpError(400, f"there are more than {EXTRA_LABELS_MAX} parameters extra_label")
    return from_mapping({name: value for name, value in found.items() if value})


def _told_bytes(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0
