"""Google Compute Engine: instances page by page, and tokens from a key file or the metadata server."""

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

from tinyobs_cloud_sd import gce
from tinyobs_cloud_sd.gce import KIND, GceSdConfig

INSTANCES = "/projects/my-project/zones/europe-west1-b/instances"
CONFIG = read(GceSdConfig, "{project: my-project, zone: europe-west1-b}")
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
ZONE = "https://www.googleapis.com/compute/v1/projects/my-project/zones/europe-west1-b"

FULL = {
    "id": "2840013145871286",
    "name": "web-1",
    "status": "RUNNING",
    "zone": ZONE,
    "machineType": f"{ZONE}/machineTypes/e2-small",
    "networkInterfaces": [
        {
            "name": "nic0",
            "network": "net-a",
            "subnetwork": "sub-a",
            "networkIP": "10.132.0.2",
            "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "natIP": "34.1.2.3"}],
        },
        {"name": "nic-1", "networkIP": "10.200.0.2"},
    ],
    "tags": {"items": ["http", "https"]},
    "metadata": {"items": [{"key": "startup-script", "value": "#!/bin/sh"}, {"key": "empty"}]},
    "labels": {"env-name": "prod"},
}


def plain(name, ip):
    return {"id": "1", "name": name, "networkInterfaces": [{"name": "nic0", "networkIP": ip}]}


class Compute(FakeApi):
    """The compute interface, the token server and the metadata server, all at one address."""

    def __init__(self):
        super().__init__({INSTANCES: self.list, "/token": self.exchange, METADATA: self.metadata})
        self.pages = [[FULL], [plain("b", "10.132.0.3"), {"name": "no network"}]]
        self.tokens = 0
        self.public_key = None
        self.forms = []

    def list(self, request):
        if request.headers.get("authorization") != f"Bearer token-{self.tokens}":
            return Answer({"error": {"code": 401, "message": "Invalid Credentials"}}, 401)
        page = int(request.params.get("pageToken", "0"))
        answer = {"items": self.pages[page]}
        return Answer(answer | ({"nextPageToken": str(page + 1)} if page + 1 < len(self.pages) else {}))

    def metadata(self, request):
        if request.headers.get("metadata-flavor") != "Google":
            return Answer(b"", 403)
        return self.token()

    def exchange(self, request):
        self.forms.append(request.form)
        if self.public_key is not None:
            head, claims, signature = request.form["assertion"].split(".")
            self.public_key.verify(decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        return self.token()

    def token(self):
        self.tokens += 1
        return Answer({"access_token": f"token-{self.tokens}", "expires_in": 3600, "token_type": "Bearer"})


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
async def api(monkeypatch):
    async with serving(Compute()) as api:
        monkeypatch.setattr(gce, "API", api.url)
        monkeypatch.setenv("GCE_METADATA_HOST", api.url.removeprefix("http://"))
        yield api


async def test_instances_have_these_labels(api):
    """Of all pages; the first interface has the address, and without one there is no target."""
    first, second = await targets_of(KIND, CONFIG)
    assert first == {
        "__address__": "10.132.0.2:80",
        "__meta_gce_project": "my-project",
        "__meta_gce_zone": ZONE,
        "__meta_gce_instance_id": "2840013145871286",
        "__meta_gce_instance_name": "web-1",
        "__meta_gce_instance_status": "RUNNING",
        "__meta_gce_machine_type": f"{ZONE}/machineTypes/e2-small",
        "__meta_gce_network": "net-a",
        "__meta_gce_subnetwork": "sub-a",
        "__meta_gce_private_ip": "10.132.0.2",
        "__meta_gce_public_ip": "34.1.2.3",
        "__meta_gce_interface_ipv4_nic0": "10.132.0.2",
        "__meta_gce_interface_ipv4_nic_1": "10.200.0.2",
        "__meta_gce_tags": ",http,https,",
        "__meta_gce_metadata_startup_script": "#!/bin/sh",
        "__meta_gce_label_env_name": "prod",
    }
    assert second["__address__"] == "10.132.0.3:80"
    assert "__meta_gce_public_ip" not in second


async def test_filter_port_and_separator(api):
    """The filter goes to the interface with each page."""
    text = "{project: my-project, zone: europe-west1-b, filter: 'name = web*', port: 9100, tag_separator: '|'}"
    first, _ = await targets_of(KIND, read(GceSdConfig, text))
    assert (first["__address__"], first["__meta_gce_tags"]) == ("10.132.0.2:9100", "|http|https|")
    assert [r.params["filter"] for r in api.asked if r.path == INSTANCES] == ["name = web*"] * 2


async def test_a_service_accounts_key_signs_for_a_token(api, monkeypatch, tmp_path):
    """The claim is signed with the key of the file and names scope, audience and time."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    api.public_key = key.public_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = tmp_path / "key.json"
    account = {
        "type": "service_account",
        "client_email": "sd@my-project.iam.gserviceaccount.com",
        "private_key_id": "abc",
        "private_key": pem,
        "token_uri": f"{api.url}/token",
    }
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    assert len(await targets_of(KIND, CONFIG)) == 2
    (form,) = api.forms
    head, claims, _ = (
        json.loads(decoded(part)) if i < 2 else part for i, part in enumerate(form["assertion"].split("."))
    )
    now = VirtualClock().now_ms() // 1000
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "abc"}
    assert claims == {
        "iss": "sd@my-project.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/compute.readonly",
        "aud": f"{api.url}/token",
        "iat": now,
        "exp": now + 3600,
    }


async def test_tokens_are_renewed_before_they_end_and_after_a_refusal(api, mock_clock):
    """One token for all pages and refreshes of nearly an hour; another at once when it is refused."""
    async with playing(KIND, CONFIG, mock_clock) as played:
        await played.again()
        assert api.tokens == 1
        await played.again(3400)
        assert api.tokens == 2
        api.tokens = 7  # the server takes no token but a new one
        await played.again()
        assert (api.tokens, played.failures) == (8, 0)


async def test_instances_come_and_go(api, mock_clock):
    """What is new is published, what is gone is not there any more, an error changes nothing."""
    async with playing(KIND, CONFIG, mock_clock) as played:
        source = "GCE_my-project_europe-west1-b"
        assert played.published == [{source: ["10.132.0.2:80", "10.132.0.3:80"]}]
        for status in (403, 429, 500):
            api.broken = Answer({"error": {"code": status, "message": "no"}}, status)
            assert await played.again() is None
        api.broken = None
        api.pages = [[plain("b", "10.132.0.3"), plain("c", "10.132.0.4")]]
        assert await played.again() == {source: ["10.132.0.3:80", "10.132.0.4:80"]}
        assert played.failures == 3


async def test_no_credentials_are_an_error_that_says_what_to_do(api, monkeypatch, tmp_path):
    """None at all, a file that is not there, a file that is none: and no content of it is shown."""
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    with pytest.raises(TinyObsError, match="GOOGLE_APPLICATION_CREDENTIALS is not set"):
        await targets_of(KIND, CONFIG)
    file = tmp_path / "key.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(TinyObsError, match=r"cannot read Google credentials from .*No such file"):
        await targets_of(KIND, CONFIG)
    for content, reason in (
        ("hidden", "it is not JSON"),
        ('{"type": "service_account", "private_key": "hidden"}', "not a PEM key"),
        ('{"type": "external_account", "x": "hidden"}', "type 'external_account' are not supported"),
    ):
        file.write_text(content)
        with pytest.raises(TinyObsError, match=reason) as e:
            await targets_of(KIND, CONFIG)
        assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, CONFIG)) == 1


def test_project_and_zone_are_needed():
    """With the words of Prometheus."""
    with pytest.raises(ConfigError) as e:
        decode_text(GceSdConfig, "{}", "test.yml")
    assert "GCE SD configuration requires a project" in str(e.value)
    assert "GCE SD configuration requires a zone" in str(e.value)
