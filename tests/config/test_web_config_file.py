"""The file of `--web.config.file`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyobs.config.http_client import TlsVersion
from tinyobs.config.web_config import ClientAuth, load_web_config, parse_web_config
from tinyobs.errors import ConfigError

HASH = "$2y$10$" + "a" * 53

GOOD = f"""
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [a.example]
  min_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256]
  curve_preferences: [X25519]
http_server_config:
  http2: false
  headers: {{X-Frame-Options: deny}}
basic_auth_users:
  alice: {HASH}
"""


def test_a_good_file(tmp_path: Path) -> None:
    """Paths start at the folder of the file; hashes do not show."""
    (tmp_path / "web.yml").write_text(GOOD)
    found = load_web_config(tmp_path / "web.yml")
    tls = found.tls_server_config
    assert tls.enabled
    assert (tls.cert_file, tls.key_file) == (str(tmp_path / "server.crt"), "/keys/server.key")
    assert tls.client_auth_type is ClientAuth.REQUIRE_AND_VERIFY
    assert (tls.min_version, tls.max_version) == (TlsVersion.TLS13, TlsVersion.TLS13)
    assert not found.http_server_config.http2
    assert found.http_server_config.headers == (("X-Frame-Options", "deny"),)
    assert dict(found.basic_auth_users)["alice"].reveal() == HASH
    assert HASH not in repr(found)


@pytest.mark.parametrize("text", ["", "tls_server_config:\n", "tls_server_config: {min_version: TLS13}"])
def test_without_certificates_there_is_no_tls(text: str) -> None:
    """An empty file and one that only bounds versions mean plain HTTP."""
    assert not parse_web_config(text, "w.yml").tls_server_config.enabled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls_server_config: {cert_file: a}", "missing one of key or key_file"),
        ("tls_server_config: {key: a}", "missing one of cert or cert_file"),
        ("tls_server_config: {client_auth_type: x}", "invalid ClientAuth: x"),
        ("tls_server_config: {cert: a, key: b, client_ca: c}", "client CA's have been configured without a Client Auth Policy"),
        (
            "tls_server_config: {cert: a, key: b, client_allowed_sans: [x]}",
            "client_allowed_sans requires client_auth_type to be one of RequireAnyClientCert or RequireAndVerifyClientCert",
        ),
        ("tls_server_config: {cert: a, key: b, min_version: TLS13, max_version: TLS12}", "min_version is greater than max_version"),
        ("tls_server_config: {cipher_suites: [x]}", "unknown cipher: x"),
        ("tls_server_config: {curve_preferences: [x]}", "unknown curve: x"),
        ("http_server_config: {headers: {X-Other: a}}", 'HTTP header "X-Other" can not be configured'),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}",
            'invalid value for X-Frame-Options. Expected one of: ["deny" "sameorigin"], but got: "allow"',
        ),
        ("rate_limit: {burst: 1}", "rate_limit is not supported yet by this version"),
        ("basic_auth_users: {bob: secret}", "the password of 'bob' is not a bcrypt hash"),
        ("basic_auth_user: {}", "unknown key 'basic_auth_user', did you mean 'basic_auth_users'?"),
    ],
)  # fmt: skip
def test_faults(text: str, message: str) -> None:
    """Messages are those of upstream, with a place; no password is repeated."""
    with pytest.raises(ConfigError) as e:
        parse_web_config(text, "w.yml")
    (problem,) = e.value.problems
    assert problem.message == message
    assert problem.line == 1


def test_a_missing_file() -> None:
    """The message names the file."""
    with pytest.raises(ConfigError, match=r"/nope/web\.yml: cannot be read: No such file"):
        load_web_config("/nope/web.yml")
