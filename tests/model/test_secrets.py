"""Secrets do not show."""

from __future__ import annotations

from tinyobs.model.secrets import Secret


def test_a_secret_hides_in_every_notation() -> None:
    """repr, str, format and containers show the mask."""
    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {secret!s} {secret:>10} {[secret]} {(secret,)!r}" + str(secret)
    assert "hunter2" not in shown
    assert str(secret) == "<secret>"


def test_a_secret_can_be_revealed_and_compared() -> None:
    """The text is there for those who ask; equality and truth follow it."""
    assert Secret("a").reveal() == "a"
    assert Secret("a") == Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret()
