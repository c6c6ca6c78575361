"""HTTP basic authentication, and tokens or parameters that are a user and a password, against the bcrypt hashes of the web config file.

bcrypt is slow on purpose (about 50 ms and more), so it runs in a worker thread, one at a time, and its outcome is
remembered for a short while, for wrong passwords as well.  What is remembered is a digest, never a password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

import bcrypt
import trio

from .problem import HttpError

REMEMBER_SECONDS: Final = 60.0
"""How long an outcome counts without asking bcrypt again."""
REMEMBERED_MAX: Final = 1000
"""Outcomes remembered; the oldest go first."""
PASSWORD_BYTES_MAX: Final = 72
"""bcrypt reads no more; a longer password is refused rather than cut."""


class Authenticator:
    """Checks credentials; raises `ValueError` for a user whose hash is none of bcrypt's."""

    def __init__(self, users: Mapping[str, str], now: Callable[[], float] = trio.current_time) -> None:
        for user, hashed in users.items():
            if not hashed.startswith(("$2a$", "$2b$", "$2x$", "$2y$")) or len(hashed) != 60:
                raise ValueError(f'the password of user "{user}" is not a bcrypt hash')
        self._users = {user: hashed.encode() for user, hashed in users.items()}
        # What an unknown user is checked against: the answer must take as long as that of a known one.
        self._nobody = b"$2b$%b$" % max((h[4:6] for h in self._users.values()), default=b"10") + b"." * 53
        self._now = now
        self._outcomes: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()
        self._limiter = trio.CapacityLimiter(1)
        self._secret = os.urandom(16)

    async def check(self, header: str, in_url: tuple[str, str] | None = None) -> str:
        """Return the user of an `Authorization` header, or of what stands in the URL for it; raises `HttpError` 401."""
        user, password = _in_url(*in_url) if in_url is not None else _credentials(header)
        hashed = self._users.get(user, self._nobody)
        key = hashlib.blake2b(b"\0".join((user.encode(), hashed, password)), key=self._secret).digest()
        known = self._outcomes.get(key)
        if known is None or known[0] < self._now():
            good = await trio.to_thread.run_sync(_matches, password, hashed, limiter=self._limiter)
            self._outcomes[key] = (self._now() + REMEMBER_SECONDS, good)
            self._outcomes.move_to_end(key)
            if len(self._outcomes) > REMEMBERED_MAX:
                self._outcomes.popitem(last=False)
        else:
            good = known[1]
        if not good or user not in self._users:
            raise _unauthorized()
        return user


def _credentials(header: str) -> tuple[str, bytes]:
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() == "basic":
            plain = base64.b64decode(encoded.strip(), validate=True)
        elif scheme.lower() == "token":  # `user:password`, as clients of InfluxDB 2 send it to InfluxDB 1
            plain = encoded.strip().encode("latin-1")
        else:
            raise _unauthorized()
        user, colon, password = plain.partition(b":")
        name = user.decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _unauthorized() from None
    if not colon or len(password) > PASSWORD_BYTES_MAX:
        raise _unauthorized()
    return name, password


def url_credentials(query: bytes, names: tuple[str, str]) -> tuple[str, str] | None:
    """Return user and password from the query of a URL, where both parameters are there and say something."""
    given = parse_qs(query.decode("latin-1"))
    user, password = (given.get(name, [""])[0] for name in names)
    return (user, password) if user and password else None


def _in_url(user: str, password: str) -> tuple[str, bytes]:
    encoded = password.encode()
    if len(encoded) > PASSWORD_BYTES_MAX:
        raise _unauthorized()
    return user, encoded


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:
        return False


def _unauthorized() -> HttpError:
    return HttpError(401, "Unauthorized", {"www-authenticate": "Basic"})
