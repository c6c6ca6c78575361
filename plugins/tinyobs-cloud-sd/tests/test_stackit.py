"""STACKIT: servers of a project, tokens for a signed claim, with the labels of Prometheus."""

from __future__ import annotations

import base64
import json

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer
from tinyobs.testing.services import VirtualClock

from tinyobs_cloud_sd.stackit import KIND, StackitSdConfig

TOKEN = "stackit-token"
PROJECT = "00000000-0000-0000-0000-000000000000"
FULL = {
    "id": "b4176700-596a-4f80-9fc8-5f9c58a606e1",
    "name": "runcommandtest",
    "availabilityZone": "eu01-3",
    "status": "INACTIVE",
    "powerStatus": "STOPPED",
    "machineType": "g1.1",
    "labels": {"provisionSTACKITServerAgent": "true", "stackit-project-id": PROJECT, "number": 1},
    "nics": [{"networkName": "test", "ipv4": "10.0.0.153", "publicIp": "192.0.2.1"}, {"networkName": "b"}],
}


def server(name, ip):
    return {"id": name, "name": name, "nics": [{"networkName": "my net", "ipv4": ip}]}


class Stackit(FakeApi):
    """The interface and the token server, at one address."""

    def __init__(self, public_key=None):
        super().__init__({f"/v1/projects/{PROJECT}/servers": self.list, "/token": self.exchange})
        self.all = [FULL, {"id": "no network"}, {"id": "no address", "nics": [{}]}, server("plain", "10.0.0.2")]
        self.token = TOKEN
        self.public_key = public_key
        self.claims = []

    def list(self, request):
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Answer({"message": "Unauthorized"}, 401)
        assert request.params == {"details": "true"}
        return Answer({"items": self.all})

    def exchange(self, request):
        assert request.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        head, claims, signature = request.form["assertion"].split(".")
        text = f"{head}.{claims}".encode()
        self.public_key.verify(decoded(signature), text, padding.PKCS1v15(), hashes.SHA512())
        self.claims.append((json.loads(decoded(head)), json.loads(decoded(claims))))
        self.token = f"token-{len(self.claims)}"
        return Answer({"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})

    def config(self, more=f"authorization: {{credentials: {TOKEN}}}"):
        return read(StackitSdConfig, f"{{project: {PROJECT}, endpoint: '{self.url}/', {more}}}")


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
async def api():
    async with serving(Stackit()) as api:
        yield api


@pytest.fixture
async def account(monkeypatch, tmp_path):
    """Yield the interface with a service account, whose two keys are in `key.json` and `private.pem`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    (tmp_path / "private.pem").write_text(pem)
    named = {"Aud": "https://aud", "Iss": "stackit@sa.stackit.cloud", "Kid": "kid-1", "Sub": "sub-1"}
    (tmp_path / "key.json").write_text(json.dumps({"Active": True, "Credentials": named}))
    inside = {"aud": "https://aud", "iss": "i", "kid": "kid-2", "sub": "s", "privateKey": pem}
    (tmp_path / "whole.json").write_text(json.dumps({"credentials": inside}))
    monkeypatch.setenv("HOME", str(tmp_path))
    async with serving(Stackit(key.public_key())) as api:
        monkeypatch.setenv("STACKIT_TOKEN_BASEURL", f"{api.url}/token")
        yield api


async def test_servers_have_these_labels(api):
    """The public address before a private one; labels that are no text are left out."""
    first, second = await targets_of(KIND, api.config())
    assert first == {
        "__address__": "192.0.2.1:80",
        "__meta_stackit_availability_zone": "eu01-3",
        "__meta_stackit_id": "b4176700-596a-4f80-9fc8-5f9c58a606e1",
        "__meta_stackit_label_provisionSTACKITServerAgent": "true",
        "__meta_stackit_label_stackit_project_id": PROJECT,
        "__meta_stackit_labelpresent_provisionSTACKITServerAgent": "true",
        "__meta_stackit_labelpresent_stackit_project_id": "true",
        "__meta_stackit_name": "runcommandtest",
        "__meta_stackit_power_status": "STOPPED",
        "__meta_stackit_private_ipv4_test": "10.0.0.153",
        "__meta_stackit_project": PROJECT,
        "__meta_stackit_public_ipv4": "192.0.2.1",
        "__meta_stackit_status": "INACTIVE",
        "__meta_stackit_type": "g1.1",
    }
    assert second["__address__"] == second["__meta_stackit_private_ipv4_my_net"] + ":80" == "10.0.0.2:80"
    assert "__meta_stackit_public_ipv4" not in second


async def test_servers_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        for status in (403, 429, 500):
            api.broken = Answer({"message": "no"}, status)
            assert await played.again() is None
        api.broken = None
        del api.all[0]
        assert await played.again() == {"stackit": ["10.0.0.2:80"]}
        assert played.failures == 3


async def test_a_service_account_signs_for_a_token(account, tmp_path):
    """The keys of the account in any letters; the private key from a file, or within the account's."""
    paths = f"service_account_key_path: '{tmp_path}/key.json', private_key_path: '{tmp_path}/private.pem'"
    assert len(await targets_of(KIND, account.config(paths))) == 2
    ((head, claims),) = account.claims
    now = VirtualClock().now_ms() // 1000
    assert head == {"alg": "RS512", "typ": "JWT", "kid": "kid-1"}
    assert claims.pop("jti")
    assert claims == {
        "iss": "stackit@sa.stackit.cloud",
        "sub": "sub-1",
        "aud": "https://aud",
        "iat": now,
        "exp": now + 600,
    }
    assert len(await targets_of(KIND, account.config(f"service_account_key_path: '{tmp_path}/whole.json'"))) == 2
    assert account.claims[-1][0]["kid"] == "kid-2"


async def test_the_private_key_is_found_where_stackits_tools_look(account, monkeypatch, tmp_path):
    """In the environment, in the file that the configuration names, and in the home directory."""
    text = (tmp_path / "key.json").read_text()
    config = account.config(f"service_account_key: '{text}'")
    with pytest.raises(TinyObsError, match="private key is not part of the service account key"):
        await targets_of(KIND, config)
    monkeypatch.setenv("STACKIT_PRIVATE_KEY_PATH", str(tmp_path / "private.pem"))
    assert len(await targets_of(KIND, config)) == 2
    monkeypatch.delenv("STACKIT_PRIVATE_KEY_PATH")
    (tmp_path / ".stackit").mkdir()
    file = tmp_path / ".stackit" / "credentials.json"
    file.write_text(json.dumps({"STACKIT_PRIVATE_KEY_PATH": str(tmp_path / "private.pem")}))
    assert len(await targets_of(KIND, config)) == 2
    file.rename(tmp_path / "other.json")
    named = account.config(f"service_account_key: '{text}', credentials_file_path: '{tmp_path}/other.json'")
    assert len(await targets_of(KIND, named)) == 2


async def test_tokens_are_renewed(account, mock_clock, tmp_path):
    """Before they end, and at once when the interface takes them no more."""
    config = account.config(f"service_account_key_path: '{tmp_path}/whole.json'")
    async with playing(KIND, config, mock_clock) as played:
        await played.again()
        assert len(account.claims) == 1
        await played.again(3400)
        assert len(account.claims) == 2
        account.token = "another"
        await played.again()
        assert (len(account.claims), played.failures) == (3, 0)


async def test_a_bad_key_is_an_error_that_does_not_show_it(account):
    """Neither the JSON nor the PEM."""
    for more, reason in (
        ("service_account_key: hidden", "the service account's key is not JSON"),
        ("service_account_key: '[\"hidden\"]'", "is not a JSON object"),
        ("service_account_key: '{}', private_key: hidden", "not a PEM key"),
    ):
        config = account.config(more)
        assert "hidden" not in repr(config)
        with pytest.raises(TinyObsError, match=reason) as e:
            await targets_of(KIND, config)
        assert "hidden" not in str(e.value)


async def test_a_wrong_token_is_an_error(api):
    """With the reason of the interface."""
    with pytest.raises(TinyObsError, match=r"401.*Unauthorized") as e:
        await targets_of(KIND, api.config("authorization: {credentials: hidden}"))
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, api.config())) == 1


def test_an_address_or_a_region_is_needed():
    """With the words of Prometheus."""
    with pytest.raises(ConfigError, match="endpoint or region missing"):
        decode_text(StackitSdConfig, "{region: ''}", "test.yml")
