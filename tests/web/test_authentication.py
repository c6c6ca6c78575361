"""Basic authentication."""

from __future__ import annotations

import base64
from typing import Any

import bcrypt
import pytest

from tinyobs.web import authentication
from tinyobs.web.authentication import Authenticator
from tinyobs.web.options import WebOptions
from tinyobs.web.problem import HttpError

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def basic(user: str, password: str) -> str:
    """Return the header for credentials."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_with_users_every_path_needs_credentials(make_client: Any) -> None:
    """The right password opens, everything else is 401 with a challenge, unknown paths too."""
    client = make_client(WebOptions(users={"ann": HASH}))
    assert (await client.get("/-/healthy", auth=("ann", "secret"))).status_code == 200
    for path in ("/-/healthy", "/nope"):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Basic")
    assert (await client.get("/-/healthy", auth=("ann", "wrong"))).status_code == 401
    assert (await client.get("/-/healthy", auth=("bob", "secret"))).status_code == 401


async def test_a_token_may_be_a_user_and_a_password() -> None:
    """Clients of InfluxDB 2 send it so; a password may have colons."""
    colons = bcrypt.hashpw(b"a:b", bcrypt.gensalt(4)).decode()
    authenticator = Authenticator({"ann": HASH, "bob": colons})
    assert await authenticator.check("Token ann:secret") == "ann"
    assert await authenticator.check("token bob:a:b") == "bob"
    for wrong in ("Token ann:wrong", "Token secret", "Token ", "Token ann:"):
        with pytest.raises(HttpError):
            await authenticator.check(wrong)


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!!", "Basic YWI=", "Bearer x", "Basic /w==", basic("ann", "x" * 73)]
)
async def test_broken_credentials_are_401(header: str) -> None:
    """Whatever the header holds, the answer is the same."""
    with pytest.raises(HttpError) as caught:
        await Authenticator({"ann": HASH}).check(header)
    assert caught.value.status == 401


async def test_outcomes_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """bcrypt is asked once a minute for the same credentials, right or wrong, and again afterwards."""
    asked: list[bytes] = []
    real = authentication._matches

    def matches(password: bytes, hashed: bytes) -> bool:
        asked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(authentication, "_matches", matches)
    now = 0.0
    checker = Authenticator({"ann": HASH}, lambda: now)
    for _ in range(3):
        assert await checker.check(basic("ann", "secret")) == "ann"
        with pytest.raises(HttpError):
            await checker.check(basic("ann", "wrong"))
    assert asked == [b"secret", b"wrong"]
    now = authentication.REMEMBER_SECONDS + 1
    await checker.check(basic("ann", "secret"))
    assert len(asked) == 3


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing passwords does not fill the memory."""
    monkeypatch.setattr(authentication, "REMEMBERED_MAX", 3)
    monkeypatch.setattr(authentication, "_matches", lambda password, hashed: False)
    checker = Authenticator({"ann": HASH})
    for i in range(10):
        with pytest.raises(HttpError):
            await checker.check(basic("ann", str(i)))
    assert len(checker._outcomes) == 3


def test_a_hash_that_is_none_is_refused() -> None:
    """A plain password in the file is a mistake that is found at the start."""
    with pytest.raises(ValueError, match='user "ann" is not a bcrypt hash'):
        Authenticator({"ann": "secret"})


async def test_an_unknown_user_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an answer does not tell which users there are; bcrypt's cost is in its hashes."""
    asked: list[bytes] = []
    monkeypatch.setattr(authentication, "_matches", lambda password, hashed: bool(asked.append(hashed)))
    users = {"ann": HASH, "bob": bcrypt.hashpw(b"secret", bcrypt.gensalt(5)).decode()}
    with pytest.raises(HttpError):
        await Authenticator(users).check(basic("eve", "secret"))
    assert asked[0].startswith(b"$2b$05$")
    monkeypatch.undo()
    assert not authentication._matches(b"secret", asked[0])
