"""AWS Signature Version 4: pure functions from a request and keys to the headers that sign it.

Rules: "Signing AWS API requests" in the IAM user guide.  The path is encoded once more than it is sent, as every
service but S3 wants it; for S3 this is not made.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from attrs import field, frozen

from ..model.secrets import Secret

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_UNSIGNED: Final = frozenset({"authorization", "connection", "expect", "transfer-encoding", "user-agent"})
"""Headers that are not signed, since something on the way may change or drop them."""
_SPACES: Final = re.compile(r"[ \t]+")


@frozen
class AwsKeys:
    """An access key, and until when it is good."""

    access_key: str
    secret_key: Secret
    session_token: Secret = field(factory=Secret)
    expires_ms: int | None = None
    """In ms since 1970; None for keys that do not expire."""


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: AwsKeys,
    region: str,
    service: str,
    now_ms: int,
) -> dict[str, str]:
    """Return the headers to add to a request: `X-Amz-Date`, `Authorization`, `X-Amz-Security-Token` where there is one.

    headers: those that the request has already and that are to be signed; `Host` is taken from the URL where missing.
    """
    time = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": time}
    if keys.session_token:
        added["X-Amz-Security-Token"] = keys.session_token.reveal()
    parts = urlsplit(url)
    signed = canonical_headers([("host", parts.netloc.rpartition("@")[2]), *headers.items(), *added.items()])
    names = ";".join(signed)
    request = "\n".join(
        [
            method,
            canonical_path(parts.path),
            canonical_query(parts.query),
            *(f"{name}:{value}" for name, value in signed.items()),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = signing_key(keys.secret_key, time[:8], region, service)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{keys.access_key}/{scope}"
    added["Authorization"] = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return added


def signing_key(secret: Secret, date: str, region: str, service: str) -> bytes:
    """Return the key of one day (`YYYYMMDD`), region and service."""
    key = b"AWS4" + secret.reveal().encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def canonical_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return lower-case name -> value in order of names; of equal names the values are joined, `host` is the last one."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        key = name.lower()
        if key in _UNSIGNED:
            continue
        if key == "host":
            found.pop(key, None)
        found.setdefault(key, []).append(_SPACES.sub(" ", value.strip(" \t")))
    return {name: ",".join(found[name]) for name in sorted(found)}


def canonical_path(path: str) -> str:
    """Return the path without `.`, `..` and doubled slashes, encoded once more."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    slash = "/" if parts and path.endswith(("/", "/.", "/..")) else ""
    return quote("/" + "/".join(parts) + slash, safe="/-_.~")


def canonical_query(query: str) -> str:
    """Return the parameters decoded, encoded strictly, and sorted by their encoded form."""
    pairs = []
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="-_.~")
