"""The plugin as its users have it: installed by pip, found by its entry point, its kinds keys of a configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest

CONFIG = """
scrape_configs:
  - job_name: servers
    hetzner_sd_configs: [{role: robot, basic_auth: {username: u, password: hidden}}]
"""


@pytest.fixture
def installed():
    """Skip where only the source tree is there: the environment `plugins` of tox installs the distribution."""
    try:
        distribution = metadata.distribution("tinyobs-cloud-sd")
    except metadata.PackageNotFoundError:
        pytest.skip("the distribution tinyobs-cloud-sd is not installed (tox -e plugins installs it)")
    return distribution


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "tinyobs", *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_the_plugin_is_listed(installed):
    """`tinyobs plugins` names the distribution, its version and its hook."""
    (found,) = [p for p in json.loads(run("plugins", "-o", "json").stdout) if p["name"] == "cloud-sd"]
    assert (found["origin"], found["version"], found["status"]) == ("tinyobs-cloud-sd", installed.version, "active")
    assert found["hooks"] == ["tinyobs_discoverers"]


def test_a_configuration_with_its_kinds_is_good(installed, tmp_path):
    """As `check config` says; a mistake is found too, and no secret is shown."""
    (tmp_path / "good.yml").write_text(CONFIG)
    (tmp_path / "bad.yml").write_text(CONFIG.replace("robot", "cloud"))
    good, bad = (run("check", "config", f"{name}.yml", cwd=tmp_path) for name in ("good", "bad"))
    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0
    assert 'unknown role "cloud"' in bad.stdout + bad.stderr
    assert "hidden" not in good.stdout + good.stderr + bad.stdout + bad.stderr
