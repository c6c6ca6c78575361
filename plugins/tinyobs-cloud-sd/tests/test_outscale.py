"""OUTSCALE: signed requests, machines page by page, with the labels of Prometheus."""

from __future__ import annotations

import json

import pytest
import test_ec2
from cloud_fakes import Answer, FakeApi, aws_signature, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd.outscale import KIND, OutscaleSdConfig

KEYS = f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}"
FULL = {
    "VmId": "i-abc",
    "State": "running",
    "PrivateIp": "10.1.2.3",
    "PublicIp": "1.2.3.4",
    "Placement": {"SubregionName": "eu-west-2a", "Tenancy": "default"},
    "Tags": [
        {"Key": "my name", "Value": "my-vm"},
        {"Key": "", "Value": "skip"},
        {"Key": "Empty", "Value": ""},
    ],
}


class Outscale(FakeApi):
    """The interface with one machine a page; every signature is checked."""

    def __init__(self):
        super().__init__({"/api/v1/ReadVms": self.page})
        self.all = [FULL, {"VmId": "i-none", "State": "running"}, {"VmId": "i-pub", "PublicIp": "203.0.113.10"}]

    def page(self, request):
        scope = request.headers["authorization"].partition("Credential=")[2].partition(",")[0]
        assert scope.split("/")[2:] == ["eu-west-2", "oapi", "aws4_request"]
        if len(set(aws_signature(request, test_ec2.SECRET))) > 1:
            return Answer({"Errors": [{"Code": "1", "Type": "AccessDenied", "Details": "bad signature"}]}, 401)
        page = int(json.loads(request.body).get("NextPageToken", "0"))
        more = {"NextPageToken": str(page + 1)} if page + 1 < len(self.all) else {}
        return Answer({"Vms": self.all[page : page + 1], **more})

    def config(self, more=KEYS):
        return read(OutscaleSdConfig, f"{{endpoint: '{self.url}/api/v1/', {more}}}")


@pytest.fixture
async def api():
    async with serving(Outscale()) as api:
        yield api


async def test_machines_have_these_labels(api):
    """Of all pages; the private address before the public one, a tag needs a name and a value."""
    first, last = await targets_of(KIND, api.config())
    assert first == {
        "__address__": "10.1.2.3:80",
        "__meta_outscale_vm_instance_id": "i-abc",
        "__meta_outscale_vm_private_ip": "10.1.2.3",
        "__meta_outscale_vm_public_ip": "1.2.3.4",
        "__meta_outscale_vm_region": "eu-west-2",
        "__meta_outscale_vm_state": "running",
        "__meta_outscale_vm_subregion": "eu-west-2a",
        "__meta_outscale_vm_tag_my_name": "my-vm",
    }
    assert last == {
        "__address__": "203.0.113.10:80",
        "__meta_outscale_vm_instance_id": "i-pub",
        "__meta_outscale_vm_public_ip": "203.0.113.10",
        "__meta_outscale_vm_region": "eu-west-2",
        "__meta_outscale_vm_state": "",
    }


async def test_machines_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        for status in (403, 429, 503):
            api.broken = Answer({"Errors": []}, status)
            assert await played.again() is None
        api.broken = None
        del api.all[0]
        assert await played.again() == {"eu-west-2": ["203.0.113.10:80"]}
        assert played.failures == 3


async def test_a_key_in_a_file_is_read_again(api, mock_clock, tmp_path):
    """For each refresh; a wrong one is an error that does not show it."""
    file = tmp_path / "secret"
    file.write_text("hidden\n")
    config = api.config(f"access_key: {test_ec2.ACCESS}, secret_key_file: '{file}'")
    with pytest.raises(TinyObsError, match="401") as e:
        await targets_of(KIND, config)
    assert "hidden" not in str(e.value)
    file.write_text(test_ec2.SECRET + "\n")
    assert len(await targets_of(KIND, config)) == 2
    file.unlink()
    with pytest.raises(TinyObsError, match="cannot read credentials"):
        await targets_of(KIND, config)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, api.config())) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"region: '', {KEYS}", "outscale SD configuration requires a region"),
        ("secret_key: x", "outscale SD configuration requires access_key"),
        ("access_key: x", "one of secret_key & secret_key_file must be configured"),
        (f"{KEYS}, secret_key_file: x", "at most one of secret_key & secret_key_file must be configured"),
    ],
)
def test_what_is_missing_is_said(text, message):
    """With the words of Prometheus."""
    with pytest.raises(ConfigError) as e:
        decode_text(OutscaleSdConfig, f"{{{text}}}", "test.yml")
    assert message in str(e.value)
