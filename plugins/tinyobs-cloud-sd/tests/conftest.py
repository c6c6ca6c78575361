"""Fixtures: an environment without anybody's credentials."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# The plugin's tests run from the checkout, whether it is installed or not.
sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tmp_path):
    """Hide what the machine that runs the tests knows of clouds; no test can reach a real metadata service."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "OS_", "GOOGLE_", "GCE_", "CLOUDSDK_", "IDENTITY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
