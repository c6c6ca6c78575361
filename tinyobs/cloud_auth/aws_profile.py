"""The files that AWS' tools share: `~/.aws/credentials` and `~/.aws/config`.  Pure but for reading them."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .exchange import CloudError

FILE_BYTES_MAX: Final = 1 << 20
UNSUPPORTED: Final = ("credential_process", "sso_session", "sso_start_url", "sso_account_id")
"""Ways to get keys that another program has to go."""


def read_profiles(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return profile -> its settings, those of the credentials file over those of the config file.

    A file that is not there is empty; raises `CloudError` for one that cannot be read.
    """
    home = environment.get("HOME", "")
    config = environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config"
    credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials"
    profiles: dict[str, dict[str, str]] = {}
    for section, settings in _sections(config).items():
        name = section.removeprefix("profile ").strip()
        if section == "default" or section.startswith("profile "):
            profiles.setdefault(name, {}).update(settings)
    for section, settings in _sections(credentials).items():
        profiles.setdefault(section, {}).update(settings)
    return profiles


def profile_of(profiles: Mapping[str, Mapping[str, str]], name: str) -> Mapping[str, str]:
    """Return the settings of a profile; raises `CloudError` where there is none."""
    if name not in profiles:
        raise CloudError(f"there is no AWS profile '{name}' in the shared files")
    return profiles[name]


def _sections(file: str) -> dict[str, dict[str, str]]:
    try:
        with Path(file).open("rb") as f:
            text = f.read(FILE_BYTES_MAX).decode()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as e:
        raise CloudError(f"cannot read {file}: {e}") from None
    parser = configparser.ConfigParser(interpolation=None, default_section="\0", strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error as e:
        # The error's own text repeats lines of the file, which has keys in it.
        raise CloudError(f"cannot read {file}: {type(e).__name__}") from None
    return {name: {k: v or "" for k, v in parser.items(name)} for name in parser.sections()}
