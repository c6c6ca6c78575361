"""The headers that a configuration adds to each request: credentials, and `http_headers`.

Made once, and again when a file changes.  OAuth2 tokens are not among them; see `tokens.py`.
"""

from __future__ import annotations

from attrs import frozen

from ..config.http_client import HttpClientConfig
from .fields import Field, field
from .files import WatchedFiles, read_secret
from .places import basic


@frozen(repr=False)
class Added:
    """Headers as they are sent.  secret: those that only the host gets which was asked first."""

    open: tuple[Field, ...] = ()
    secret: tuple[Field, ...] = ()
    has_authorization: bool = False


class Credentials:
    """The added headers of one configuration."""

    def __init__(self, config: HttpClientConfig) -> None:
        self._config = config
        self._files = WatchedFiles(credential_files(config))
        self._added = Added()

    def current(self, now: float) -> Added:
        """Return the headers for the files as they are now; raises `HttpError` when one cannot be read or sent."""
        if self._files.changed(now):
            try:
                self._added = _added(self._config)
            except BaseException:
                self._files.look_again()
                raise
        return self._added


def credential_headers(config: HttpClientConfig) -> list[tuple[str, str]]:
    """Return the headers that carry credentials and those that the configuration adds; reads their files."""
    return [*_secret_headers(config), *_open_headers(config)]


def has_credential_files(config: HttpClientConfig) -> bool:
    """Tell whether `credential_headers` reads files."""
    return any(credential_files(config))


def credential_files(config: HttpClientConfig) -> list[str]:
    """Return the files that `credential_headers` reads."""
    auth, given = config.basic_auth, config.authorization
    files: list[str] = [auth.username_file, auth.password_file] if auth else []
    files += [given.credentials_file] if given else []
    return [file for file in files if file] + [file for _, header in config.http_headers for file in header.files]


def _added(config: HttpClientConfig) -> Added:
    secret = tuple(field(*header) for header in _secret_headers(config))
    has_authorization = bool(config.basic_auth or config.authorization)
    return Added(tuple(field(*header) for header in _open_headers(config)), secret, has_authorization)


def _secret_headers(config: HttpClientConfig) -> list[tuple[str, str]]:
    headers = []
    if config.basic_auth is not None:
        auth = config.basic_auth
        user = read_secret(auth.username_file) if auth.username_file else auth.username
        password = read_secret(auth.password_file) if auth.password_file else auth.password.reveal()
        headers.append(("Authorization", basic(user, password)))
    if config.authorization is not None:
        given = config.authorization
        credentials = read_secret(given.credentials_file) if given.credentials_file else given.credentials.reveal()
        headers.append(("Authorization", f"{given.type} {credentials}"))
    for name, header in config.http_headers:
        headers += [(name, secret.reveal()) for secret in header.secrets]
        headers += [(name, read_secret(file)) for file in header.files]
    return headers


def _open_headers(config: HttpClientConfig) -> list[tuple[str, str]]:
    return [(name, value) for name, header in config.http_headers for value in header.values]
