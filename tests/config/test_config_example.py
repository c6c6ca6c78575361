"""A file with one of everything, and how it is shown: fixed, so that a change in either does not pass unseen.

The shown text was compared with that of a running Prometheus (`test_config_peer.py`); what the two differ in is
newer keys.
"""

from __future__ import annotations

from pathlib import Path

from tinyobs.config.loader import parse

FOLDER = Path(__file__).parent / "example"


def test_the_example_is_shown_as_before() -> None:
    """Every default that is filled in is in the text."""
    config = parse((FOLDER / "full.yml").read_bytes(), "prometheus.yml", environment={})
    assert config.to_yaml() == (FOLDER / "full.shown.yml").read_text()


def test_the_shown_example_is_stable() -> None:
    """Reading what is shown and showing it again gives the same text."""
    shown = (FOLDER / "full.shown.yml").read_text()
    assert parse(shown, "prometheus.yml", environment={}).to_yaml() == shown
