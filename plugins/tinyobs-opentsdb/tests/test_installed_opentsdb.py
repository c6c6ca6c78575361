"""The plugin as its users have it: installed by pip, found by its entry point."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest


def test_the_plugin_is_listed():
    """`tinyobs plugins` names the distribution, its version and its hooks."""
    try:
        distribution = metadata.distribution("tinyobs-opentsdb")
    except metadata.PackageNotFoundError:
        pytest.skip("the distribution tinyobs-opentsdb is not installed (tox -e plugins installs it)")
    out = subprocess.run([sys.executable, "-m", "tinyobs", "plugins", "-o", "json"], capture_output=True, check=True)
    (found,) = [p for p in json.loads(out.stdout) if p["name"] == "opentsdb"]
    assert (found["origin"], found["version"], found["status"]) == ("tinyobs-opentsdb", distribution.version, "active")
    assert set(found["hooks"]) == {"tinyobs_config_sections", "tinyobs_routes", "tinyobs_sources"}
