"""Requests of remote write for clouds: signed by AWS' rules, with tokens of Azure and Google, signed anew when that may help."""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fake_api import Answer, FakeApi, aws_signature, serving

from tinyobs.cloud_auth import azure_tokens, google_tokens, request_signers
from tinyobs.cloud_auth.azure_tokens import AzureCloud
from tinyobs.cloud_auth.exchange import CloudError
from tinyobs.cloud_auth.request_signers import signer_of
from tinyobs.config.loader import parse
from tinyobs.http_client import Client

NOW_MS = 1_700_000_000_000
ID = "00000000-0000-0000-0000-000000000000"
PAGE = Path(__file__).parents[2] / "docs" / "cloud-credentials.md"


def entry(url, cloud, folder="/nowhere"):
    """Return an entry of `remote_write`."""
    return parse(f"remote_write: [{{url: '{url}', {cloud}}}]", f"{folder}/test.yml").remote_write[0]


async def send(config, url=None, body=b"body", **headers):
    """Send a body as a destination does; return the status."""
    client = Client(config.http, signer=signer_of(config, lambda: NOW_MS))
    try:
        given = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", **headers}
        async with client.stream("POST", url or config.url, given, body) as answer, aclosing(answer.pieces()) as pieces:
            async for _ in pieces:
                pass
            return answer.status
    finally:
        await client.aclose()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tmp_path):
    """Hide what the machine that runs the tests knows of clouds."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def api():
    async with serving() as api:
        yield api


async def test_sigv4_signs_what_is_sent(api):
    """Path, parameters, headers and body; the service is that of managed Prometheus unless another is named."""
    path = "/workspaces/ws-1/api/v1/remote_write"
    api.routes[path] = lambda request: Answer(status=204 if len(set(aws_signature(request, "s"))) == 1 else 403)
    keys = "sigv4: {region: eu-x, access_key: A, secret_key: s"
    assert await send(entry(f"{api.url}{path}?b=2&a=1", keys + "}")) == 204
    assert await send(entry(f"{api.url}{path}", keys + ", service_name: other}")) == 204
    first, second = (one.headers["authorization"] for one in api.asked)
    assert "/20231114/eu-x/aps/aws4_request" in first.replace("Credential=A", "")
    assert "SignedHeaders=content-encoding;content-type;host;x-amz-date," in first
    assert "/eu-x/other/aws4_request" in second


async def test_a_host_of_the_caller_is_what_is_signed(api):
    """As when a destination's addresses are asked in turn."""
    api.routes["/w"] = lambda request: Answer(status=204 if len(set(aws_signature(request, "s"))) == 1 else 403)
    config = entry(f"{api.url}/w", "sigv4: {region: eu-x, access_key: A, secret_key: s}")
    assert await send(config, Host="aps-workspaces.example") == 204
    assert api.asked[0].headers["host"] == "aps-workspaces.example"


async def test_keys_that_end_on_the_way_are_replaced_once(api, monkeypatch):
    """An expired token is answered by a request with new keys; any other refusal is the answer."""
    roles = []

    def assume(request):
        roles.append(request.form)
        n = len(roles)
        found = (
            f"<AccessKeyId>K{n}</AccessKeyId><SecretAccessKey>s{n}</SecretAccessKey><SessionToken>t{n}</SessionToken>"
        )
        end = "<Expiration>2286-11-20T17:46:40Z</Expiration>"
        return Answer(f"<R><AssumeRoleResult><Credentials>{found}{end}</Credentials></AssumeRoleResult></R>".encode())

    def write(request):
        if request.headers["x-amz-security-token"] == "t1":
            return Answer(status=403, headers=(("X-Amzn-Errortype", "ExpiredTokenException"),))
        return Answer(status=204)

    api.routes |= {"/": assume, "/w": write}
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", api.url)
    role = "role_arn: r, session_name: me, tags: {team: shop}"
    keys = f"sigv4: {{region: eu-x, access_key: A, secret_key: s, {role}}}"
    assert await send(entry(f"{api.url}/w", keys)) == 204
    assert [(one["RoleSessionName"], one["Tags.member.1.Key"], one["Tags.member.1.Value"]) for one in roles] == [
        ("me", "team", "shop")
    ] * 2
    api.routes["/w"] = Answer(status=403)
    assert await send(entry(f"{api.url}/w", keys)) == 403
    assert len(roles) == 3


async def test_azure_tokens_are_for_the_ingestion_of_the_cloud(api, monkeypatch, tmp_path):
    """With each of the four ways; a refused token is replaced once."""
    forms, tokens = [], []

    def token(request):
        forms.append(request.form or request.params)
        tokens.append(f"t{len(tokens) + 1}")
        return Answer({"access_token": tokens[-1], "expires_in": "3600"})

    def write(request):
        return Answer(
            status=204 if request.headers["authorization"] == f"Bearer {tokens[-1]}" and len(tokens) > 1 else 401
        )

    api.routes |= {"/my-tenant/oauth2/v2.0/token": token, "/metadata/identity/oauth2/token": token, "/w": write}
    cloud = AzureCloud(api.url, api.url)
    audience = request_signers._Audience(cloud, "https://monitor.azure.com//.default")
    monkeypatch.setitem(request_signers._AUDIENCES, "AzurePublic", audience)
    monkeypatch.setattr(azure_tokens, "METADATA", api.url)
    monkeypatch.delenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", raising=False)
    (tmp_path / "token").write_text("federated")
    ids = f"client_id: {ID}, tenant_id: my-tenant"
    ways = [
        f"oauth: {{{ids}, client_secret: s}}",
        f"workload_identity: {{{ids}, token_file_path: token}}",
        f"managed_identity: {{client_id: {ID}}}",
        "sdk: {}, scope: 'https://own/.default'",
    ]
    for way in ways:
        assert await send(entry(f"{api.url}/w", f"azuread: {{{way}}}", tmp_path)) == 204
    oauth, again, workload, managed, sdk = forms
    assert oauth == again == {
        "client_id": ID,
        "client_secret": "s",
        "grant_type": "client_credentials",
        "scope": "https://monitor.azure.com//.default",
    }  # fmt: skip
    assert (workload["client_assertion"], workload["client_id"]) == ("federated", ID)
    assert managed == {"resource": "https://monitor.azure.com/", "client_id": ID, "api-version": "2018-02-01"}
    assert sdk["resource"] == "https://own"


async def test_google_tokens_are_for_monitoring(api, tmp_path):
    """With the key of the configuration, which needs no environment."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    account = {"type": "service_account", "client_email": "w@p", "private_key": pem, "token_uri": f"{api.url}/token"}
    (tmp_path / "key.json").write_text(json.dumps(account))
    api.routes |= {"/token": Answer({"access_token": "good"}), "/w": Answer(status=204)}
    assert await send(entry(f"{api.url}/w", "google_iam: {credentials_file: key.json}", tmp_path)) == 204
    assert api.asked[1].headers["authorization"] == "Bearer good"
    assert api.asked[0].form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"


async def test_google_users_and_machines_have_tokens_too(api, monkeypatch, tmp_path):
    """The file of `gcloud auth application-default login`, else the metadata server."""
    monkeypatch.setattr(google_tokens, "TOKEN_URL", f"{api.url}/token")
    monkeypatch.setenv("GCE_METADATA_HOST", api.url.removeprefix("http://"))
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    api.routes |= {
        "/token": Answer({"access_token": "user"}),
        path: Answer({"access_token": "machine"}),
        "/w": Answer(status=204),
    }
    config = entry(f"{api.url}/w", "google_iam: {}")
    await send(config)
    assert api.asked[0].params == {"scopes": "https://www.googleapis.com/auth/monitoring.write"}
    assert api.asked[1].headers["authorization"] == "Bearer machine"
    folder = tmp_path / ".config/gcloud"
    folder.mkdir(parents=True)
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (folder / "application_default_credentials.json").write_text(json.dumps(user))
    await send(config)
    assert api.asked[2].form == {
        "grant_type": "refresh_token",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "r",
    }
    assert api.asked[3].headers["authorization"] == "Bearer user"


async def test_nothing_is_sent_unsigned(api):
    """Without keys the request fails, and the server is not asked."""
    with pytest.raises(CloudError, match="no AWS keys"):
        await send(entry(f"{api.url}/w", "sigv4: {region: eu-x}"))
    assert api.asked == []


async def test_a_redirect_to_another_host_is_not_signed(api):
    """A signature is for the host that it names."""
    async with serving(FakeApi({"/w": Answer(status=204)})) as other:
        api.routes["/w"] = Answer(status=307, headers=(("Location", f"{other.url}/w"),))
        config = entry(f"{api.url}/w", "sigv4: {region: eu-x, access_key: A, secret_key: s}")
        assert await send(config) == 204
    assert "authorization" in api.asked[0].headers
    assert not {"authorization", "x-amz-date"} & set(other.asked[0].headers)


def test_without_a_cloud_there_is_nothing_to_sign():
    """Most destinations."""
    assert signer_of(entry("http://a", "name: x"), lambda: 0) is None


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
async def test_examples_of_the_page_sign(block, api, monkeypatch, tmp_path):
    """Each is read and sends, once the addresses are those of the test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("GCE_METADATA_HOST", api.url.removeprefix("http://"))
    monkeypatch.delenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", raising=False)
    monkeypatch.setattr(azure_tokens, "METADATA", api.url)
    api.broken = Answer({"access_token": "t"})
    (config,) = parse(block, str(tmp_path / "test.yml")).remote_write
    assert await send(config, f"{api.url}/w") == 200
    assert api.asked[-1].headers["authorization"].startswith(("AWS4-HMAC-SHA256 Credential=A/", "Bearer t"))
