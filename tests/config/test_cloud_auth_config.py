"""The keys `sigv4`, `azuread` and `google_iam`: what is refused, with the words of Prometheus."""

from __future__ import annotations

import pytest

from tinyobs.config.cloud_auth import AzureAdConfig, GoogleIamConfig, SigV4Config
from tinyobs.config.decoder import decode_text
from tinyobs.config.encoder import to_plain, to_yaml
from tinyobs.errors import ConfigError

ID = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("access_key: a", "must provide a AWS SigV4 Access key and Secret Key if credentials are specified"),
        ("secret_key: a", "must provide a AWS SigV4 Access key and Secret Key if credentials are specified"),
        ("external_id: x", "external_id can only be used with role_arn"),
        ("session_name: xy", "session_name can only be used with role_arn"),
        ("tags: {a: b}", "tags can only be used with role_arn"),
        ("role_arn: r, session_name: 'a b'", r"session_name must match ^[\w+=,.@-]{2,64}$"),
        ("role_arn: r, tags: {'': b}", "tag key must not be empty"),
        (f"role_arn: r, tags: {{{'k' * 129}: b}}", "exceeds maximum length of 128"),
        (f"role_arn: r, tags: {{k: {'v' * 257}}}", 'tag value for key "k" exceeds maximum length of 256'),
        ("service: aps", "unknown key 'service'"),
    ],
)
def test_sigv4(text, message):
    """Each with its message."""
    with pytest.raises(ConfigError) as e:
        decode_text(SigV4Config, f"{{{text}}}", "test.yml")
    assert message in str(e.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth or Azure SDK"),
        ("cloud: Mars, sdk: {}", "must provide a cloud in the Azure AD config"),
        ("sdk: {}, managed_identity: {}", "cannot provide multiple authentication methods in the Azure AD config"),
        ("managed_identity: {client_id: x}", "the provided Azure Managed Identity client_id is invalid"),
        ("workload_identity: {}", "must provide an Azure Workload Identity client_id in the Azure AD config"),
        (f"workload_identity: {{client_id: {ID}}}", "must provide an Azure Workload Identity tenant_id"),
        ("workload_identity: {client_id: x}", "the provided Azure Workload Identity client_id is invalid"),
        ("oauth: {}", "must provide an Azure OAuth client_id in the Azure AD config"),
        (f"oauth: {{client_id: {ID}}}", "must provide an Azure OAuth client_secret in the Azure AD config"),
        (f"oauth: {{client_id: {ID}, client_secret: s}}", "must provide an Azure OAuth tenant_id"),
        ("oauth: {tenant_id: 'a/b'}", "the provided Azure OAuth tenant_id is invalid"),
        ("sdk: {tenant_id: 'a/b'}", "the provided Azure SDK tenant_id is invalid"),
        ("sdk: {}, scope: 'a;b'", "the provided scope contains invalid characters"),
        ("certificate: {client_id: x}", "certificate is not supported yet by this version"),
    ],
)
def test_azuread(text, message):
    """Each with its message."""
    with pytest.raises(ConfigError) as e:
        decode_text(AzureAdConfig, f"{{{text}}}", "test.yml")
    assert message in str(e.value)


def test_good_ones_hide_their_secrets():
    """As the API and the CLI print them."""
    aws = decode_text(SigV4Config, "{access_key: a, secret_key: hidden, role_arn: r, tags: {b: c}}", "t.yml")
    azure = decode_text(
        AzureAdConfig,
        f"{{oauth: {{client_id: {ID}, tenant_id: t.x, client_secret: hidden}}, scope: 'https://a/b'}}",
        "t",
    )
    google = decode_text(GoogleIamConfig, "{credentials_file: key.json}", "t.yml", "/etc")
    shown = "".join(to_yaml(to_plain(one)) for one in (aws, azure, google))
    assert "hidden" not in shown
    assert shown.count("<secret>") == 2
    assert "credentials_file: /etc/key.json" in shown
